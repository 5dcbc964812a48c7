"""The report: one page that needs no network, holds all results, and executes no text of the data."""

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
    evaluation,
    exploration,
    png,
    predictions,
    render,
    write_stores,
)
from ruamel.yaml import YAML

from pipeline.base.provenance import RANDOM_WEIGHTS, ROOT, library_versions
from pipeline.evaluation.projections import ATTENTION_CLIPS, MATRIX_SIDE, PROJECTED_CLIPS
from pipeline.evaluation.schemas import Evaluation, ModalityPoints
from pipeline.report._anchors import anchors_for
from pipeline.report.page import FIGURE_STAGES
from pipeline.report.thumbnails import Thumbnails
from pipeline.training.curves import Curves

EVIL = "<script>alert('&\"')</script>"
MEGABYTE = 2**20


class Page(HTMLParser):
    """The page as a browser parses it: tags, rows of tables, text and scripts."""

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


def page(thumbnails: Thumbnails, results: Evaluation | None = None, **changes: Any) -> Page:
    return Page(render(thumbnails, results or evaluation(), **changes))


def test_table_of_results_equals_the_scores_of_the_predictions(thumbnails: Thumbnails) -> None:
    rows = {tuple(row[:2]): row[2:] for row in page(thumbnails).rows if len(row) == 9 and row[1] != "UAR %"}
    # By hand: 3 of 4 right; anger 2 of 2 and fear 1 of 2; F1 4/5 and 2/3; folds {0, 2}: 1, {1, 3}: a half.
    war, uar, interval, cluster, baseline, macro_f1, runs = rows["folds", "acoustic"]
    assert (war, uar, cluster, baseline, macro_f1, runs) == ("75.0", "75.0", "folds", "50.0", "73.3", "75.0 ± 35.4")
    assert re.fullmatch(r"\d+\.\d to 100\.0", interval)
    # Without any error in two folds: a proportion of 0.025^(1/2) has none in two trials with a chance of 2.5 %.
    assert rows["random (speakers shared)", "acoustic"][:3] == ["100.0", "100.0", "15.8 to 100.0"]
    assert {key[1] for key in rows if key[0] == "folds"} == {"acoustic"}  # no clip has video, so nothing is fused


def test_results_include_baseline_and_number_of_clips_left_out(thumbnails: Thumbnails) -> None:
    assert "folds: WAR 50.0 %, UAR 50.0 %; random (speakers shared): WAR 50.0 %, UAR 50.0 %." in page(thumbnails).text
    assert "0 clips were left out" in page(thumbnails).text


def test_notes_on_leaks_are_shown(thumbnails: Thumbnails) -> None:
    note = (
        "folds: 1 pair of clips in different parts look like copies of one recording; leave one of each out: <a> and b"
    )
    assert f"{note}." in page(thumbnails, evaluation(notes=[note])).text


def test_page_of_an_audio_project_says_so_once_and_shows_nothing_of_video(thumbnails: Thumbnails) -> None:
    both = exploration(predictions())
    points = ModalityPoints(visual=None, acoustic=(0.0, 0.0))
    clips = [it.model_copy(update={"before": points, "after": points}) for it in both.clips]
    figures = {name: png() for name in FIGURE_STAGES if name not in ("faces", "attention")}
    results = evaluation(weights={"visual": "none", "acoustic": "imagenet"})
    details = both.model_copy(update={"clips": clips, "attention": []})
    values = [
        {name: 0.0 if name.startswith("alignment") else value for name, value in row.items()}
        for row in next(iter(curves().runs.values()))
    ]
    html = render(thumbnails, results, details=details, figures=figures, curves=Curves({"folds-0-0": values}))
    text = Page(html.split("<h2>How this was made")[0]).text  # which lists all parameters
    assert text.count("All clips have audio only") == 1
    assert "Speech emotion recognition: results" in text
    assert "after alignment" not in text
    for word in ("face", "visual", "video", "fused predictions", "ross-attention", "distance", "Distance"):
        assert word not in text, word
    assert 'src=\\"@face' not in html


def test_every_run_has_a_row(thumbnails: Thumbnails) -> None:
    rows = [
        row
        for row in page(thumbnails).rows
        if row[:2] == ["folds", "acoustic"] and len(row) == 6 and "to" not in row[5]
    ]
    assert [row[2:] for row in rows] == [["0", "0", "100.0", "100.0"], ["1", "0", "50.0", "50.0"]]


def test_confusion_matrices_show_counts_and_rates(thumbnails: Thumbnails) -> None:
    rows = [row for row in page(thumbnails).rows if len(row) == 3 and row[0] in CLASSES]
    assert len(rows) == 2 * 2  # two protocols, two emotions
    assert rows[:2] == [["anger", "2100 %", "00 %"], ["fear", "150 %", "150 %"]]


