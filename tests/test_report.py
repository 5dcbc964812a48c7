"""The report: one page that needs no network, says what it must, and runs nothing that stands in the data."""

import base64
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.evaluation import Prediction, evaluate
from pipeline.experiments import RANDOM_WEIGHTS
from pipeline.provenance import library_versions
from pipeline.report import render_report

CLASSES = ["anger", "fear"]
EVIL = "<script>alert('&\"')</script>"
FIGURES = {"Confusion": b"\x89PNG one", "Faces": b"\x89PNG two"}


class Page(HTMLParser):
    """What a browser makes of the page: its tags, its tables' rows and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.in_cell = False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a row or a cell."""
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        """Add to the text, and to the cell if one is open."""
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data


def prediction(protocol: str, clip: int, chosen: int, *, shared: bool = False) -> Prediction:
    """Return what was said of a clip: 0 and 1 show anger, 2 and 3 fear; even ones are in fold 0, odd ones in fold 1."""
    values = [0.9, 0.1] if chosen == 0 else [0.1, 0.9]
    said: dict[str, list[float] | None] = {
        "visual": None,
        "acoustic": values,
        "fused": values,
        "video_only": None,
        "audio_only": values,
    }
    return Prediction(protocol, shared, clip % 2, 0, f"c{clip}", f"s{clip}", clip // 2, said)


def metrics(**changes: Any) -> dict[str, Any]:
    """Return what the stage evaluate writes: four clips, two emotions; folds are right on 3 of 4, random on all."""
    rows = [prediction("folds", clip, [0, 0, 1, 0][clip]) for clip in range(4)]
    rows += [prediction("random", clip, clip // 2, shared=True) for clip in range(4)]
    values = {
        "clips": 4,
        "left_out": [],
        "lost_modalities": {"visual": {}, "acoustic": {}},
        "classes": CLASSES,
        "weights": {"visual": "imagenet", "acoustic": "imagenet"},
        "protocols": evaluate(rows, CLASSES),
    }
    return values | changes


def ablation(**changes: Any) -> dict[str, Any]:
    full = {"row": "full", "runs": 2, "mean": 0.75, "sd": 0.125, "difference": 0.0, "p": None, "p_holm": None}
    less = {"row": "less", "runs": 1, "mean": 0.5, "sd": None, "difference": -0.25, "p": 0.04, "p_holm": 0.08}
    return {"protocol": "folds", "rows": [full, less | changes]}


def page(
    figures: dict[str, bytes] | None = None, params: dict[str, Any] | None = None, row: str = "less", **changes: Any
) -> Page:
    return Page(render_report(metrics(**changes), ablation(row=row), figures or FIGURES, params or {"train": {}}))


def test_the_figures_are_those_of_the_predictions() -> None:
    rows = {tuple(row[:2]): row[2:] for row in page().rows if len(row) == 7}
    # By hand: 3 of 4 right; anger 2 of 2 and fear 1 of 2; F1 4/5 and 2/3; folds {0, 2}: 1, {1, 3}: a half.
    war, uar, interval, macro_f1, runs = rows["folds", "acoustic"]
    assert (war, uar, macro_f1, runs) == ("75.0", "75.0", "73.3", "75.0 ± 35.4")
    assert re.fullmatch(r"\d+\.\d to 100\.0", interval)
    assert rows["random (speakers shared)", "fused"][:3] == ["100.0", "100.0", "100.0 to 100.0"]
    assert not [key for key in rows if key[1] == "visual"]  # no clip has a picture


def test_the_baseline_stands_beside_the_figures() -> None:
    assert "folds: WAR 50.0 %, UAR 50.0 %; random: WAR 50.0 %, UAR 50.0 %." in page().text


def test_an_ablation_shows_its_difference_and_its_corrected_p() -> None:
    rows = {row[0]: row[1:] for row in page().rows if len(row) == 5}
    assert rows["full"] == ["2", "75.0 ± 12.5", "+0.0", ""]
    assert rows["less"] == ["1", "50.0", "-25.0", "0.080"]


def test_random_weights_are_warned_of_and_others_are_not() -> None:
    assert [values["class"] for tag, values in page().tags if values.get("class") == "warning"] == []
    warned = page(warning=RANDOM_WEIGHTS, weights={"visual": "random", "acoustic": "random"})
    assert [tag for tag, values in warned.tags if values.get("class") == "warning"] == ["p"]
    assert "Random backbone weights: these figures show that the pipeline works" in warned.text


def test_the_page_needs_nothing_but_itself() -> None:
    made = page()
    sources = [values[key] for _, values in made.tags for key in ("src", "href") if key in values]
    assert sources == [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in FIGURES.values()]
    assert not {tag for tag, _ in made.tags} & {"link", "script", "iframe", "object", "base"}
    assert "url(" not in made.text
    assert "@import" not in made.text


def test_every_clip_left_out_is_listed_with_its_reason() -> None:
    left_out = [
        {"clip_id": "", "path": "x/a.mp4", "stage": "corpus", "reason": "lies in no emotion's folder"},
        {"clip_id": "m/b", "path": "b.mp4", "stage": "manifest", "reason": "unknown emotion 'joy'"},
    ]
    made = page(left_out=left_out)
    assert [row for row in made.rows if len(row) == 4][1:] == [list(row.values()) for row in left_out]
    assert "4 clips, 2 emotions (anger, fear); 2 left out" in made.text
    assert "No clip." in page().text


def test_clips_that_lost_one_modality_are_told_with_the_reason() -> None:
    lost = {"visual": {"m/a": "no face was found", "m/b": "is damaged"}, "acoustic": {}}
    text = page(lost_modalities=lost).text
    assert "2 clips lost their visual side in extraction: m/a (no face was found), m/b (is damaged)." in text
    assert "acoustic side" not in text


def test_the_parameters_and_the_versions_that_made_it_are_told() -> None:
    text = page(params={"train": {"learning_rate": 0.001}, "render": {}}).text
    assert "learning_rate: 0.001" in text
    assert f"h5py {library_versions('h5py')['h5py']}" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"left_out": [{"clip_id": EVIL, "path": EVIL, "stage": EVIL, "reason": EVIL}]},
        {"lost_modalities": {"visual": {EVIL: EVIL}, "acoustic": {}}},
        {"classes": [EVIL, "fear"]},
        {"weights": {"visual": EVIL, "acoustic": "x"}},
        {"warning": EVIL},
        {"figures": {EVIL: b"png"}},
        {"params": {"corpora": {EVIL: {"root": EVIL}}}},
        {"row": EVIL},
        {"protocols": {EVIL: metrics()["protocols"]["folds"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_stands_in_the_data_is_shown_and_never_run(changes: dict[str, Any]) -> None:
    made = page(**changes)
    assert not [tag for tag, _ in made.tags if tag == "script"]
    shown = made.text + " ".join(str(values.get("alt")) for _, values in made.tags)
    assert EVIL.lower() in shown.lower().replace("''", "'")  # YAML doubles a quote
