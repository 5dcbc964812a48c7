"""Whether a corpus adapter keeps its contract, by what it gave for a corpus.

Raise ContractError if not.
"""

from dataclasses import fields
from pathlib import Path

from data_manifest.corpora.contract import Candidate, Findings, media_files
from data_manifest.manifest.clips import ALL_EMOTIONS
from data_manifest.manifest.paths import is_below
from pipeline.base.errors import broken_contract
from pipeline.base.selection import count_noun, shorten


def check_findings(findings: Findings, root: Path, *, name: str) -> None:
    """Check the findings of the adapter `name` below `root`: clips of text, below the root, with different ids.

    Every media file must be in a clip, or be left out with a reason. Emotions may be unknown, because `manifest.merge`
    can rename them, but not differ from a known one in case and white space only.
    """
    part = f"corpus adapter {name!r}"
    for candidate in findings.candidates:
        _check_candidate(candidate, part)
    _check_ids(findings, part)
    listed = {path for it in findings.candidates for path in (*it.files, *it.fallbacks)}
    forgotten = [path for path in media_files(root) if path not in listed and path not in findings.left_out]
    if forgotten:
        gave = f"neither a clip nor a reason for {count_noun(len(forgotten), 'media file')}: {shorten(forgotten)}"
        raise broken_contract(part, gave=gave, wanted="one of them for every media file", guess="add it to left_out")


def _check_candidate(candidate: object, part: str) -> None:
    if not isinstance(candidate, Candidate):
        raise broken_contract(part, gave=f"{type(candidate).__name__} as a clip", wanted="a Candidate")
    for field in fields(Candidate):
        value = getattr(candidate, field.name)
        if not isinstance(value, str) and field.name != "fallbacks":
            guess = "use path.relative_to(root).as_posix()" if isinstance(value, Path) else ""
            raise broken_contract(part, gave=f"{field.name} = {value!r}", wanted="text", guess=guess)
    for path in (*candidate.files, *candidate.fallbacks):
        if not is_below(path) or "\\" in path:
            guess = "relative to the root, with forward slashes: path.relative_to(root).as_posix()"
            raise broken_contract(part, gave=f"the path {path!r}", wanted="paths below the root", guess=guess)
    if not candidate.emotion or not candidate.speaker:
        missing = "speaker" if candidate.emotion else "emotion"
        guess = "leave such files out, with a reason"
        raise broken_contract(part, gave=f"no {missing} for {candidate.path}", wanted="both", guess=guess)
    emotion = candidate.emotion.strip().lower()
    if emotion in ALL_EMOTIONS and emotion != candidate.emotion:
        raise broken_contract(part, gave=f"the emotion {candidate.emotion!r}", wanted=repr(emotion))


def _check_ids(findings: Findings, part: str) -> None:
    paths: dict[str, str] = {}
    for candidate in findings.candidates:
        clip_id = candidate.clip_id("corpus")
        if clip_id in paths:
            gave = f"the id {clip_id!r} to {paths[clip_id]} and to {candidate.path}"
            raise broken_contract(part, gave=gave, wanted="different ids", guess="set Candidate.name")
        paths[clip_id] = candidate.path
