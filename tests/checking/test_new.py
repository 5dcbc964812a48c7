"""`fdan new` writes a part that works as it is, under a name that is free."""

from configparser import ConfigParser
from pathlib import Path

import pytest
from conftest import assert_one_line
from plugin_workspace import fdan
from ruamel.yaml import YAML

from pipeline.base.provenance import ROOT
from pipeline.checking.parts import EXAMPLES
from pipeline.checking.skeletons import INSTALLED


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("corpora: {takes: {adapter: csv, root: media}}\n")


@pytest.mark.parametrize("word", EXAMPLES)
def test_a_new_part_is_the_example_and_says_how_to_use_it(word: str) -> None:
    result = fdan("new", word, "mine")
    assert result.exit_code == 0, result.output
    text = Path("plugins/mine.py").read_text()
    assert text == (ROOT / f"examples/{word}.py").read_text().replace(f'"{word}:', '"mine:')
    assert text.count('"mine:') == 1
    wrote, usage, following = result.output.splitlines()
    part = EXAMPLES[word]
    (section,) = YAML(typ="safe").load(usage.partition("params.yaml: ")[2]).items()
    values = section[1]["takes"] if word == "adapter" else section[1]
    assert (wrote, section[0], values[part.key]) == ("wrote plugins/mine.py", part.section, f"mine:{part.example}")
    path = "corpora.takes" if word == "adapter" else part.section
    assert following == f"Next: fdan check {path}.{part.key}=mine:{part.example}"


@pytest.mark.parametrize(
    ("word", "name", "words"),
    [
        ("detectr", "mine", "unknown part 'detectr'; did you mean 'detector'? valid: adapter, alignment, backbone"),
        ("detector", "my-detector", "'my-detector' is no name of a Python module; use letters, digits and _"),
        ("detector", "../mine", "is no name of a Python module"),
        ("detector", "a.b", "is no name of a Python module"),
        ("detector", "ünicode", "is no name of a Python module"),
        ("detector", "class", "is no name of a Python module"),
        ("detector", "", "is no name of a Python module"),
        ("detector", "json", "plugins/json.py would hide a module of Python"),
        ("detector", "torch", "plugins/torch.py would hide a module of torch"),
        ("detector", "cv2", "plugins/cv2.py would hide a module of opencv-python"),
        ("detector", "pipeline", "plugins/pipeline.py would hide a module of fdan"),
        ("detector", "plugins", "plugins/plugins.py would hide a module of fdan"),
        ("detector", "loose", "plugins/loose.py would hide a module of /"),
        ("detector", "taken", "plugins/taken.py exists, and is not replaced"),
        ("detector", "link", "plugins/link.py exists, and is not replaced"),
        ("detector", "package", "plugins/package exists, and is not replaced"),
    ],
)
def test_wrong_name_is_one_line_and_writes_nothing(word: str, name: str, words: str) -> None:
    Path("loose.py").touch()
    Path("plugins/package").mkdir(parents=True)
    Path("plugins/taken.py").write_text("mine")
    Path("plugins/link.py").symlink_to("elsewhere.py")
    before = sorted(Path().rglob("*"))
    result = fdan("new", word, name)
    assert result.exit_code == 1
    message = result.output.removesuffix("\n")
    assert_one_line(message)
    assert message.startswith("error: ")
    assert words in message
    assert sorted(Path().rglob("*")) == before
    assert Path("plugins/taken.py").read_text() == "mine"


def test_a_folder_without_parameters_is_not_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = fdan("new", "detector", "mine")
    assert (result.exit_code, list(Path().iterdir())) == (1, [])
    assert "run this command from the root of the repository" in result.output


def test_a_wheel_contains_the_example_of_every_part() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    files = setup["options.data_files"][INSTALLED].split()
    assert sorted(files) == sorted(f"examples/{word}.py" for word in EXAMPLES)
