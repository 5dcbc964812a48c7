"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from pathlib import Path

from pipeline.base.selection import evenly_spaced
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import CLIPS, FACES_A_CLIP, Sheet
from pipeline.store.reader import Reader


def draw_spectrograms(spectrograms: Reader, path: Path) -> None:
    """Draw the windows of every n-th clip, one row a clip."""
    chosen = evenly_spaced(spectrograms.clip_ids, CLIPS)
    columns = max([len(spectrograms[clip_id]["windows"]) for clip_id in chosen] + [1])
    columns = min(columns, FACES_A_CLIP)
    title = f"Spectrogram windows of {len(chosen)} of {len(spectrograms)} clips"
    sheet = Sheet(title, rows=len(chosen), columns=columns, cell_in=(2.0, 1.1))
    for row, clip_id in enumerate(chosen):
        clip = spectrograms[clip_id]
        for column, window in enumerate(clip["windows"][:columns]):
            how = {"origin": "lower", "vmin": 0, "vmax": 1, "cmap": "magma"}
            sheet.show(row, column, window.T, f"{clip['times'][column]:.2f} s", **how)
        sheet.name(row, clip_id.split("/")[-1])
    save(sheet.figure, path)
