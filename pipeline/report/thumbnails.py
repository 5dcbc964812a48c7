"""Small images of clips, from the files of faces and spectrograms, for the report's page."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.reader import Reader

Picture = NDArray[np.uint8]
QUALITY = 60  # of WebP: a face of 48 px takes less than a kilobyte


class Thumbnails:
    """Face crops and spectrogram windows of clips, as RGB images (px, px, 3) uint8."""

    def __init__(self, faces: Reader[ClipFaces], spectrograms: Reader[ClipWindows]) -> None:
        """Remember the files of faces and spectrograms."""
        self.faces, self.spectrograms = faces, spectrograms

    def face(self, clip_id: str, px: int) -> Picture | None:
        """Return the face in the middle of the clip, None without one."""
        crops = self.faces[clip_id].crops if clip_id in self.faces else ()
        return _face(crops[len(crops) // 2], px) if len(crops) else None

    def spectrogram(self, clip_id: str, px: int) -> Picture | None:
        """Return the window in the middle of the clip, low bands at the bottom; None without one."""
        windows = self.spectrograms[clip_id].windows if clip_id in self.spectrograms else ()
        return _window(windows[len(windows) // 2], px) if len(windows) else None

    def faces_at(self, clip_id: str, times: list[float], px: int) -> list[Picture]:
        """Return the face nearest to each time in seconds, of a clip with faces."""
        clip = self.faces[clip_id]
        return [_face(clip.crops[int(np.abs(clip.times - time).argmin())], px) for time in times]

    def windows_at(self, clip_id: str, times: list[float], px: int) -> list[Picture]:
        """Return the window nearest to each time in seconds, of a clip with windows."""
        clip = self.spectrograms[clip_id]
        return [_window(clip.windows[int(np.abs(clip.times - time).argmin())], px) for time in times]


def _face(jpeg: NDArray[np.uint8], px: int) -> Picture:
    with Image.open(io.BytesIO(jpeg.tobytes())) as image:
        return np.asarray(image.convert("RGB").resize((px, px), Image.Resampling.LANCZOS))


def _window(values: NDArray[np.float32], px: int) -> Picture:
    """Return a window (frames, bands) in 0..1 as an image, with the colours of the contact sheet."""
    coloured = colormaps["magma"](values.T[::-1], bytes=True)[..., :3]
    return np.asarray(Image.fromarray(coloured).resize((px, px), Image.Resampling.BOX))


def data_uri(picture: Picture | None) -> str:
    """Return an image as a data URI; for None, a single grey pixel."""
    if picture is None:
        picture = np.full((1, 1, 3), 128, np.uint8)
    return webp_uri(Image.fromarray(picture))


def webp_uri(image: Image.Image) -> str:
    """Return an image as a data URI, WebP."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def figure_uri(png: bytes, width_px: int = 1600) -> str:
    """Return a figure's PNG as a data URI, WebP, no wider than `width_px`."""
    with Image.open(io.BytesIO(png)) as image:
        plain = image.convert("RGB")
    plain.thumbnail((width_px, 10 * width_px))
    return webp_uri(plain)
