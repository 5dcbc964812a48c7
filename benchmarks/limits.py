"""The time that the computations of extraction take alone, on the same clips and the same number of cores."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from pipeline.base.errors import ClipError
from pipeline.base.params import read_section
from pipeline.base.processes import ONE_THREAD
from pipeline.base.provenance import ROOT
from pipeline.base.registry import lookup
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed
from pipeline.faces.crops import FacesConfig, detect
from pipeline.media.audio import read_audio
from pipeline.media.frames import SampledFrames
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.windows import window_spans

CHANNELS = {"faces": 3, "mels": 1}  # of the images that the two embedding stages read


def seconds(paths: Sequence[Path]) -> float:
    """Return the seconds that decoding, detection, spectrograms and the backbone need on all cores."""
    cores = os.cpu_count() or 1
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_load) as pool:
        return sum(pool.map(_clip_seconds, paths)) / cores


def _load() -> None:
    """Load the models before anything is timed."""
    detect(np.zeros((1, 64, 64, 3), np.uint8), _faces())
    for source, channels in CHANNELS.items():
        _embed(1, source, channels)


def _faces() -> FacesConfig:
    return read_section("faces", FacesConfig, path=ROOT / "params.yaml")


def _embed(images: int, source: str, channels: int) -> float:
    """Return the seconds that the backbone of a stage needs for a ready-made batch of so many images."""
    config = read_section(f"embed_{source}", BackboneConfig, path=ROOT / "params.yaml")
    batch = torch.rand(images, channels, config.size_px, config.size_px)
    start = time.perf_counter()
    if images:
        embed(batch, config)
    return time.perf_counter() - start


def _clip_seconds(path: Path) -> float:
    """Return the seconds of one clip for decoding, detection and spectrograms, and for embedding as many images."""
    config = read_section("spectrograms", SpectrogramsConfig, path=ROOT / "params.yaml")
    start = time.perf_counter()
    frames = np.stack([frame for _, frame in SampledFrames(path, count=_faces().frames_per_clip)])
    images = sum(len(boxes) > 0 for boxes in detect(frames, _faces()))
    try:
        audio = read_audio(path, rate_hz=config.rate_hz)
        values = lookup(SPECTROGRAMS, config.kind, "spectrogram")(config)(audio, config.rate_hz)
        length = max(values.shape[1], config.window_frames)
        windows = len(window_spans(length, length=config.window_frames or length, overlap=config.overlap))
    except ClipError:  # one clip of the sample is silent
        windows = 0
    elapsed_s = time.perf_counter() - start
    counts = {"faces": images, "mels": windows}
    return elapsed_s + sum(_embed(counts[source], source, channels) for source, channels in CHANNELS.items())