def test_page_names_what_intervals_count(thumbnails: Thumbnails) -> None:
    parsed = page(thumbnails)
    assert (
        "the jackknife over what varies as a whole: 2 folds on folds; 2 folds on random (speakers shared)."
        in parsed.text
    )
    assert "by the jackknife over 6 speakers; p by a paired randomisation test" in parsed.text
    once = ablation(training_sets=1, cluster="dialogue", clusters=280)
    assert "over 280 dialogues (one training set was seen)" in page(thumbnails, ablation=once).text


def test_ablation_rows_show_intervals_first_and_corrected_p(thumbnails: Thumbnails) -> None:
    parsed = page(thumbnails)
    rows = {row[0]: row[1:] for row in parsed.rows if len(row) == 11 and row[0] in ("full", "less")}
    assert rows["full"] == ["74.0", "60.0 to 85.0", "", "", "", "", "70.0", "75.0 ± 12.5", "0", "0"]
    less = ["49.0", "30.0 to 60.0", "-25.0", "-37.5 to -12.5", "0.040", "0.080", "72.0", "50.0", "3", "12"]
    assert rows["less"] == less
    assert "With 6 speakers, p is at least 0.031, and at least 0.031 after correction for 1 comparison." in parsed.text
    assert "only the intervals can be read" not in parsed.text
    few = ablation(clusters=5, minimum_p=1 / 16, minimum_p_holm=1 / 16)
    assert "So only the intervals can be read." in page(thumbnails, ablation=few).text


def test_choice_by_validation_is_shown_and_the_choice_by_test_is_called_a_search(thumbnails: Thumbnails) -> None:
    text = page(thumbnails).text
    assert "its validation part chooses the row: UAR 49.0 %, 95 % 30.0 to 60.0 (chosen: less 6)." in text
    assert "The highest test UAR, 74.0 % of full, is a search on the test folds" in text


def test_calibration_is_a_table(thumbnails: Thumbnails) -> None:
    rows = {tuple(row[:2]): row[2:] for row in page(thumbnails).rows if len(row) == 6 and " to " in row[5]}
    # By hand: answers of 0.9, of which 3 of 4 are right.
    assert rows["folds", "acoustic"][:3] == ["0.655", "0.420", "15.0"]


@pytest.mark.parametrize(
    ("adapter", "protocol", "whisper"),
    [
        ("ravdess", {"kind": "speaker_folds", "groups": "ravdess_6"}, "75.3"),
        ("savee", {"kind": "speaker_folds", "groups": "each_speaker"}, "74.1"),
    ],
)
def test_published_results_are_shown_if_corpus_and_folds_are_the_same(
    thumbnails: Thumbnails, adapter: str, protocol: dict[str, str], whisper: str
) -> None:
    params = {"corpora": {"mine": {"adapter": adapter, "root": "x"}}, "protocols": {"folds": protocol}}
    parsed = page(thumbnails, params=params)
    rows = {row[0]: row[1:] for row in parsed.rows if len(row) == 3}
    assert rows["Whisper large v3"] == [whisper, "not published"]
    assert rows["ours: acoustic, 2 emotions"][0] == "75.0"
    assert "EmoBox, table 4" in parsed.text
    assert "scores the checkpoint of every epoch on the test part, so the figures are optimistic" in parsed.text
    mine: dict[str, Any] = {"adapter": adapter, "root": "x"}
    others = [
        {"corpora": {"mine": mine | {"options": {"vocal": "song"}}}, "protocols": {"folds": protocol}},
        {"corpora": {"mine": mine, "other": mine}, "protocols": {"folds": protocol}},
        {"corpora": {"mine": mine}, "protocols": {"folds": {"kind": "speaker_folds", "folds": 5}}},
        {"corpora": {"mine": mine}, "protocols": {"folds": {"kind": "speaker_folds", "groups": [["a"], ["b"]]}}},
    ]
    assert "EmoBox" not in page(thumbnails, params=others[0]).text
    for other in others:
        assert anchors_for(other) == []


@pytest.mark.parametrize(("adapter", "uar"), [("savee", "86.19"), ("meld", "75.91")])
def test_results_of_the_paper_are_shown_on_its_corpora(thumbnails: Thumbnails, adapter: str, uar: str) -> None:
    parsed = page(thumbnails, params={"corpora": {"mine": {"adapter": adapter, "root": "x"}}})
    rows = {row[0]: row[1:] for row in parsed.rows if len(row) == 4}
    assert rows["FDAN"][1:] == [uar, "protocol unpublished"]


