"""Embedding against a plain loop over a torchvision network: the network alone, and the whole stage, crops to HDF5.

All run on one thread.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torchvision.models import get_model, get_model_weights

from benchmarks.figures import Figure, ratio
from benchmarks.steps import sample
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed, release_models
from pipeline.embeddings.int8 import prepare_weights
from pipeline.embeddings.tokens import SOURCES, embed_clip, to_batch, token_width
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.media.frames import decode_jpeg
from pipeline.memo.extraction import ClipJob, Step, extract_to_file
from pipeline.parallel.devices import hardware
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.clips import ClipFaces, ClipTokens
from pipeline.store.columns import compute_columns, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, FACES
from pipeline.store.writer import open_writer
from pipeline.weights import published

SOURCE = SOURCES["faces"]
TORCH = BackboneConfig(weights="random")
OPENVINO = BackboneConfig(weights="random", engine="openvino")
INT8 = BackboneConfig(weights="random", engine="openvino", precision="int8")
OTHERS = ("resnet18", "resnet50", "vgg16")
FEW = 2  # clips for the other networks
PLAIN = "a plain loop"


def measure() -> list[Figure]:
    """Return the speed of each engine, and of other networks, relative to a plain loop and to one another."""
    torch.set_num_threads(1)
    with sample() as paths, tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, FDAN_CACHE=folder):
        reader = _write_faces(paths, Path(folder) / "faces.h5")
        figures = _networks(reader) + _stages(reader)
        reader = _write_faces(paths[:FEW], Path(folder) / "few.h5")
        for name in OTHERS:
            figures += _other(reader, TORCH.model_copy(update={"backbone": name}))
            release_models()
    return figures


def _write_faces(paths: list[Path], target: Path) -> Reader[ClipFaces]:
    """Return the faces of clips, written to a file."""
    with open_writer(
        target, like=to_columns(ClipFaces.empty()), attributes={"schema": FACES.name, "config": {}}
    ) as writer:
        for number, path in enumerate(paths):
            writer.append(f"clip{number}", to_columns(extract_faces(path, FacesConfig())))
    return Reader(target, schema=FACES)


def _batches(reader: Reader[ClipFaces]) -> list[torch.Tensor]:
    return [to_batch(SOURCE.images(reader[clip_id]), TORCH) for clip_id in reader]


def _networks(reader: Reader[ClipFaces]) -> list[Figure]:
    """Return the speeds of networks alone, on ready-made tensors."""
    batches = _batches(reader)
    torch_network, openvino_network = (partial(_network, batches, config, "") for config in (TORCH, OPENVINO))
    direct = partial(_network, batches, TORCH.model_copy(update={"convolution": "direct"}), "")
    plain = partial(_plain_network, batches, _features("resnet34"))
    return [
        ratio("network alone, torch", plain, torch_network, against=PLAIN, target=">= 2.2"),
        ratio("network alone, torch", openvino_network, torch_network, against="OpenVINO in fp32", target=">= 1.4"),
        ratio("network alone, torch", direct, torch_network, against="convolution: direct", target=""),
    ]


def _stages(reader: Reader[ClipFaces]) -> list[Figure]:
    """Return the speed of the stage with each engine, relative to a plain loop and to the network alone."""
    int8_target = ">= 4.7" if "AVX512" in hardware("cpu") else ">= 3.4"
    plain = partial(_plain_stage, reader, "resnet34", _features("resnet34"))
    batches = _batches(reader)
    figures = []
    for name, config, target in (
        ("torch", TORCH, ">= 1.8"),
        ("OpenVINO", OPENVINO, ""),
        ("OpenVINO int8", INT8, int8_target),
    ):
        model = prepare_weights(reader, SOURCE, config)[1]
        stage, network = partial(_stage, reader, config, model), partial(_network, batches, config, model)
        figures += [
            ratio(f"embedding stage, {name}", plain, stage, against=PLAIN, target=target),
            _share(ratio("", network, stage, against="", target=""), name),
        ]
    return figures


def _other(reader: Reader[ClipFaces], config: BackboneConfig) -> list[Figure]:
    """Return the speeds of another network with torch."""
    name, features = config.backbone, _features(config.backbone)
    batches = _batches(reader)
    plain, network = partial(_plain_network, batches, features), partial(_network, batches, config, "")
    plain_stage, stage = partial(_plain_stage, reader, name, features), partial(_stage, reader, config, "")
    return [
        ratio(f"network alone, torch, {name}", plain, network, against=PLAIN, target=""),
        ratio(f"embedding stage, torch, {name}", plain_stage, stage, against=PLAIN, target=""),
    ]


def _share(times: Figure, name: str) -> Figure:
    value, low, high = (100 * it for it in (times.value, *times.spread))
    title = f"embedding stage, {name}, of the network's own speed"
    return Figure(title, value, "%", "ready-made tensors", times.runs, (low, high), ">= 85 %")


def _features(name: str) -> torch.nn.Module:
    """Return torchvision's network without its classifier."""
    return torch.nn.Sequential(*list(get_model(name, weights=None).eval().children())[:-1])


@torch.inference_mode()
def _plain_network(batches: list[torch.Tensor], features: torch.nn.Module) -> None:
    for batch in batches:
        features(batch)


@torch.inference_mode()
def _plain_stage(reader: Reader[ClipFaces], name: str, features: torch.nn.Module) -> None:
    """Decode, transform and embed the crops of every clip, as a first draft would."""
    transform = get_model_weights(name)[published.PRESET].transforms()
    tokens = []
    for clip_id in reader:
        images = [torch.from_numpy(decode_jpeg(file)).permute(2, 0, 1) for file in reader[clip_id].crops]
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
