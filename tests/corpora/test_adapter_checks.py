"""The adapters' contract is checked in the stage: each mistake stops it with one line that names it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import assert_one_line

from data_manifest.corpora.adapters import CorpusConfig, scan
from pipeline.base.errors import ContractError

PLUGIN = """
from pathlib import Path
from fdan import Candidate, Findings, media_files

CLIPS = {
    "right": lambda root, path: Candidate(path, "fear", Path(path).stem),
    "custom emotion": lambda root, path: Candidate(path, "joy", Path(path).stem),
    "absolute": lambda root, path: Candidate(str(root / path), "fear", "s"),
    "above": lambda root, path: Candidate("../" + path, "fear", "s"),
    "windows": lambda root, path: Candidate(path.replace("/", chr(92)), "fear", "s"),
    "path": lambda root, path: Candidate(Path(path), "fear", "s"),
    "case": lambda root, path: Candidate(path, "Fear ", "s"),
    "code": lambda root, path: Candidate(path, 3, "s"),
    "no speaker": lambda root, path: Candidate(path, "fear", ""),
    "no emotion": lambda root, path: Candidate(path, "", "s"),
    "tuples": lambda root, path: (path, "fear", "s"),
    "ids": lambda root, path: Candidate(path, "fear", "s", name="one"),
}

def find(root, options):
    clips = [CLIPS[options["given"]](Path(root), path) for path in media_files(root)]
    return Findings(clips, {})

def skips_a_file(root, options):
    first, *_ = media_files(root)
    return Findings([Candidate(first, "fear", "s")], {})
"""


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("adapters")
    (folder / "given_clips.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def scan_with(root: Path, given: str, *, adapter: str = "given_clips:find") -> list[str]:
    for name in ("a/1.mp4", "a/2.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    findings = scan("mine", CorpusConfig(adapter=adapter, root=str(root), options={"given": given}))
    return [it.path for it in findings.candidates]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("absolute", "the path '/.*/a/1.mp4'; it should give paths below the root: relative to the root"),
        ("above", "the path '../a/1.mp4'"),
        ("windows", r"the path 'a\\\\1.mp4'; .*with forward slashes"),
        ("path", r"path = PosixPath\('a/1.mp4'\); .*use path.relative_to\(root\).as_posix\(\)"),
        ("case", "the emotion 'Fear '; it should give 'fear'"),
        ("code", "emotion = 3; it should give text"),
        ("no speaker", "no speaker for a/1.mp4"),
        ("no emotion", "no emotion for a/1.mp4"),
        ("tuples", "tuple as a clip; it should give a Candidate"),
        ("ids", "the id 'corpus/s/one' to a/1.mp4 and to a/2.wav; .*set Candidate.name"),
    ],
)
def test_mistake_of_an_adapter_is_one_line(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=rf"^corpus adapter 'given_clips:find' gave {words}") as error:
        scan_with(tmp_path, given)
    assert_one_line(str(error.value))


def test_a_media_file_that_is_passed_over_in_silence_is_named(tmp_path: Path) -> None:
    words = "neither a clip nor a reason for 1 media file: a/2.wav; .*: add it to left_out"
    with pytest.raises(ContractError, match=rf"^corpus adapter 'given_clips:skips_a_file' gave {words}"):
        scan_with(tmp_path, "", adapter="given_clips:skips_a_file")


@pytest.mark.parametrize("given", ["right", "custom emotion"])
def test_right_clips_pass(given: str, tmp_path: Path) -> None:
    assert scan_with(tmp_path, given) == ["a/1.mp4", "a/2.wav"]
