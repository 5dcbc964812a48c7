"""The whole embedding stage, crops to HDF5, against a plain loop; all on one thread."""

import os
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torchvision.models import ResNet34_Weights
from torchvision.models import resnet34 as torchvision_resnet34

from benchmarks.figures import Figure, ratio
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed
from pipeline.embeddings.int8 import prepare_weights
from pipeline.embeddings.tokens import SOURCES, embed_clip, to_batch, token_width
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.media.frames import decode_jpeg
from pipeline.memo.extraction import ClipJob, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.clips import ClipFaces, ClipTokens
from pipeline.store.columns import compute_columns, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, FACES
from pipeline.store.writer import open_writer

SOURCE = SOURCES["faces"]
ENGINES = {
    "torch": BackboneConfig(weights="random"),
    "OpenVINO": BackboneConfig(weights="random", engine="openvino"),
    "OpenVINO int8": BackboneConfig(weights="random", engine="openvino", precision="int8"),
}
TARGETS = {"torch": ">= 1.6", "OpenVINO": "", "OpenVINO int8": ">= 5"}
RUNS = 3


def measure(paths: list[Path]) -> list[Figure]:
    """Return, for each engine, the speed of the stage relative to a plain loop and to the network alone."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, FDAN_CACHE=folder):
        faces = Path(folder) / "faces.h5"
        like = to_columns(ClipFaces.empty())
        with open_writer(faces, like=like, attributes={"schema": FACES.name, "config": {}}) as writer:
            for number, path in enumerate(paths):
                clip = extract_faces(path, FacesConfig())
                if len(clip.times):
                    writer.append(f"clip{number}", to_columns(clip))
        reader = Reader(faces, schema=FACES)
        plain = partial(_plain, reader, torchvision_resnet34(weights=None).eval())
        images_per_clip = [SOURCE.images(reader[clip_id]) for clip_id in reader]
        batches = [to_batch(images, ENGINES["torch"]) for images in images_per_clip]
        figures = []
        for name, config in ENGINES.items():
            model = prepare_weights(reader, SOURCE, config)[1]
            stage = partial(_stage, reader, config, model)
            network = partial(_network, batches, config, model)
            figures += [
                ratio(
                    f"embedding stage, {name}", plain, stage, against="a plain loop", target=TARGETS[name], runs=RUNS
                ),
                _share(ratio("", network, stage, against="", target="", runs=RUNS), name),
            ]
    return figures


def _share(times: Figure, name: str) -> Figure:
    value, low, high = (100 * it for it in (times.value, *times.spread))
    title = f"embedding stage, {name}, of the network's own speed"
    return Figure(title, value, "%", "ready-made tensors", times.runs, (low, high), ">= 85 %")


def _plain(reader: Reader[ClipFaces], network: torch.nn.Module) -> None:
    """Decode, transform and embed the crops of every clip, as a first draft would."""
    transform = ResNet34_Weights.IMAGENET1K_V1.transforms()
    features = torch.nn.Sequential(*list(network.children())[:-1])
    tokens = []
    for clip_id in reader:
        images = [torch.from_numpy(decode_jpeg(file)).permute(2, 0, 1) for file in reader[clip_id].crops]
        with torch.inference_mode():
            tokens.append(features(torch.stack([transform(image) for image in images])).flatten(1).numpy())
    np.concatenate(tokens)


def _network(batches: list[torch.Tensor], config: BackboneConfig, model: str) -> None:
    for batch in batches:
        embed(batch, config, model=model)


def _stage(reader: Reader[ClipFaces], config: BackboneConfig, model: str) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, FDAN_CACHE=folder):
        pool = Pool(ExecutionConfig(scheduler="synchronous"))
        step = Step(
            name="embedding",
            compute=partial(compute_columns, partial(embed_clip, source=SOURCE, config=config, model=model)),
            code=embed_clip,
            params=config.model_dump(),
            libraries=("torch",),
            hardware=pool.hardware,
        )
        jobs = [ClipJob(clip_id, clip_id, partial(reader.__getitem__, clip_id)) for clip_id in reader]
        extract_to_file(
            Path(folder) / "visual.h5",
            jobs,
            step,
            like=to_columns(ClipTokens.empty(token_width(SOURCE, config, model=model))),
            attributes={"schema": EMBEDDINGS.name},
            pool=pool,
        )
