"""Video frames at chosen times, and JPEG encoding."""

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
    """Return n frames (n, height, width, 3) RGB and their times (n,) in seconds, n = min(count, frames in the video).

    The clip is divided into `count` equal parts; the frame nearest to the middle of each part is returned.
    Raise `ClipError` if the file has no frames or cannot be decoded.
    """
    wanted = _nearest_to_middles(_timestamps(path), count)
    images: dict[int, NDArray[np.uint8]] = {}
    with open_media(path) as container:
        stream = first_stream(container.streams.video, "video")
        for frame in container.decode(stream):
            if frame.pts in wanted:
                images[frame.pts] = _to_upright_rgb(frame)
            if len(images) == len(wanted):
                break
        unit_s, start_s = _time_unit_and_start(container)
    if not images:
        raise ClipError("none of the video's frames can be decoded")
    times = np.asarray([timestamp * unit_s - start_s for timestamp in sorted(images)], np.float32)
    return np.stack([images[timestamp] for timestamp in sorted(images)]), times


def _to_upright_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the image (height, width, 3) RGB as a player shows it: phones store rotated frames with a rotation tag."""
    # By default, PyAV starts threads for every frame, which takes longer than the conversion.
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    return np.rot90(image, frame.rotation // 90) if frame.rotation % 360 else image


def frame_times(path: Path) -> NDArray[np.float32]:
    """Return the times (n,) of all frames in seconds, on the same time axis as `read_frames`."""
    with open_media(path) as container:
        unit_s, start_s = _time_unit_and_start(container)
    return np.asarray(_timestamps(path) * unit_s - start_s, np.float32)


def _time_unit_and_start(container: InputContainer) -> tuple[float, float]:
    """Return the unit of the video's timestamps and the start of the clip, both in seconds."""
    stream = first_stream(container.streams.video, "video")
    return float(stream.time_base or 0), (container.start_time or 0) / av.time_base


def _timestamps(path: Path) -> NDArray[np.int64]:
    """Return the sorted presentation times in the stream's units; packets contain them, so no decoding is needed."""
    with open_media(path) as container:
        timestamps = sorted(
            packet.pts
            for packet in container.demux(first_stream(container.streams.video, "video"))
            if packet.pts is not None
        )
    if not timestamps:
        raise ClipError("the video has no frames")
    return np.asarray(timestamps)


def _nearest_to_middles(timestamps: NDArray[np.int64], count: int) -> set[int]:
    """Return the sorted timestamps that are nearest to the middles of `count` equal parts of the clip."""
    step = np.median(np.diff(timestamps)) if len(timestamps) > 1 else 1
    duration = timestamps[-1] + step - timestamps[0]
    middles = timestamps[0] + (np.arange(count) + 0.5) / count * duration - step / 2
    return {int(timestamps[np.abs(timestamps - middle).argmin()]) for middle in middles}


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the JPEG file (bytes,) of an RGB image (height, width, 3)."""
    is_encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not is_encoded:
        raise ClipError(f"a crop of shape {image.shape} cannot be encoded")
    return np.asarray(data, np.uint8).reshape(-1)


def decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the RGB image (height, width, 3) of a JPEG file (bytes,)."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise StoreError("a stored crop is not a valid image; run: dvc repro --force --single-item faces")
    return np.ascontiguousarray(image[..., ::-1], np.uint8)
