"""Video frames at chosen times, and JPEG encoding."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from sys import maxsize

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import ClipError, StoreError
from pipeline.media._decoding import decode, read_packets
from pipeline.media._opening import open_media, require_stream
from pipeline.media.limits import DEFAULT_LIMITS, Limits

JPEG_QUALITY = 95
CROP_PIXELS = 2048**2  # the largest that `faces.size_px` allows
ONE_COLOUR = 8  # levels of 256 between which a picture of one colour varies: codecs add noise
KEPT_BYTES = 128 * 2**20  # enough for 16 frames of 1920 x 1080
UNLIMITED = Limits(max_pixels=maxsize, max_decoded_s=maxsize)
"""For a file that has been read within limits before."""

Frame = NDArray[np.uint8]
"""One frame (height, width, 3), RGB."""


class SampledFrames:
    """Frames of a video at equal distances, n = min(count, frames in the video).

    The clip is divided into `count` equal parts; the frame nearest to the middle of each part is taken. Iterating
    yields an index into `times` and the image (height, width, 3) RGB, in the order in which FFmpeg decodes them; a
    frame that cannot be decoded is left out. The images are kept if all fit into `KEPT_BYTES`. Otherwise, every
    iteration decodes them again, and holds only one.
    """

    times: NDArray[np.float32]
    """The times (n,) in seconds, ascending."""

    def __init__(self, path: Path, *, count: int, limits: Limits = DEFAULT_LIMITS) -> None:
        """Find the frames; raise `ClipError` if there are none, or if the file cannot be read within the limits."""
        timestamps, unit_s, start_s = _read_timestamps(path, limits)
        self._timestamps = sorted(_nearest_to_middles(timestamps, count))
        self._path, self._limits = path, limits
        self._kept: list[tuple[int, Frame]] = []
        self.times = np.asarray(np.asarray(self._timestamps) * unit_s - start_s, np.float32)

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """Yield indices and images; raise `ClipError` if none of the frames can be decoded."""
        if self._kept:
            yield from self._kept
            return
        decoded = []
        has_any = False
        for index, image in self._decode():
            has_any = True
            if len(self._timestamps) * image.nbytes <= KEPT_BYTES:
                decoded.append((index, image))
            yield index, image
        if not has_any:
            raise ClipError("none of the video's frames can be decoded")
        self._kept = decoded

    def _decode(self) -> Iterator[tuple[int, Frame]]:
        indices = {timestamp: index for index, timestamp in enumerate(self._timestamps)}
        with open_media(self._path, self._limits) as container:
            stream = require_stream(container.streams.video, "video", self._limits)
            for frame in decode(container, [stream], self._limits):
                if isinstance(frame, av.VideoFrame) and frame.pts in indices:
                    yield indices.pop(frame.pts), _to_upright_rgb(frame)
                    if not indices:
                        break


def _to_upright_rgb(frame: av.VideoFrame) -> Frame:
    """Return the image (height, width, 3) RGB as a player shows it: phones store rotated frames with a rotation tag."""
    # By default, PyAV starts threads for every frame, which takes longer than the conversion.
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90)) if frame.rotation % 360 else image


def frame_times(path: Path) -> NDArray[np.float32]:
    """Return the times (n,) of all frames in seconds, on the same time axis as `SampledFrames`.

    Call it for a file that has been read within limits before.
    """
    timestamps, unit_s, start_s = _read_timestamps(path, UNLIMITED)
    return np.asarray(timestamps * unit_s - start_s, np.float32)


def _read_timestamps(path: Path, limits: Limits) -> tuple[NDArray[np.int64], float, float]:
    """Return the sorted presentation times in the stream's units, the unit, and the clip's start, both in seconds.

    Packets contain the times, so no decoding is needed.
    """
    with open_media(path, limits) as container:
        stream = require_stream(container.streams.video, "video", limits)
        packets = read_packets(container, [stream], limits)
        timestamps = np.asarray(sorted(packet.pts for packet in packets if packet.pts is not None), np.int64)
        unit_s, start_s = float(stream.time_base or 0), (container.start_time or 0) / av.time_base
    if not len(timestamps):
        raise ClipError("the video has no frames")
    return timestamps, unit_s, start_s


def _nearest_to_middles(timestamps: NDArray[np.int64], count: int) -> set[int]:
    """Return the sorted timestamps that are nearest to the middles of `count` equal parts of the clip."""
    step = np.median(np.diff(timestamps)) if len(timestamps) > 1 else 1
    duration = timestamps[-1] + step - timestamps[0]
    middles = timestamps[0] + (np.arange(count) + 0.5) / count * duration - step / 2
    return {int(timestamps[np.abs(timestamps - middle).argmin()]) for middle in middles}


def shrink_image(image: Frame, *, max_side_px: int) -> Frame:
    """Return the image, or if its longer side is longer than `max_side_px`, a smaller copy."""
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def is_one_colour(images: NDArray[np.uint8]) -> bool:
    """Return whether each of the images (n, height, width, 3) is one colour, but for a little noise."""
    return all(_colour_range(image) <= ONE_COLOUR for image in images)


def _colour_range(image: NDArray[np.uint8]) -> int:
    """Return by how much a channel of an image (height, width, 3) varies at most."""
    # First over rows, which are contiguous: reducing to three numbers at once takes ten times as long.
    low, high = (each(each(image, axis=0), axis=0).astype(int) for each in (np.min, np.max))
    return int((high - low).max())


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the JPEG file (bytes,) of an RGB image (height, width, 3)."""
    is_encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not is_encoded:
        raise ClipError(f"a crop of shape {image.shape} cannot be encoded")
    return np.asarray(data, np.uint8).reshape(-1)


def _is_small_jpeg(data: NDArray[np.uint8]) -> bool:
    """Return whether the header is a JPEG's of at most `CROP_PIXELS`: OpenCV decodes other formats, of any size."""
    try:
        with Image.open(BytesIO(data.tobytes()), formats=["JPEG"]) as header:
            return header.width * header.height <= CROP_PIXELS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the RGB image (height, width, 3) of a JPEG file (bytes,); raise `StoreError` if it is another file."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if _is_small_jpeg(data) else None
    if image is None:
        raise StoreError("a stored crop is not a valid image; run: dvc repro --force --single-item faces")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
