"""What the parts of extraction cost by themselves, on the same clips with the same number of cores."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from pipeline.backbones import BackboneConfig
from pipeline.engines import embed
from pipeline.errors import ClipError
from pipeline.faces import FacesConfig, detect
from pipeline.media import read_audio, read_frames
from pipeline.params import read_section
from pipeline.processes import ONE_THREAD
from pipeline.provenance import ROOT
from pipeline.registry import lookup
from pipeline.spectrograms import SPECTROGRAMS, SpectrogramsConfig, cut


def seconds(paths: Sequence[Path]) -> float:
    """Return how long decoding, detection, spectrograms and the backbone alone need on all cores."""
    cores = os.cpu_count() or 1
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_load) as pool:
        return sum(pool.map(_alone, paths)) / cores


def _load() -> None:
    """Load the models before anything is timed."""
    detect(np.zeros((1, 64, 64, 3), np.uint8), _faces())
    embed(torch.zeros(1, 3, _embedding().size_px, _embedding().size_px), _embedding())


def _faces() -> FacesConfig:
    return read_section("faces", FacesConfig, path=ROOT / "params.yaml")


def _embedding() -> BackboneConfig:
    return read_section("embed_faces", BackboneConfig, path=ROOT / "params.yaml")


def _alone(path: Path) -> float:
    """Return the seconds of one clip: decoded, looked through, heard, and as many images embedded."""
    sounds = read_section("spectrograms", SpectrogramsConfig, path=ROOT / "params.yaml")
    start = time.perf_counter()
    frames, _ = read_frames(path, count=_faces().frames_per_clip)
    found = detect(frames, _faces())
    images = sum(len(boxes) > 0 for boxes in found)
    try:
        sound = read_audio(path, rate_hz=sounds.rate_hz)
        values = lookup(SPECTROGRAMS, sounds.kind, "spectrogram")(sounds)(sound, sounds.rate_hz)
        length = max(values.shape[1], sounds.window_frames)
        windows = len(cut(length, length=sounds.window_frames or length, overlap=sounds.overlap))
    except ClipError:  # one clip of the sample is silent
        windows = 0
    size = _embedding().size_px
    spent = time.perf_counter() - start
    for count in (images, windows):
        ready = torch.rand(count, 3, size, size)
        start = time.perf_counter()
        if count:
            embed(ready, _embedding())
        spent += time.perf_counter() - start
    return spent
