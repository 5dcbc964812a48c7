"""Small pictures of clips for the report, from the stores of faces and spectrograms."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import StoreError
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.reader import Reader

Picture = NDArray[np.uint8]
QUALITY = 60  # of WebP: a face of 48 px takes less than a kilobyte


class Thumbnails:
    """Faces and spectrogram windows of clips, as RGB pictures (px, px, 3); None if a clip has none."""

    def __init__(self, faces: Reader[ClipFaces], spectrograms: Reader[ClipWindows]) -> None:
        """Read from both stores."""
        self.faces, self.spectrograms = faces, spectrograms

    def face(self, clip_id: str, px: int) -> Picture | None:
        """Return the face in the middle of the clip."""
        crops = self.faces[clip_id].crops if clip_id in self.faces else ()
        return _face(crops[len(crops) // 2], px) if len(crops) else None

    def spectrogram(self, clip_id: str, px: int) -> Picture | None:
        """Return the window in the middle of the clip, low bands at the bottom."""
        windows = self.spectrograms[clip_id].windows if clip_id in self.spectrograms else ()
        return _window(windows[len(windows) // 2], px) if len(windows) else None

    def of(self, modality: str, clip_id: str, px: int) -> Picture | None:
        """Return the picture of `visual` or `acoustic` in the middle of the clip."""
        return {"visual": self.face, "acoustic": self.spectrogram}[modality](clip_id, px)

    @property
    def modalities(self) -> list[str]:
        """The modalities that any clip has."""
        clips = {"visual": self.faces.clip_ids, "acoustic": self.spectrograms.clip_ids}
        return [name for name, clip_ids in clips.items() if clip_ids]

    def faces_at(self, clip_id: str, times: list[float], px: int) -> list[Picture]:
        """Return the faces nearest to the times in seconds, of a clip that has faces."""
        clip = self.faces[clip_id]
        return [_face(clip.crops[int(np.abs(clip.times - time).argmin())], px) for time in times]

    def windows_at(self, clip_id: str, times: list[float], px: int) -> list[Picture]:
        """Return the windows nearest to the times in seconds, of a clip that has windows."""
        clip = self.spectrograms[clip_id]
        return [_window(clip.windows[int(np.abs(clip.times - time).argmin())], px) for time in times]


def _face(jpeg: NDArray[np.uint8], px: int) -> Picture:
    return np.asarray(_read_image(jpeg.tobytes(), "JPEG").resize((px, px), Image.Resampling.LANCZOS))


def _read_image(data: bytes, format_name: str) -> Image.Image:
    """Return an RGB image of this format only: the bytes of a store or a figure are not always ours."""
    try:
        with Image.open(io.BytesIO(data), formats=(format_name,)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise StoreError(f"a face or a figure is not a valid {format_name} image; run: dvc repro --force") from error


def _window(values: NDArray[np.float32], px: int) -> Picture:
    """Return a window (frames, bands) in 0..1 as a picture, in the colours of the contact sheet."""
    coloured = colormaps["magma"](values.T[::-1], bytes=True)[..., :3]
    return np.asarray(Image.fromarray(coloured).resize((px, px), Image.Resampling.BOX))


def data_uri(picture: Picture | None) -> str:
    """Return a picture as a data URI; a grey pixel for None."""
    if picture is None:
        picture = np.full((1, 1, 3), 128, np.uint8)
    return webp_uri(Image.fromarray(picture))


def webp_uri(image: Image.Image) -> str:
    """Return an image as a data URI."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def figure_uri(png: bytes, width_px: int = 1600) -> str:
    """Return a PNG file as a data URI of a WebP image that is no wider than `width_px`."""
    plain = _read_image(png, "PNG")
    plain.thumbnail((width_px, 10 * width_px))
    return webp_uri(plain)
