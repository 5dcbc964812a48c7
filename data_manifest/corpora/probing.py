"""From what an adapter found to clips: every file is read once, whole, and decoded once from end to end."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from data_manifest.corpora.adapters import CorpusConfig, scan, speaker_namespace
from data_manifest.corpora.findings import Candidate
from data_manifest.manifest.checksums import media_checksums
from data_manifest.manifest.clips import Clip, Exclusion, clip_sha256, reason_against_copies
from pipeline.base.files import write_text
from pipeline.media.probe import MediaInfo, probe, probe_arrays
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract
from pipeline.parallel.pool import ExecutionConfig, Pool

STAGE = "corpus"
POINTER = b"version https://git-lfs"
POINTER_BYTES = 1024  # a pointer is never larger


@dataclass(frozen=True)
class Probed:
    """A corpus as it lies on disk."""

    clips: list[Clip]
    exclusions: list[Exclusion]
    media: dict[str, MediaInfo]  # by path: every file that could be decoded
    notes: list[str]  # oddities, one line each


def probe_corpus(name: str, config: CorpusConfig, run: ExecutionConfig) -> Probed:
    """Return the corpus's clips, and the files that are none, with the reason."""
    root = Path(config.root).absolute()  # workers may run in another folder
    findings = scan(name, config)
    candidates = [use_fallback_files(root, candidate) for candidate in findings.candidates]
    wanted = {path for candidate in candidates for path in candidate.files}
    reasons = {path: why for path, why in findings.left_out.items() if path not in wanted}
    replaced = {path for it in findings.candidates for path in it.files} - wanted
    reasons |= {path: unreadable_reason(root / path) for path in replaced}
    spoilt = {path: reason for path in sorted(wanted) if (reason := unreadable_reason(root / path))}
    whole = sorted(wanted - spoilt.keys())
    contents = dict(
        zip(whole, media_checksums([root / path for path in whole], title=f"read {name}").values(), strict=True)
    )
    media, undecodable = _probe(root, contents, run, title=f"probe {name}")
    reasons |= spoilt | undecodable
    clips: list[Clip] = []
    lost: dict[str, str] = {}  # path of a clip that is none: the id that it would have had
    for candidate in candidates:
        clip = _clip(name, speaker_namespace(name, config.adapter), candidate, contents, media)
        if clip:
            clips.append(clip)
            idle = set(candidate.files) - {clip.path, clip.audio_path} - reasons.keys()
        else:
            lost |= dict.fromkeys(candidate.files, candidate.clip_id(name))
            idle = set(candidate.files) - reasons.keys()
        reasons |= {path: "holds no picture" if path == candidate.path else "holds no sound" for path in idle}
    clips, copies = _without_copies(clips, contents)
    exclusions = copies + [
        Exclusion(lost.get(path, f"{name}/{path}"), path, STAGE, why) for path, why in reasons.items()
    ]
    return Probed(clips, exclusions, media, findings.notes)


def use_fallback_files(root: Path, candidate: Candidate) -> Candidate:
    """Return the candidate, spare files in the place of spoiled ones."""
    for spare in candidate.fallbacks:
        if candidate.audio_path and unreadable_reason(root / candidate.audio_path):
            candidate = replace(candidate, audio_path=spare)
        elif not candidate.audio_path and unreadable_reason(root / candidate.path):
            candidate = replace(candidate, path=spare)
    return candidate


def _without_copies(clips: Sequence[Clip], contents: Mapping[str, str]) -> tuple[list[Clip], list[Exclusion]]:
    """Leave out clips that share a file's bytes with another: `assemble` knows only those that share all."""
    owners: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        for each in {contents[path] for path in clip.files}:
            owners[each].append(clip)
    reasons: dict[str, str] = {}
    for sharing in owners.values():
        for clip in sharing:
            if reason := reason_against_copies(clip, sharing):
                reasons.setdefault(clip.clip_id, reason)
    left_out = [Exclusion(it.clip_id, it.path, STAGE, reasons[it.clip_id]) for it in clips if it.clip_id in reasons]
    return [clip for clip in clips if clip.clip_id not in reasons], left_out


def unreadable_reason(path: Path) -> str:
    """Return why a file cannot hold media, or nothing; only its size and first bytes are looked at."""
    try:
        size = path.stat().st_size
        if size >= POINTER_BYTES:
            return "" if os.access(path, os.R_OK) else "cannot be read: permission denied"
        start = path.read_bytes()[: len(POINTER)]
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else "not there"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if start == POINTER:
        return "a git-lfs pointer, not the media; run: git lfs pull"
    return "" if size else "zero bytes"


def _probe(
    root: Path, contents: Mapping[str, str], run: ExecutionConfig, *, title: str
) -> tuple[dict[str, MediaInfo], dict[str, str]]:
    """Return by path what lies in each file, and why others cannot be decoded."""
    jobs = [ClipJob(path, content, partial(Path, root, path)) for path, content in contents.items()]
    tally = ExtractionSummary(title, len(jobs))
    with Pool(run) as pool:
        step = Step("probe", probe_arrays, probe, params={}, libraries=("av",), hardware=pool.hardware)
        media = {path: MediaInfo.from_arrays(arrays) for path, arrays in extract(jobs, step, tally, pool=pool)}
    return media, tally.failures


def _clip(
    corpus: str, people: str, candidate: Candidate, contents: Mapping[str, str], media: Mapping[str, MediaInfo]
) -> Clip | None:
    """Return the clip as its files allow: a file that is spoiled, or lacks what it should hold, does without."""
    files = [path for path in candidate.files if path in media]
    film = next((path for path in files[:1] if path == candidate.path and media[path].has_video), "")
    sound = next((path for path in reversed(files) if media[path].has_audio), "")
    used = [path for path in (film, sound) if path]
    if not used:
        return None
    distinct = list(dict.fromkeys(used))
    return Clip(
        clip_id=candidate.clip_id(corpus),
        corpus=corpus,
        path=distinct[0],
        audio_path="".join(distinct[1:]),
        speaker=f"{people}/{candidate.speaker}",
        emotion=candidate.emotion,
        split=candidate.split,
        sentence=candidate.sentence,
        modalities="+".join(name for name, path in (("visual", film), ("acoustic", sound)) if path),
        duration_s=max(media[path].duration_s for path in distinct),
        sha256=clip_sha256([contents[path] for path in distinct]),
    )


def write_media(path: Path, media: Mapping[str, MediaInfo]) -> None:
    """Write what lies in each file: frames, frame rate, geometry, sampling rate, channels."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", *(column.name for column in fields(MediaInfo))])
    table.writerows([name, *vars(info).values()] for name, info in sorted(media.items()))
    write_text(path, text.getvalue())
