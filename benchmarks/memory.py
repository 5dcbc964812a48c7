"""Peak memory: of a long run against a short run, and of a worker with the largest clip that the limits allow."""

import math
import subprocess
import sys
import tempfile
import time
import wave
from functools import partial
from pathlib import Path

import av
import numpy as np

from benchmarks.figures import Figure, single
from benchmarks.watching import PeakMemory
from pipeline.base.processes import ONE_THREAD
from pipeline.base.provenance import ROOT
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.media.limits import DEFAULT_LIMITS
from pipeline.media.probe import probe
from pipeline.memo.extraction import ClipJob, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.columns import Arrays

CLIPS = (200, 2000)
RUN = "import sys; from benchmarks.memory import run; run(int(sys.argv[1]), sys.argv[2])"
EXTRACT = "import sys; from benchmarks.memory import extract; extract(sys.argv[1], sys.argv[2])"
LARGEST_PX = math.isqrt(DEFAULT_LIMITS.max_pixels)


def measure() -> list[Figure]:
    """Return the growth with ten times the clips, and the peaks of a worker with a usual and with a hostile clip."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = [_peak_gb(RUN, str(clips), tempfile.mkdtemp(dir=folder)) for clips in CLIPS]
        usual = (_write_video(Path(folder, "a.mp4"), 640), _write_audio(Path(folder, "a.wav"), 3))
        # A decoder keeps the frames that others refer to: 16 are the most in H.264, and these are its largest pixels.
        hostile = (
            _write_video(Path(folder, "b.mkv"), LARGEST_PX, pixels="yuv444p10le", references=16),
            _write_audio(Path(folder, "b.wav"), round(DEFAULT_LIMITS.max_decoded_s)),
        )
        usual_gb, hostile_gb = (_peak_gb(EXTRACT, *map(str, clip)) for clip in (usual, hostile))
    name = f"peak memory of {CLIPS[1]:,} clips"
    return [
        single(name, peaks[1] / peaks[0], "times", against=f"{CLIPS[0]} clips", target="<= 1.1"),
        single("peak memory of a worker, 640 x 640 and 3 s", usual_gb, "GB", target="<= 0.5"),
        single(
            f"peak memory of a worker, {LARGEST_PX} x {LARGEST_PX} and {DEFAULT_LIMITS.max_decoded_s:g} s of audio",
            hostile_gb,
            "GB",
            target="<= 1.5",
        ),
    ]


def _peak_gb(code: str, *arguments: str) -> float:
    """Return the peak memory of a process that runs the code."""
    with tempfile.TemporaryDirectory() as cache:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env={"FDAN_CACHE": cache, "PATH": "/usr/bin:/bin", **ONE_THREAD},
            stderr=subprocess.DEVNULL,
        )
        with PeakMemory(process.pid) as memory:
            if process.wait():
                raise SystemExit(f"error: {code} failed for {' '.join(arguments)}")
        return memory.peak_gb


def _write_video(path: Path, side_px: int, *, pixels: str = "yuv420p", references: int = 3) -> Path:
    """Write a video of 20 grey frames, whose file is small whatever the size of its frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = side_px, side_px, pixels
        stream.options = {"preset": "ultrafast", "x264-params": f"ref={references}:bframes=3"}
        frame = av.VideoFrame(side_px, side_px, pixels)
        for plane in frame.planes:
            plane.update(bytes([1]) * plane.buffer_size)
        for number in range(20):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _write_audio(path: Path, seconds: int) -> Path:
    """Write noise in stereo."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        rng = np.random.default_rng(0)
        for _ in range(seconds):
            file.writeframes(rng.integers(-3000, 3000, (48000, 2)).astype("<i2").tobytes())
    return path


def extract(video: str, audio: str) -> None:
    """Compute what the stages `corpus`, `faces` and `spectrograms` compute for a clip, with default settings."""
    for path in (video, audio):
        probe(Path(path))
    extract_faces(Path(video), FacesConfig(no_face="whole_frame"))
    extract_windows(Path(audio), SpectrogramsConfig())


def run(clips: int, folder: str) -> None:
    """Write the results of so many clips to one file."""
    jobs = [ClipJob(f"clip{number:05}", str(number), partial(int, number)) for number in range(clips)]
    like = {"crops": np.empty((0, 10_000), np.uint8)}
    attributes = {"schema": "fdan.test/1"}
    with Pool(ExecutionConfig(workers=2)) as pool:
        step = Step("memory", compute, compute, params={}, libraries=("numpy",), hardware=pool.hardware)
        extract_to_file(Path(folder) / "out.h5", jobs, step, like=like, attributes=attributes, pool=pool)


def compute(number: int) -> Arrays:
    """Return 160 kB after 0.01 s."""
    time.sleep(0.01)
    return {"crops": np.random.default_rng(number).integers(0, 256, (16, 10_000), np.uint8)}