@pytest.mark.parametrize("adapters", [["sample"], ["ravdess"], ["savee", "meld"], ["my_package.corpora:savee"]])
def test_results_of_the_paper_are_not_shown_on_other_corpora(thumbnails: Thumbnails, adapters: list[str]) -> None:
    corpora = {f"c{number}": {"adapter": adapter, "root": "x"} for number, adapter in enumerate(adapters)}
    assert "unpublished" not in page(thumbnails, params={"corpora": corpora}).text


def test_page_warns_of_random_weights_only(thumbnails: Thumbnails) -> None:
    assert not [tag for tag, values in page(thumbnails).tags if values.get("class") == "warning"]
    random = evaluation(warning=RANDOM_WEIGHTS, weights={"visual": "random", "acoustic": "random"})
    warned = page(thumbnails, random)
    assert [tag for tag, values in warned.tags if values.get("class") == "warning"] == ["p"]
    assert "Random backbone weights: the results show that the pipeline works" in warned.text


def test_page_is_self_contained(thumbnails: Thumbnails) -> None:
    parsed = page(thumbnails)
    sources = [values[key] or "" for _, values in parsed.tags for key in ("src", "href", "srcset") if key in values]
    assert sources
    assert not [source for source in sources if not source.startswith(("data:", "#"))]
    assert not {tag for tag, _ in parsed.tags} & {"iframe", "object", "base"}
    assert "@import" not in parsed.text
    ours = parsed.scripts[-1]  # the others are Bokeh's
    assert {line.partition("(")[0] for line in ours.split("\n") if line} == {"Bokeh.embed.embed_item"}
    assert "http" not in ours


def test_clips_left_out_are_listed_and_their_reasons_counted(thumbnails: Thumbnails) -> None:
    left_out = [
        {"clip_id": "", "path": "x/a.mp4", "stage": "corpus", "reason": "lies in no emotion's folder"},
        {"clip_id": "m/b", "path": "b.mp4", "stage": "manifest", "reason": "unknown emotion 'joy'"},
        {"clip_id": "m/c", "path": "c.mp4", "stage": "manifest", "reason": "unknown emotion 'joy'"},
    ]
    parsed = page(thumbnails, evaluation(left_out=left_out))
    assert [row for row in parsed.rows if row in [list(it.values()) for it in left_out]] == [
        list(row.values()) for row in left_out
    ]
    assert ["2", "manifest", "unknown emotion 'joy'"] in parsed.rows
    assert "4 clips, 2 emotions (anger, fear); 3 left out" in parsed.text
    assert "No clip was lost." in page(thumbnails).text
    assert "1 clip left out" in page(thumbnails, evaluation(left_out=left_out[:1])).text


def test_clips_that_lost_one_modality_are_listed_with_the_reason(thumbnails: Thumbnails) -> None:
    lost = {"visual": {"m/a": "no face was found", "m/b": "is damaged"}, "acoustic": {}}
    text = page(thumbnails, evaluation(lost_modalities=lost)).text
    assert "2 clips lost the visual modality in extraction: m/a (no face was found), m/b (is damaged)." in text
    assert "acoustic modality in extraction" not in text
    lost["visual"].pop("m/b")
    assert "1 clip lost the visual" in page(thumbnails, evaluation(lost_modalities=lost)).text


def test_extraction_is_summarised(thumbnails: Thumbnails) -> None:
    # Three crops per clip, none of the fourth; the frames show 1, 2 and 5 faces, and the last crop is filled.
    text = page(thumbnails, evaluation(lost_modalities={"visual": {"c3": "no face was found"}, "acoustic": {}})).text
    assert "3 to 3 faces per clip, 3.0 on average; clips without a face: 1." in text
    assert "detected 6, filled from neighbours in time 3, whole frame 0" in text
    assert "No backbone ran in int8" in text
    weights = {
        "name": "x",
        "sha256": "0" * 64,
        "int8": {"tokens": 500, "share": 0.996, "lowest": 0.9871, "norm_error": 0.0312},
    }
    int8 = evaluation(embeddings=EMBEDDINGS | {"visual": EMBEDDINGS["visual"] | {"weights": weights}})
    assert (
        "visual: int8, 99.6 % of 500 held-out tokens are close to fp32, the lowest cosine is 0.9871, "
        "the largest error of a length 3.1 %" in page(thumbnails, int8).text
    )


def test_gallery_of_mistakes_shows_face_and_spectrogram(thumbnails: Thumbnails) -> None:
    parsed = page(thumbnails)
    assert "truth: fear (10.0 %)predicted: anger (90.0 %)" in parsed.text  # c3, which has no face
    assert "no face" in parsed.text
    assert [
        values["alt"] for tag, values in parsed.tags if tag == "img" and "spectrogram of" in (values.get("alt") or "")
    ] == ["spectrogram of c3"]


