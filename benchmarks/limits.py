"""The cost of the parts of extraction alone, on the same clips with the same number of cores."""

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
from pipeline.media.frames import read_frames
from pipeline.media.sound import read_audio
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.windows import window_spans

CHANNELS = {"faces": 3, "mels": 1}  # of the images of the two embedding stages


def seconds(paths: Sequence[Path]) -> float:
    """Return how long decoding, detection, spectrograms and the backbone alone need on all cores."""
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
    """Return the seconds that a stage's backbone takes for this number of images."""
    config = read_section(f"embed_{source}", BackboneConfig, path=ROOT / "params.yaml")
    ready = torch.rand(images, channels, config.size_px, config.size_px)
    start = time.perf_counter()
    if images:
        embed(ready, config)
    return time.perf_counter() - start


def _clip_seconds(path: Path) -> float:
    """Return the seconds of one clip: decoding, detection, spectrogram, and the embedding of as many images."""
    sounds = read_section("spectrograms", SpectrogramsConfig, path=ROOT / "params.yaml")
    start = time.perf_counter()
    frames, _ = read_frames(path, count=_faces().frames_per_clip)
    detections = detect(frames, _faces())
    images = sum(len(boxes) > 0 for boxes in detections)
    try:
        sound = read_audio(path, rate_hz=sounds.rate_hz)
        values = lookup(SPECTROGRAMS, sounds.kind, "spectrogram")(sounds)(sound, sounds.rate_hz)
        length = max(values.shape[1], sounds.window_frames)
        windows = len(window_spans(length, length=sounds.window_frames or length, overlap=sounds.overlap))
    except ClipError:  # one clip of the sample is silent
        windows = 0
    spent = time.perf_counter() - start
    counts = {"faces": images, "mels": windows}
    return spent + sum(_embed(counts[source], source, channels) for source, channels in CHANNELS.items())
