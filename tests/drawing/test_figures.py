"""Figures: reproducible PNG and SVG files, and colours that colour-blind readers can distinguish."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_samples import CLASSES, ablation, curves, evaluation, exploration, predictions, write_stores
from skimage.color import deltaE_ciede2000, rgb2lab

from pipeline.ablation.figure import draw_ablation
from pipeline.base.text import printable
from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.figures import draw_attention, draw_confusion, draw_projection, draw_reliability, draw_spread
from pipeline.report.extraction_summary import summarise_extraction
from pipeline.report.figures import draw_extraction, draw_mistakes
from pipeline.training.figures import draw_curves

# How colour-blind eyes see linear red, green and blue. Machado, Oliveira, Fernandes, 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
EMOTIONS = 7


def drawings(folder: Path) -> dict[str, Callable[[Path], None]]:
    results = evaluation()
    details = exploration(predictions())
    thumbnails = write_stores(folder, [f"c{number}" for number in range(4)], without_face="c3")
    scores = results.protocols["folds"]
    lost = evaluation(left_out=[{"clip_id": "x", "path": "x", "stage": "corpus", "reason": "is damaged " * 20}])
    return {
        "ablation": lambda path: draw_ablation(ablation(), path),
        "attention": lambda path: draw_attention(details.attention, path),
        "attention, none": lambda path: draw_attention([], path),
        "confusion": lambda path: draw_confusion(scores, CLASSES, path, title="folds"),
        "curves": lambda path: draw_curves(curves(), path),
        "extraction": lambda path: draw_extraction(summarise_extraction(thumbnails.faces, lost), path),
        "mistakes": lambda path: draw_mistakes(details.mistakes, thumbnails, path),
        "mistakes, none": lambda path: draw_mistakes([], thumbnails, path),
        "reliability": lambda path: draw_reliability(scores, path, title="folds"),
        "spread": lambda path: draw_spread(results.protocols, path),
        "tsne": lambda path: draw_projection(details, CLASSES, path),
    }


def test_figures_are_reproducible_png_and_svg_files(tmp_path: Path) -> None:
    for name, draw in drawings(tmp_path).items():
        files = []
        for turn in ("first", "second"):
            path = tmp_path / turn / f"{name}.png"
            draw(path)
            files.append((path.read_bytes(), path.with_suffix(".svg").read_bytes()))
        assert files[0] == files[1], name
        assert files[0][0].startswith(b"\x89PNG"), name
        assert b"<svg" in files[0][1][:2000], name


def test_figures_hold_neither_date_nor_path(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    save(figure, tmp_path / "x.png")
    text = (tmp_path / "x.svg").read_text()
    assert "<dc:date>" not in text
    assert str(tmp_path) not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]


@pytest.mark.parametrize("eyes", EYES)
def test_colour_blind_readers_can_distinguish_seven_emotions(eyes: str) -> None:
    colours = {colour: _lab(colour, np.asarray(EYES[eyes])) for colour in COLOURS[:EMOTIONS]}
    distances = {pair: float(deltaE_ciede2000(colours[pair[0]], colours[pair[1]])) for pair in combinations(colours, 2)}
    assert min(distances.values()) > 7, min(distances, key=lambda pair: distances[pair])


def test_every_colour_is_visible_on_white_and_on_dark_ground() -> None:
    for colour in COLOURS[:EMOTIONS]:
        lightness = _lab(colour, np.eye(3))[0]
        assert 35 < lightness < 80, colour


def _lab(colour: str, eyes: Any) -> Any:
    """Return a colour in CIELAB, as these eyes see it."""
    rgb = np.asarray([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(eyes @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("name", ["a$b$.mp4", "$\\frac{$", "\x1b[31m\x07", "\u202e", "\ud800"])
def test_name_of_a_stranger_is_drawn_as_it_is(tmp_path: Path, name: str) -> None:
    figure = Figure()
    figure.suptitle(f"{name}\nsecond line")
    save(figure, tmp_path / "a.png")  # a warning of matplotlib would fail this test
    assert figure.get_suptitle() == f"{printable(name)}\nsecond line"
