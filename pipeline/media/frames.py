"""Reading media with PyAV: what a file holds, frames at chosen times, sound as one channel."""

from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from pipeline.base.errors import ClipError, StoreError
from pipeline.media._opening import first_stream, open_media

JPEG_QUALITY = 95


def read_frames(path: Path, *, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return frames (n, height, width, 3) RGB and their times (n,) in seconds, n = min(count, frames there are).

    The clip is cut into `count` equal parts, and the frame nearest to the middle of each is taken.
    """
    wanted = _evenly(_stamps(path), count)
    taken: dict[int, NDArray[np.uint8]] = {}
    with open_media(path) as container:
        stream = first_stream(container.streams.video, "video")
        for frame in container.decode(stream):
            if frame.pts in wanted:
                taken[frame.pts] = _upright(frame)
            if len(taken) == len(wanted):
                break
        base, start_s = _clock(container)
    if not taken:
        raise ClipError("none of its video's frames can be decoded")
    times = np.asarray([stamp * base - start_s for stamp in sorted(taken)], np.float32)
    return np.stack([taken[stamp] for stamp in sorted(taken)]), times


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the picture (height, width, 3) RGB as a player shows it: telephones store it turned, and say so."""
    # By itself it would start threads for every frame, and that takes longer than the frame.
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    return np.rot90(image, frame.rotation // 90) if frame.rotation % 360 else image


def frame_times(path: Path) -> NDArray[np.float32]:
    """Return the times (n,) of all frames in seconds, as `read_frames` counts them."""
    with open_media(path) as container:
        base, start_s = _clock(container)
    return np.asarray(_stamps(path) * base - start_s, np.float32)


def _clock(container: InputContainer) -> tuple[float, float]:
    """Return the seconds of a unit of the video's time, and when the clip begins."""
    stream = first_stream(container.streams.video, "video")
    return float(stream.time_base or 0), (container.start_time or 0) / av.time_base


def _stamps(path: Path) -> NDArray[np.int64]:
    """Return the sorted presentation times, in the stream's units: they stand in the packets, undecoded."""
    with open_media(path) as container:
        stamps = sorted(
            packet.pts
            for packet in container.demux(first_stream(container.streams.video, "video"))
            if packet.pts is not None
        )
    if not stamps:
        raise ClipError("its video holds no frames")
    return np.asarray(stamps)


def _evenly(stamps: NDArray[np.int64], count: int) -> set[int]:
    """Return those of the sorted stamps that lie nearest to the middles of `count` equal parts."""
    step = np.median(np.diff(stamps)) if len(stamps) > 1 else 1
    middles = stamps[0] + (np.arange(count) + 0.5) / count * (stamps[-1] + step - stamps[0]) - step / 2
    return {int(stamps[np.abs(stamps - middle).argmin()]) for middle in middles}


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the JPEG file (bytes,) of an RGB image (height, width, 3)."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ClipError(f"a crop of shape {image.shape} cannot be encoded")
    return np.asarray(data, np.uint8).reshape(-1)


def decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the RGB image (height, width, 3) of a JPEG file (bytes,)."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise StoreError("a stored crop is no image; run: dvc repro --force --single-item faces")
    return np.ascontiguousarray(image[..., ::-1], np.uint8)
