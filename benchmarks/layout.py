"""The layout of the HDF5 files against alternatives: chunk sizes, compression, crops as JPEG or PNG."""

import tempfile
from pathlib import Path
from unittest.mock import patch

import cv2
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cosine_similarity

from benchmarks.figures import Figure, ratio, single, slowdown
from benchmarks.steps import sample
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.tokens import SOURCES, embed_clip
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.media.frames import encode_jpeg
from pipeline.store import writer
from pipeline.store.clips import ClipFaces
from pipeline.store.columns import to_columns
from pipeline.store.features import FeatureStore
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, FACES

CLIPS_STORED, TOKENS, WIDTH = 10_000, 16, 512
RAVDESS = 1440 * 16  # crops
COPIES = 200  # of a few clips' tokens, to have enough to measure
BACKBONE = BackboneConfig(weights="random")


def measure() -> list[Figure]:
    """Return the figures of the layout."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_crops(Path(folder)), _chunks(Path(folder))]


def encode_png(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the PNG file (bytes,) of an RGB image (height, width, 3), without loss."""
    return np.asarray(cv2.imencode(".png", image[..., ::-1])[1], np.uint8).reshape(-1)


def _crops(folder: Path) -> list[Figure]:
    """Compare crops as JPEG with crops as PNG, by their size and tokens; and compress the tokens."""
    sizes, tokens = {}, {}
    with sample() as paths:
        for name, encode in (("jpeg", encode_jpeg), ("png", encode_png)):
            with patch("pipeline.faces.crops.encode_jpeg", encode):
                clips = [extract_faces(path, FacesConfig()) for path in paths]
            sizes[name] = np.concatenate([clip.crops.lengths for clip in clips]).mean()
            tokens[name] = np.concatenate([_tokens(folder / name, clip) for clip in clips])
    jpeg, png = (torch.from_numpy(tokens[name]) for name in ("jpeg", "png"))
    all_bytes, share = float(sizes["jpeg"]) * RAVDESS, 100 * float(sizes["jpeg"] / sizes["png"])
    return [
        single("1,440 clips x 16 crops, as on the sample", all_bytes / 1e9, "GB", target="< 1 GB"),
        single("a crop as JPEG", share, "% of the bytes", against="as PNG", target=""),
        single("a crop's token", float(cosine_similarity(jpeg, png).min()), "least cosine", against="PNG", target=""),
        *_packed(folder / "packed.h5", tokens["jpeg"]),
    ]


def _packed(path: Path, tokens: NDArray[np.float32]) -> list[Figure]:
    """Compare compressed tokens with uncompressed ones."""
    many = np.tile(tokens, (COPIES, 1))
    with h5py.File(path, "w") as file:
        plain = file.create_dataset("plain", data=many, chunks=(2048, WIDTH))
        packed = file.create_dataset("packed", data=many, chunks=(2048, WIDTH), compression="gzip", shuffle=True)
        share = 100 * packed.id.get_storage_size() / many.nbytes
        longer = slowdown(
            "reading tokens, were they packed", lambda: packed[:], lambda: plain[:], against="unpacked", target=""
        )
    return [single("tokens, were they packed", share, "% of the bytes", against="gzip, shuffled", target=""), longer]


def _tokens(path: Path, faces: ClipFaces) -> NDArray[np.float32]:
    columns = to_columns(faces)
    with writer.open_writer(path, like=columns, attributes={"schema": FACES.name}) as file:
        file.append("clip", columns)
    clip = Reader(path, schema=FACES)["clip"]
    return embed_clip(clip, source=SOURCES["faces"], config=BACKBONE).tokens


def _chunks(folder: Path) -> Figure:
    """Time loading tokens from large chunks against small ones."""
    clips = [f"clip{number:05}" for number in range(CLIPS_STORED)]
    tokens = np.random.default_rng(0).normal(size=(TOKENS, WIDTH)).astype(np.float32)
    columns = {"tokens": tokens, "times": np.arange(TOKENS, dtype=np.float32)}
    for name, chunk_bytes in (("large", writer.TOKENS_CHUNK_BYTES), ("small", writer.CHUNK_BYTES)):
        with (
            patch.object(writer, "TOKENS_CHUNK_BYTES", chunk_bytes),
            writer.open_writer(folder / name, like=columns, attributes={"schema": EMBEDDINGS.name}) as file,
        ):
            for clip_id in clips:
                file.append(clip_id, columns)
    return ratio(
        "loading 10,000 clips from chunks of 4 MB",
        lambda: FeatureStore(folder / "small").load(clips),
        lambda: FeatureStore(folder / "large").load(clips),
        against="from chunks of 256 kB",
        target="",
    )
