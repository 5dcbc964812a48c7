"""The contact sheet of spectrogram windows, to check them at a glance."""

from pathlib import Path

from pipeline.base.selection import evenly_spaced
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import CLIPS, IMAGES_PER_CLIP, Sheet
from pipeline.store.clips import ClipWindows
from pipeline.store.reader import Reader


def draw_spectrograms(spectrograms: Reader[ClipWindows], path: Path) -> None:
    """Draw the windows of every n-th clip, one row per clip, as PNG and SVG."""
    chosen = evenly_spaced(spectrograms.clip_ids, CLIPS)
    columns = max([len(spectrograms[clip_id].windows) for clip_id in chosen] + [1])
    columns = min(columns, IMAGES_PER_CLIP)
    title = f"Spectrogram windows of {len(chosen)} of {len(spectrograms)} clips"
    sheet = Sheet(title, rows=len(chosen), columns=columns, cell_in=(2.0, 1.1))
    for row, clip_id in enumerate(chosen):
        draw_row(sheet, row, clip_id.split("/")[-1], spectrograms[clip_id], columns=columns)
    save(sheet.figure, path)


def draw_row(sheet: Sheet, row: int, name: str, clip: ClipWindows, *, columns: int) -> None:
    """Draw the first windows of a clip."""
    for column, window in enumerate(clip.windows[:columns]):
        style = {"origin": "lower", "vmin": 0, "vmax": 1, "cmap": "magma"}
        sheet.draw_image(row, column, window.T, f"{clip.times[column]:.2f} s", **style)
    sheet.label_row(row, name)
