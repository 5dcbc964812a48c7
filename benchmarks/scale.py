"""Time and peak memory of every stage with 2,000 and with 20,000 tiny clips: time grows as the clips do, memory not."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
from ruamel.yaml import YAML

from benchmarks.figures import Figure, single
from pipeline.base.processes import ONE_THREAD
from pipeline.base.provenance import ROOT

CLIPS = (200, 2_000, 20_000)  # the first run shows what a stage takes however many clips there are
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
CLIPS_OF_A_SPEAKER, CLIPS_PER_VIDEO = 20, 10  # the others are sound alone
RATE_HZ, SIDE_PX = 16_000, 64
RUN = "import sys; from benchmarks.scale import run; run(*sys.argv[1:])"
STAGES = {  # in the order of `dvc.yaml`; "again" is a second run, whose results come from the memo
    "corpus": ("corpus", "many"),
    "corpus again": ("corpus", "many"),
    "manifest": ("manifest",),
    "faces": ("faces",),
    "spectrograms": ("spectrograms",),
    "spectrograms again": ("spectrograms",),
    "embed_faces": ("embed", "faces"),
    "embed_mels": ("embed", "mels"),
    "variants": ("variants",),
    "train": ("train",),
    "evaluate": ("evaluate",),
    "ablate": ("ablate",),
    "report": ("report",),
}
# A backbone that costs nothing: what is measured is all the rest.
PLUGIN = """
import torch


class Pool(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1), 8).flatten(1)[:, None]


def build(config):
    return Pool()
"""
BACKBONE = {"backbone": "scale_pool:build", "size_px": 32}
REPLACED = ("ablations", "corpora", "protocols")  # sections that do not keep their other entries
PARAMS: dict[str, Any] = {
    "corpora": {"many": {"adapter": "folder", "root": "media"}},
    "faces": {"no_face": "whole_frame", "size_px": 32},
    "spectrograms": {"window_s": 0.1, "fft_samples": 512, "bands": 32},
    "embed_faces": BACKBONE,
    "embed_mels": BACKBONE,
    "head": {"width": 8},
    "train": {"epochs": 3},
    "protocols": {"speakers": {"kind": "speaker_folds", "folds": 2}},
    "ablations": {"full": {}, "linear": {"head": {"name": "linear"}}},
    "run": {"scheduler": "synchronous"},
}


def measure() -> list[Figure]:
    """Run all stages with few and with many clips; return the exponents of their time, and the ratios of memory."""
    with ThreadPoolExecutor(2) as threads:  # the longest run first, on one core
        many, few, base = threads.map(_run_stages, reversed(CLIPS))
    figures = []
    for stage in STAGES:
        (few_s, few_gb), (many_s, many_gb) = few[stage], many[stage]
        grown_s = [many_s - base[stage][0], few_s - base[stage][0]]
        exponent = math.log(grown_s[0] / grown_s[1]) / math.log((CLIPS[2] - CLIPS[0]) / (CLIPS[1] - CLIPS[0]))
        cost = f"{1000 * grown_s[0] / (CLIPS[2] - CLIPS[0]):.2f} ms a clip"
        grown_kb = 1e6 * (many_gb - few_gb) / (CLIPS[2] - CLIPS[1])
        memory = f"{CLIPS[1]:,}; {many_gb:.2f} GB, {grown_kb:.1f} kB a clip"
        figures += [
            single(f"{stage}, CPU time: exponent of the clips", exponent, "", against=cost, target="0.9 to 1.1"),
            single(
                f"{stage}, peak memory: {CLIPS[2]:,} clips", many_gb / few_gb, "times", against=memory, target="<= 1.1"
            ),
        ]
    return figures


def _run_stages(clips: int) -> dict[str, tuple[float, float]]:
    """Return every stage's CPU time in seconds, without imports, and its peak memory in GB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "media", clips)
        (folder / "plugins").mkdir()
        (folder / "plugins/scale_pool.py").write_text(PLUGIN, encoding="utf-8")
        params = YAML().load(ROOT / "params.yaml")
        for section, values in PARAMS.items():
            params[section] = values if section in REPLACED else {**params[section], **values}
        YAML().dump(params, folder / "params.yaml")
        environment = os.environ | ONE_THREAD | {"FDAN_CACHE": f"{name}/cache", "PYTHONPATH": str(ROOT)}
        measured = {}
        for stage, arguments in STAGES.items():
            command = [sys.executable, "-c", RUN, f"{name}/{stage}.json", *arguments]
            done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(f"error: {stage} failed with {clips} clips: {done.stderr[-2000:]}")
            measured[stage] = tuple(json.loads((folder / f"{stage}.json").read_text(encoding="utf-8")))
        return measured


def run(target: str, stage: str, *arguments: str) -> None:
    """Run a stage in the current folder; write the CPU time in seconds without imports, and the peak memory in GB."""
    sys.argv[1:] = arguments
    main = import_module(f"stages.{stage}").main
    start = time.process_time()
    main()
    seconds = time.process_time() - start
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    Path(target).write_text(json.dumps([seconds, peak_kib * 1024 / 1e9]), encoding="utf-8")


def write_corpus(root: Path, clips: int) -> None:
    """Write clips of a tenth of a second in the layout of the adapter `folder`; the bytes of each differ."""
    video = _encode_video(root.parent / "clip.mp4")
    rng = np.random.default_rng(0)
    for number in range(clips):
        emotion, speaker = EMOTIONS[number % len(EMOTIONS)], number // CLIPS_OF_A_SPEAKER
        path = root / emotion / f"s{speaker}_{number}{'' if number % CLIPS_PER_VIDEO else '.mp4'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:  # a box of the type `free` is skipped by players
            path.write_bytes(video + (16).to_bytes(4, "big") + b"free" + f"{number:08}".encode())
            continue
        with wave.open(f"{path}.wav", "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(rng.integers(-9999, 9999, RATE_HZ // 10, np.int16).tobytes())


def _encode_video(path: Path) -> bytes:
    """Return an MP4 file of three frames and a tenth of a second of sound, both noise."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = SIDE_PX
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for pixels in rng.integers(0, 256, (3, SIDE_PX, SIDE_PX, 3), np.uint8):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        samples = rng.uniform(-0.5, 0.5, (1, RATE_HZ // 10)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode())
    return path.read_bytes()
