"""The report: one page that needs no network, says what it must, and runs nothing that stands in the data."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_samples import (
    CLASSES,
    EMBEDDINGS,
    ablation,
    curves,
    explored,
    metrics,
    png,
    predictions,
    render,
    write_stores,
)
from ruamel.yaml import YAML

from pipeline.base.provenance import ROOT, library_versions
from pipeline.evaluation.projections import ATTENDED, PLACES, SHOWN
from pipeline.report.thumbnails import Thumbnails
from pipeline.training.corpus import RANDOM_WEIGHTS
from stages.report import STAGE_OF_FIGURE as FIGURES

EVIL = "<script>alert('&\"')</script>"
MEGABYTE = 2**20


class Page(HTMLParser):
    """What a browser makes of the page: its tags, its tables' rows, its text, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.in_cell = False
        self.open = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a row, a cell or a script."""
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        self.in_cell = self.in_cell and tag not in ("td", "th")
        self.open = ""

    def handle_data(self, data: str) -> None:
        """Add to the script, or to the text, and to the cell if one is open."""
        if self.open == "script":
            self.scripts.append(data)
        elif self.open != "style":
            self.text += data
            if self.in_cell:
                self.rows[-1][-1] += data


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    return write_stores(tmp_path, [f"c{number}" for number in range(4)], without_face="c3")


def page(thumbnails: Thumbnails, told: dict[str, Any] | None = None, **changes: Any) -> Page:
    return Page(render(thumbnails, told or metrics(), **changes))


def test_the_figures_are_those_of_the_predictions(thumbnails: Thumbnails) -> None:
    rows = {tuple(row[:2]): row[2:] for row in page(thumbnails).rows if len(row) == 8}
    # By hand: 3 of 4 right; anger 2 of 2 and fear 1 of 2; F1 4/5 and 2/3; folds {0, 2}: 1, {1, 3}: a half.
    war, uar, interval, baseline, macro_f1, runs = rows["folds", "acoustic"]
    assert (war, uar, baseline, macro_f1, runs) == ("75.0", "75.0", "50.0", "73.3", "75.0 ± 35.4")
    assert re.fullmatch(r"\d+\.\d to 100\.0", interval)
    assert rows["random (speakers shared)", "fused"][:3] == ["100.0", "100.0", "100.0 to 100.0"]
    assert rows["folds", "audio only"][0] == "75.0"
    assert not [key for key in rows if key[1] in ("visual", "video only")]  # no clip has a picture


def test_the_baseline_and_the_number_left_out_stand_beside_the_figures(thumbnails: Thumbnails) -> None:
    assert "folds: WAR 50.0 %, UAR 50.0 %; random: WAR 50.0 %, UAR 50.0 %." in page(thumbnails).text
    assert "0 clips were left out" in page(thumbnails).text


def test_every_run_is_listed(thumbnails: Thumbnails) -> None:
    rows = [row for row in page(thumbnails).rows if row[:2] == ["folds", "fused"] and len(row) == 6]
    assert [row[2:] for row in rows] == [["0", "0", "100.0", "100.0"], ["1", "0", "50.0", "50.0"]]


def test_confusion_matrices_show_counts_and_rates(thumbnails: Thumbnails) -> None:
    rows = [row for row in page(thumbnails).rows if len(row) == 3 and row[0] in CLASSES]
    assert len(rows) == 2 * 2 * 2  # two protocols, acoustic and fused, two emotions
    assert rows[:2] == [["anger", "2100 %", "00 %"], ["fear", "150 %", "150 %"]]


def test_an_ablation_shows_its_difference_its_interval_and_its_corrected_p(thumbnails: Thumbnails) -> None:
    made = page(thumbnails)
    rows = {row[0]: row[1:] for row in made.rows if len(row) == 7}
    assert rows["full"] == ["2", "75.0 ± 12.5", "+0.0", "", "", ""]
    assert rows["less"] == ["1", "50.0", "-25.0", "-37.5 to -12.5", "0.040", "0.080"]
    assert "cannot be less than 0.500" in made.text


@pytest.mark.parametrize(("adapter", "uar"), [("savee", "86.19"), ("meld", "75.91")])
def test_the_papers_figures_stand_beside_ours_on_its_corpora(thumbnails: Thumbnails, adapter: str, uar: str) -> None:
    made = page(thumbnails, params={"corpora": {"own": {"adapter": adapter, "root": "x"}}})
    rows = {row[0]: row[1:] for row in made.rows if len(row) == 4}
    assert rows["FDAN"][1:] == [uar, "protocol unpublished"]


@pytest.mark.parametrize("adapters", [["sample"], ["ravdess"], ["savee", "meld"], ["my_package.corpora:savee"]])
def test_the_papers_figures_stand_nowhere_else(thumbnails: Thumbnails, adapters: list[str]) -> None:
    corpora = {f"c{number}": {"adapter": adapter, "root": "x"} for number, adapter in enumerate(adapters)}
    assert "unpublished" not in page(thumbnails, params={"corpora": corpora}).text


def test_random_weights_are_warned_of_and_others_are_not(thumbnails: Thumbnails) -> None:
    assert not [tag for tag, values in page(thumbnails).tags if values.get("class") == "warning"]
    told = metrics(warning=RANDOM_WEIGHTS, weights={"visual": "random", "acoustic": "random"})
    warned = page(thumbnails, told)
    assert [tag for tag, values in warned.tags if values.get("class") == "warning"] == ["p"]
    assert "Random backbone weights: these figures show that the pipeline works" in warned.text


def test_the_page_needs_nothing_but_itself(thumbnails: Thumbnails) -> None:
    made = page(thumbnails)
    sources = [values[key] or "" for _, values in made.tags for key in ("src", "href", "srcset") if key in values]
    assert sources
    assert not [source for source in sources if not source.startswith(("data:", "#"))]
    assert not {tag for tag, _ in made.tags} & {"iframe", "object", "base"}
    assert "@import" not in made.text
    ours = made.scripts[-1]  # the others are Bokeh's own
    assert {line.partition("(")[0] for line in ours.split("\n") if line} == {"Bokeh.embed.embed_item"}
    assert "http" not in ours


def test_every_clip_left_out_is_listed_with_its_reason_and_reasons_are_counted(thumbnails: Thumbnails) -> None:
    left_out = [
        {"clip_id": "", "path": "x/a.mp4", "stage": "corpus", "reason": "lies in no emotion's folder"},
        {"clip_id": "m/b", "path": "b.mp4", "stage": "manifest", "reason": "unknown emotion 'joy'"},
        {"clip_id": "m/c", "path": "c.mp4", "stage": "manifest", "reason": "unknown emotion 'joy'"},
    ]
    made = page(thumbnails, metrics(left_out=left_out))
    assert [row for row in made.rows if row in [list(it.values()) for it in left_out]] == [
        list(row.values()) for row in left_out
    ]
    assert ["2", "manifest", "unknown emotion 'joy'"] in made.rows
    assert "4 clips, 2 emotions (anger, fear); 3 left out" in made.text
    assert "No clip." in page(thumbnails).text


def test_clips_that_lost_one_modality_are_told_with_the_reason(thumbnails: Thumbnails) -> None:
    lost = {"visual": {"m/a": "no face was found", "m/b": "is damaged"}, "acoustic": {}}
    text = page(thumbnails, metrics(lost_modalities=lost)).text
    assert "2 clips lost their visual side in extraction: m/a (no face was found), m/b (is damaged)." in text
    assert "acoustic side in extraction" not in text


def test_the_health_of_extraction_is_told(thumbnails: Thumbnails) -> None:
    # Three crops a clip, none of the fourth; each clip's frames show 1, 2 and 5 faces, and its last crop is filled.
    text = page(thumbnails).text
    assert "0 to 3 faces a clip, 2.2 on average; clips without any: 1." in text
    assert "detected 6, filled from neighbours in time 3, whole frame 0" in text
    assert "No backbone ran in int8" in text
    weights = {"name": "x", "sha256": "0" * 64, "int8": {"tokens": 500, "share": 0.996, "lowest": 0.9871}}
    proved = metrics(embeddings=EMBEDDINGS | {"visual": EMBEDDINGS["visual"] | {"weights": weights}})
    assert (
        "visual: int8, 99.6 % of 500 held-out tokens are near fp32, the lowest cosine is 0.9871"
        in page(thumbnails, proved).text
    )


def test_mistakes_are_a_gallery_with_face_and_sound(thumbnails: Thumbnails) -> None:
    made = page(thumbnails)
    assert "truth: fear (10.0 %)answer: anger (90.0 %)" in made.text  # c3, which has no face
    assert "no face" in made.text
    assert [values["alt"] for tag, values in made.tags if tag == "img" and "sound of" in (values.get("alt") or "")] == [
        "sound of c3"
    ]


def test_a_head_without_cross_attention_has_none_to_show(thumbnails: Thumbnails) -> None:
    made = page(thumbnails, found=explored(predictions(), attended=0))
    assert "this head has no cross-attention" in made.text
    assert "plot-attention" not in [values.get("id") for _, values in made.tags]


def test_parameters_versions_weights_and_code_are_told(thumbnails: Thumbnails) -> None:
    params = {"train": {"learning_rate": 0.001}, "render": {}, "corpora": {}}
    made = page(thumbnails, params=params)
    text = made.text
    assert "learning_rate: 0.001" in text
    assert f"h5py {library_versions('h5py')['h5py']}" in text
    assert f"fdan {library_versions('fdan')['fdan']}" in text
    assert ["visual", "imagenet", "ab" * 8, "cafe"] in made.rows
    assert "c0de" * 4 in text


def test_one_input_gives_one_page(thumbnails: Thumbnails) -> None:
    assert render(thumbnails, metrics()) == render(thumbnails, metrics())


def test_ten_thousand_clips_fit_into_eight_megabytes(tmp_path: Path) -> None:
    name = "corpus/speaker_with_a_name/session_01_utterance_"
    told = predictions(10_000, name)
    shown = [it for it in told if it.protocol == "folds"][:SHOWN]
    found = explored(shown, attended=ATTENDED, places=PLACES)
    left_out = [
        {"clip_id": f"{name}{number}", "path": f"{name}{number}.mp4", "stage": "corpus", "reason": "is damaged"}
        for number in range(10_000)
    ]
    lost = {"visual": {f"{name}{number}": "no face was found" for number in range(10_000)}, "acoustic": {}}
    thumbnails = write_stores(tmp_path, [it.clip_id for it in shown])
    sheets = dict.fromkeys(FIGURES, png(1600))
    html = render(
        thumbnails, metrics(told, clips=10_000, left_out=left_out, lost_modalities=lost), found, figures=sheets
    )
    assert len(html.encode()) < 8 * MEGABYTE
    assert html.count("data:image/webp") > 2 * SHOWN


@pytest.mark.parametrize(
    "changes",
    [
        {"left_out": [{"clip_id": EVIL, "path": EVIL, "stage": EVIL, "reason": EVIL}]},
        {"lost_modalities": {"visual": {EVIL: EVIL}, "acoustic": {}}},
        {"classes": [EVIL, "fear"]},
        {"weights": {"visual": EVIL, "acoustic": "x"}},
        {"warning": EVIL},
        {"params": {"corpora": {EVIL: {"root": EVIL, "adapter": EVIL}}}},
        {"ablation": ablation(EVIL)},
        {"protocols": {EVIL: metrics()["protocols"]["folds"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_stands_in_the_data_is_shown_and_never_run(thumbnails: Thumbnails, changes: dict[str, Any]) -> None:
    ordinary = len(page(thumbnails).scripts)
    apart = {name: changes[name] for name in ("params", "ablation") if name in changes}
    told = metrics(**{name: value for name, value in changes.items() if name not in apart})
    made = page(thumbnails, told, **apart)
    assert len(made.scripts) == ordinary
    assert "alert('" not in made.scripts[-1]
    shown = made.text + " ".join(str(values.get("alt")) for _, values in made.tags)
    assert EVIL.lower() in shown.lower().replace("''", "'")  # YAML doubles a quote


def test_an_evil_clip_is_shown_and_never_run(tmp_path: Path) -> None:
    evil = predictions(4, EVIL)
    thumbnails = write_stores(tmp_path, [f"{EVIL}{number}" for number in range(4)])
    made = page(thumbnails, metrics(evil), found=explored(evil))
    assert f"{EVIL}3" in made.text
    assert "<script" not in made.scripts[-1]


def test_curves_without_alignment_have_one_line(thumbnails: Thumbnails) -> None:
    assert curves(layers=2).panels()["Distance between the modalities, by layer"] == ["alignment_1", "alignment_2"]
    assert curves(layers=0).panels()["Distance between the modalities, by layer"] == ["alignment"]
    assert "Bokeh.embed" in page(thumbnails, curves=curves(layers=0)).scripts[-1]


def test_the_stage_depends_on_the_figures_that_it_shows() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for stage in set(FIGURES.values()):
        assert f"results/figures/{stage}" in stages[stage]["outs"]
        assert stage == "report" or f"results/figures/{stage}" in stages["report"]["deps"]
