"""`fdan check`: every example passes, is timed and drawn; a mistake in the command is one line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_workspace import check_error, fdan, plugin_workspace

from pipeline.checking.parts import EXAMPLES

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("checked")
    with plugin_workspace(folder):
        for word in EXAMPLES:
            assert fdan("new", word, f"my_{word}").exit_code == 0
        yield


def checked(*settings: str) -> tuple[str, list[str]]:
    """Return what `fdan check` says of a part that keeps its contract, and the names in the line of times."""
    result = fdan("check", *settings)
    assert result.exit_code == 0, result.output
    (times,) = (line for line in result.output.splitlines() if line.startswith("time per "))
    return result.output, [it.split()[0] for it in times.partition(": ")[2].split("; ")]


@pytest.mark.parametrize(
    ("key", "reference", "option", "current", "data", "note"),
    [
        ("faces.detector", "my_detector:build", "share=0.5", "cascade", "3 clips of data/manifest.csv", ""),
        (
            "spectrograms.kind",
            "my_spectrogram:build",
            "emphasis=0.9",
            "log_mel",
            "3 clips of data/manifest.csv",
            "",
        ),
        (
            "embed_faces.backbone",
            "my_backbone:Patches",
            "cells=3",
            "squeezenet1_1",
            "3 clips of data/manifest.csv",
            "9 tokens of width 256 for an image",
        ),
        (
            "embed_mels.backbone",
            "my_backbone:Patches",
            "cells=1",
            "squeezenet1_1",
            "3 clips of data/manifest.csv",
            "1 token of width 256 for an image",
        ),
        ("head.name", "my_head:Shallow", "layers=2", "fdan", "random embeddings of 20 clips", "the loss falls from"),
        ("alignment.name", "my_alignment:build", "margin=0.1", "lmmd", "random embeddings of 20 clips", "the distance"),
        ("corpora.tiny.adapter", "my_adapter:find", "separator=_", "folder", "media", "4 clips of 2 speakers, 0 files"),
    ],
)
def test_example_passes_and_is_compared_with_the_current_part(
    key: str, reference: str, option: str, current: str, data: str, note: str
) -> None:
    section = key.rpartition(".")[0]
    params = Path("params.yaml").read_bytes()
    output, names = checked(f"{key}={reference}", f"{section}.options.{option}")
    assert f"{reference!r} keeps its contract on {data}" in output
    assert names == [reference, current]
    assert note in output
    picture = Path(f"results/check/{key}.png")
    assert f"picture: {picture}" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert Path("params.yaml").read_bytes() == params


def test_options_change_what_is_checked() -> None:
    pictures = []
    for share in ("0.5", "1"):
        checked("faces.detector=my_detector:build", f"faces.options.share={share}")
        pictures.append(Path("results/check/faces.detector.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_an_unknown_emotion_is_a_note_that_says_what_becomes_of_its_clips() -> None:
    text = Path("plugins/my_adapter.py").read_text()
    Path("plugins/misspelt.py").write_text(text.replace("Candidate(path, emotion", 'Candidate(path, emotion + "r"'))
    output, _ = checked("corpora.tiny.adapter=misspelt:find")
    words = "note: clips of unknown emotions are left out, unless manifest.merge renames them: angerr, fearr; did"
    assert f"{words} you mean 'anger'? valid: anger, calm" in output


def test_a_clip_that_is_damaged_is_a_note() -> None:
    video = Path("media/anger/s1_anger_1.mp4")
    video.rename("kept.mp4")
    output, names = checked("faces.detector=my_detector:build")
    Path("kept.mp4").rename(video)
    assert "note: tiny/s1_anger_1: cannot be decoded: No such file or directory" in output
    assert len(names) == 2


def test_a_part_that_cannot_be_compared_is_checked_all_the_same() -> None:
    # The current part is compared with the default, whose weights are missing.
    output, names = checked("embed_mels.backbone=squeezenet1_1", "embed_mels.weights=random")
    assert names == ["squeezenet1_1", "resnet34"]
    params = Path("params.yaml")
    before = params.read_text()
    params.write_text(before.replace('"weights": "random"', '"weights": "missing.pth"'))
    output, names = checked("embed_mels.backbone=squeezenet1_1", "embed_mels.weights=random")
    params.write_text(before)
    assert names == ["squeezenet1_1"]
    assert re.search("note: resnet34 could not be run for comparison: .*missing.pth", output)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["faces.detectr=my_detector:build"], "names no part; did you mean 'faces.detector'\\? valid: alignment.name"),
        (["corpora.adapter=csv"], "did you mean 'corpora.tiny.adapter'?"),
        (["faces.detector"], "write it as section.key=value"),
        (["faces.detector=my_detector:build", "head.width=8"], "a check of faces.detector takes other keys of faces"),
        (["faces.detector=my_detector:build", "faces.options={", "x=1"], "is not valid YAML"),
        (
            ["faces.detector=my_detector:build", "faces.options.share=1", "faces.options.share=2"],
            "faces.options.share is set twice",
        ),
        (["faces.detector=my_detector:build", "faces.options=1", "faces.options.share=2"], "was set to a value before"),
        (
            ["faces.detector=my_detector:build", "faces.options.shar=1"],
            "options.shar: unknown key; did you mean 'share'",
        ),
        (["faces.detector=my_detector:build", "faces.frames_per_clip=0"], "faces.frames_per_clip = 0: "),
        (["faces.detector=my_detectr:build"], "no module 'my_detectr' in plugins/.*fdan new detector my_detectr"),
        (["faces.detector=my_detector:buildd"], "my_detector has no function 'buildd'"),
        (["faces.detector=casscade"], "unknown detector 'casscade'; did you mean 'cascade'?"),
        (["faces.detector=os:system"], "os is a module of Python"),
        (["faces.detector=loose:build"], r"loose.py is in .*, which DVC does not track; move it into plugins/"),
        (["corpora.mine.adapter=my_adapter:find"], "corpora.mine is not in params.yaml: set corpora.mine.root"),
        (
            ["corpora.mine.adapter=my_adapter:find", "corpora.mine.root=nowhere"],
            "corpora.mine.root: no folder 'nowhere'",
        ),
        (
            ["corpora.tiny.adapter=my_adapter:find", "corpora.tiny.options.separatr=-"],
            "corpora.tiny.options.separatr: unknown key; did you mean 'separator'",
        ),
    ],
)
def test_mistake_in_the_command_is_one_line(settings: list[str], words: str) -> None:
    Path("loose.py").write_text("build = None")
    assert re.search(words, check_error(*settings))


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("calls", "def build(config):\n    return lambda frames: frames.none", "raised AttributeError: .*, line 2$"),
        ("builds", "def build(config):\n    raise KeyError('x')", "raised KeyError: 'x' in plugins/builds.py, line 2$"),
        ("parses", "def build(config)\n    pass", "raised SyntaxError: .* in plugins/parses.py, line 1$"),
        ("imports", "import no_such_library", "No module named 'no_such_library'; add it to plugins/ or install its"),
        ("ends", "import sys\ndef build(config):\n    sys.exit(0)", "raised SystemExit: 0 in plugins/ends.py, line 3$"),
        (
            "takes",
            "def build(config):\n    return lambda frames, rate: []",
            "raised TypeError: .* missing 1 .*'rate' in pipeline/faces/crops.py, line [0-9]+, which calls it$",
        ),
        ("returns", "def build(config):\n    return 3", "detector 'returns:build' is no builder: it returned int"),
    ],
)
def test_exception_in_a_plugin_is_one_line_that_names_its_place(name: str, code: str, words: str) -> None:
    Path(f"plugins/{name}.py").write_text(code)
    assert re.search(words, check_error(f"faces.detector={name}:build"))