def test_page_without_cross_attention_says_so(thumbnails: Thumbnails) -> None:
    parsed = page(thumbnails, details=exploration(predictions(), attended=0))
    assert "this head has no cross-attention" in parsed.text
    assert "plot-attention" not in [values.get("id") for _, values in parsed.tags]


def test_page_names_parameters_versions_weights_and_code(thumbnails: Thumbnails) -> None:
    params = {"train": {"learning_rate": 0.001}, "render": {}, "corpora": {}}
    parsed = page(thumbnails, params=params)
    text = parsed.text
    assert "learning_rate: 0.001" in text
    assert f"h5py {library_versions('h5py')['h5py']}" in text
    assert f"fdan {library_versions('fdan')['fdan']}" in text
    assert ["visual", "imagenet", "ab" * 8, "cafe"] in parsed.rows
    assert "c0de" * 4 in text


def test_page_is_reproducible(thumbnails: Thumbnails) -> None:
    assert render(thumbnails, evaluation()) == render(thumbnails, evaluation())


def test_page_of_ten_thousand_clips_is_below_eight_megabytes(tmp_path: Path) -> None:
    name = "corpus/speaker_with_a_name/session_01_utterance_"
    tested = predictions(10_000, name)
    shown = [it for it in tested if it.protocol == "folds"][:PROJECTED_CLIPS]
    details = exploration(shown, attended=ATTENTION_CLIPS, side=MATRIX_SIDE)
    left_out = [
        {"clip_id": f"{name}{number}", "path": f"{name}{number}.mp4", "stage": "corpus", "reason": "is damaged"}
        for number in range(10_000)
    ]
    lost = {"visual": {f"{name}{number}": "no face was found" for number in range(10_000)}, "acoustic": {}}
    thumbnails = write_stores(tmp_path, [it.clip_id for it in shown])
    sheets = dict.fromkeys(FIGURE_STAGES, png(1600))
    results = evaluation(tested, clips=10_000, left_out=left_out, lost_modalities=lost)
    html = render(thumbnails, results, details, figures=sheets)
    assert len(html.encode()) < 8 * MEGABYTE
    assert html.count("data:image/webp") > 2 * PROJECTED_CLIPS


@pytest.fixture(scope="module")
def script_count(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The number of scripts on an ordinary page."""
    return len(page(write_stores(tmp_path_factory.mktemp("ordinary"), ["c0", "c1", "c2", "c3"])).scripts)


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
        {"protocols": {EVIL: evaluation().protocols["folds"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_text_of_the_data_is_shown_and_never_executed(
    thumbnails: Thumbnails, script_count: int, changes: dict[str, Any]
) -> None:
    others = {name: changes[name] for name in ("params", "ablation") if name in changes}
    results = evaluation(**{name: value for name, value in changes.items() if name not in others})
    parsed = page(thumbnails, results, **others)
    assert len(parsed.scripts) == script_count
    assert "alert('" not in parsed.scripts[-1]
    shown = parsed.text + " ".join(str(values.get("alt")) for _, values in parsed.tags)
    assert EVIL.lower() in shown.lower().replace("''", "'")  # YAML doubles a quote


def test_name_of_a_clip_is_shown_and_never_executed(tmp_path: Path) -> None:
    evil = predictions(4, EVIL)
    thumbnails = write_stores(tmp_path, [f"{EVIL}{number}" for number in range(4)])
    parsed = page(thumbnails, evaluation(evil), details=exploration(evil))
    assert f"{EVIL}3" in parsed.text
    assert "<script" not in parsed.scripts[-1]


def test_curves_without_aligned_layers_have_one_line(thumbnails: Thumbnails) -> None:
    assert curves(layers=2).panels()["Distance between the modalities, by layer"] == ["alignment_1", "alignment_2"]
    assert curves(layers=0).panels()["Distance between the modalities, by layer"] == ["alignment"]
    assert "Bokeh.embed" in page(thumbnails, curves=curves(layers=0)).scripts[-1]


def test_page_names_the_folder_of_every_figure(thumbnails: Thumbnails) -> None:
    text = page(thumbnails).text
    for name, stage in FIGURE_STAGES.items():
        assert f"Also in results/figures/{stage}: {name}.png, {name}.svg." in text


def test_stage_depends_on_the_figures_that_it_shows() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for stage in set(FIGURE_STAGES.values()):
        assert f"results/figures/{stage}" in stages[stage]["outs"]
        assert stage == "report" or f"results/figures/{stage}" in stages["report"]["deps"]
