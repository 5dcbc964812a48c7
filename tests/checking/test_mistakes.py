"""Each usual mistake in a part is one line of `fdan check`, and the documentation shows this line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_workspace import check_error, plugin_workspace

from pipeline.base.provenance import ROOT
from pipeline.checking.parts import EXAMPLES, MEL_BACKBONE

pytestmark = pytest.mark.slow

HEADS_PAGE, PARTS_PAGE = ROOT / "docs/head_fails.md", ROOT / "docs/swap.md"
ROW = re.compile(r"^\| (\w+) \| (.*) \| (`+)(.* gave .*)\3 \|$", re.MULTILINE)  # part, mistake, the line
BOX = "left, top, left + side, top + side, 1.0"
FACE, VOICE = "self.classify(face)", "self.classify(voice)"
MEAN = "masked_mean(self.scale_visual(visual.values), visual.mask)"
DISTANCE = "(squares * common).sum() / common.sum().clamp(min=1)"
MISTAKES = {  # part and mistake: what is replaced in the example, and by what
    ("detector", "boxes in 0..1"): (BOX, "0.1, 0.1, 0.9, 0.9, 1.0"),
    ("detector", "x, y, width, height"): (BOX, "20, 20, 10, 10, 1.0"),
    ("detector", "NaN"): (BOX, "np.nan, 0, 20, 20, 1.0"),
    ("detector", "no score"): (BOX, "left, top, left + side, top + side"),
    ("detector", "one array for all frames"): ("return [box for _ in frames]", "return [box]"),
    ("spectrogram", "transposed"): ("1e-10)), np.float32)", "1e-10)), np.float32).T"),
    ("spectrogram", "NaN or infinity"): ("np.maximum(power, 1e-10)", "0 * power"),
    ("spectrogram", "librosa's default hop"): ("hop_length=config.hop", "hop_length=None"),
    ("spectrogram", "float64"): ("1e-10)), np.float32)", "1e-10)), np.float64)"),
    ("backbone", "a map instead of tokens"): (".flatten(2).transpose(1, 2)", ""),
    ("backbone", "one vector per image"): (".flatten(2).transpose(1, 2)", ".mean((2, 3))"),
    ("backbone", "batch norm in training mode"): (
        "self.project(images - 0.5)",
        "nn.functional.batch_norm(self.project(images - 0.5), None, None, training=True)",
    ),
    ("backbone", "dropout in training mode"): ("images - 0.5", "nn.functional.dropout(images - 0.5)"),
    ("alignment", "no scalar"): (DISTANCE, "squares * common"),
    ("alignment", "`.item()`"): (DISTANCE, f"({DISTANCE}).item()"),
    ("alignment", "clips that lack the modality count"): (DISTANCE, f"{DISTANCE} + visual.mean()"),
    ("adapter", "a path above the root"): ("Candidate(path,", 'Candidate("../" + path,'),
    ("adapter", "a file without a reason"): (
        "if len(parts) == 3:",
        'if parts[0] == "s2":\n            continue\n        if len(parts) == 3:',
    ),
    ("adapter", "a label in another case"): ("Candidate(path, emotion", "Candidate(path, emotion.title()"),
    ("head", "it reads masked tokens"): (MEAN, "visual.values.mean(1)"),
    ("head", "it divides by the number of tokens, which can be 0"): (
        MEAN,
        "(visual.values * visual.mask[..., None]).sum(1) / visual.mask.sum(1, keepdim=True)",
    ),
    ("head", "its answers depend on the other clips"): (FACE, "self.classify(face - face.mean(0))"),
    ("head", "its answers are random"): (FACE, f"{FACE} + face.new_empty(1).normal_()"),
    ("head", "it returns a tuple"): ("HeadOutput(" + FACE, "(" + FACE),
    ("head", "its logits have another number of classes"): ("shapes.classes)", "shapes.classes + 1)"),
    ("head", "its aligned layers differ in width"): ("[face], [voice])", "[face], [voice[:, :4]])"),
    ("head", "its logits have no gradient"): (
        f"{FACE}, {VOICE}, [face], [voice]",
        f"{FACE}.detach(), {VOICE}.detach(), [], []",
    ),
    ("head", "a layer is not used"): ("self.classify = ", "self.other = nn.Linear(8, 8)\n        self.classify = "),
}


@pytest.fixture(autouse=True, scope="module")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("mistakes")
    with plugin_workspace(folder):
        yield


def line_of(part: str, mistake: str) -> str:
    """Return the line of `fdan check` for an example with a mistake, which is called `my_<part>`."""
    before, after = MISTAKES[part, mistake]
    example = (ROOT / f"examples/{part}.py").read_text()
    assert example.count(before) == 1
    module = "mistake_" + re.sub(r"\W", "_", f"{part}_{mistake}")
    Path(f"plugins/{module}.py").write_text(example.replace(before, after))
    kind = MEL_BACKBONE if part == "backbone" else EXAMPLES[part]
    section = "corpora.tiny" if part == "adapter" else kind.section
    return check_error(f"{section}.{kind.key}={module}:{kind.example}").replace(f"{module}:", f"my_{part}:")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the logarithm of 0
@pytest.mark.parametrize(("part", "mistake"), MISTAKES)
def test_documentation_shows_the_line_of_a_mistake(part: str, mistake: str) -> None:
    line, page = line_of(part, mistake), HEADS_PAGE if part == "head" else PARTS_PAGE
    assert (part, mistake) in shown(page), f"{page.name}: | {part} | {mistake} | `{line}` |"
    assert {lines.get((part, mistake), line) for lines in map(shown, (PARTS_PAGE, HEADS_PAGE))} == {line}


def test_documentation_shows_no_other_mistakes() -> None:
    assert shown(PARTS_PAGE).keys() | shown(HEADS_PAGE).keys() == MISTAKES.keys()


def shown(page: Path) -> dict[tuple[str, str], str]:
    """Return the lines that a page shows, by part and mistake."""
    return {(part, mistake): line.strip() for part, mistake, _, line in ROW.findall(page.read_text())}


def test_page_on_heads_shows_the_line_of_a_wrong_option_and_of_an_exception() -> None:
    text = (ROOT / "examples/head.py").read_text()
    Path("plugins/my_head.py").write_text(text.replace(MEAN, MEAN.replace("visual.values", "visual.value")))
    page = HEADS_PAGE.read_text().splitlines()
    for option in ("layer=2", "layers=2"):
        line = check_error("head.name=my_head:Shallow", f"head.options.{option}")
        assert f"error: {line}" in page
