"""Turn an adapter's findings into clips: hash every file once and decode it once from start to end."""

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from data_manifest.corpora.adapters import CorpusConfig, scan, speaker_namespace
from data_manifest.corpora.contract import Candidate
from data_manifest.manifest.checksums import media_checksums
from data_manifest.manifest.clips import Clip, Exclusion, clip_sha256, duplicate_reason
from data_manifest.manifest.paths import LINK_REFUSED, is_below, outside_check
from pipeline.base.files import open_regular
from pipeline.base.tables import write_table
from pipeline.media.limits import Limits
from pipeline.media.probe import MediaInfo, probe, probe_arrays
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract
from pipeline.parallel.pool import ExecutionConfig, Pool

STAGE = "corpus"
LIBRARIES = ("av", "numpy", "opencv-python")  # that probing a file uses
POINTER = b"version https://git-lfs"
LARGEST_GIB = 16  # ten minutes of video at 200 Mbit/s; to hash a larger file takes minutes
POINTER_BYTES = 1024  # a pointer is never larger


@dataclass(frozen=True)
class ProbedCorpus:
    """The clips of a corpus after probing, with the properties of their media."""

    clips: list[Clip]
    exclusions: list[Exclusion]
    media: dict[str, MediaInfo]  # by path, for every file that could be decoded
    notes: list[str]  # warnings, one line each


def probe_corpus(name: str, config: CorpusConfig, run: ExecutionConfig) -> ProbedCorpus:
    """Return the corpus's clips, and an exclusion with a reason for every other media file."""
    root = Path(config.root).absolute()  # workers may run in another folder
    findings = scan(name, config)
    reason_of = exclusion_check(root, follow_links=config.follow_links)
    candidates = [use_fallback_files(candidate, reason_of) for candidate in findings.candidates]
    wanted = {path for candidate in candidates for path in candidate.files}
    reasons = {path: reason for path, reason in findings.left_out.items() if path not in wanted}
    replaced = {path for it in findings.candidates for path in it.files} - wanted
    reasons |= {path: reason_of(path) for path in replaced}
    unreadable = {path: reason for path in sorted(wanted) if (reason := reason_of(path))}
    readable = sorted(wanted - unreadable.keys())
    checksums = dict(
        zip(readable, media_checksums([root / path for path in readable], title=f"read {name}").values(), strict=True)
    )
    jobs = [ClipJob(path, checksum, partial(Path, root, path)) for path, checksum in checksums.items()]
    media, undecodable = probe_files(jobs, run, title=f"probe {name}")
    reasons |= unreadable | undecodable
    clips: list[Clip] = []
    excluded_ids: dict[str, str] = {}  # by path, the ids of candidates without usable media
    for candidate in candidates:
        clip = _make_clip(name, speaker_namespace(name, config.adapter), candidate, checksums, media)
        if clip:
            clips.append(clip)
            unused = set(candidate.files) - {clip.path, clip.audio_path} - reasons.keys()
        else:
            excluded_ids |= dict.fromkeys(candidate.files, candidate.clip_id(name))
            unused = set(candidate.files) - reasons.keys()
        reasons |= {path: "contains no video" if path == candidate.path else "contains no audio" for path in unused}
    clips, duplicates = _remove_duplicates(clips, checksums)
    exclusions = duplicates + [
        Exclusion(excluded_ids.get(path, f"{name}/{path}"), path, STAGE, reason) for path, reason in reasons.items()
    ]
    return ProbedCorpus(clips, exclusions, media, findings.notes)


def use_fallback_files(candidate: Candidate, reason_of: Callable[[str], str]) -> Candidate:
    """Return the candidate with its fallbacks instead of files that `reason_of` gives a reason to exclude."""
    for fallback in candidate.fallbacks:
        if candidate.audio_path and reason_of(candidate.audio_path):
            candidate = replace(candidate, audio_path=fallback)
        elif not candidate.audio_path and reason_of(candidate.path):
            candidate = replace(candidate, path=fallback)
    return candidate


def exclusion_check(root: Path, *, follow_links: bool) -> Callable[[str], str]:
    """Return a function of a path that an adapter lists: why the file is not opened, or ""."""
    leads_outside = outside_check(root)

    def reason_of(path: str) -> str:
        if not is_below(path):
            return "not below the corpus's root"
        if not follow_links and leads_outside(path):
            return LINK_REFUSED
        return unreadable_reason(root / path)

    return reason_of


def _remove_duplicates(clips: Sequence[Clip], checksums: Mapping[str, str]) -> tuple[list[Clip], list[Exclusion]]:
    """Leave out clips that share one file's bytes with another; `build_manifest` compares whole clips only."""
    clips_by_checksum: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        for checksum in {checksums[path] for path in clip.files}:
            clips_by_checksum[checksum].append(clip)
    reasons: dict[str, str] = {}
    for copies in clips_by_checksum.values():
        for clip in copies:
            if reason := duplicate_reason(clip, copies):
                reasons.setdefault(clip.clip_id, reason)
    left_out = [Exclusion(it.clip_id, it.path, STAGE, reasons[it.clip_id]) for it in clips if it.clip_id in reasons]
    return [clip for clip in clips if clip.clip_id not in reasons], left_out


def unreadable_reason(path: Path) -> str:
    """Return why a file cannot contain media, or ""; only its kind, size and first bytes are checked."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            return "not a regular file"
        if not status.st_size:
            return "zero bytes"
        if status.st_size > LARGEST_GIB << 30:
            return f"larger than {LARGEST_GIB} GiB"
        if status.st_size >= POINTER_BYTES:
            return "" if os.access(path, os.R_OK) else "cannot be read: permission denied"
        with open_regular(path) as file:
            start = file.read(len(POINTER))
    except FileNotFoundError:
        return "a broken link" if path.is_symlink() else "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "a git-lfs pointer, not the media; run: git lfs pull" if start == POINTER else ""


def probe_files(
    jobs: Sequence[ClipJob], run: ExecutionConfig, *, title: str, quiet: bool = False
) -> tuple[dict[str, MediaInfo], dict[str, str]]:
    """Return the properties of each job's file by its id, and the reasons why other files cannot be decoded.

    See `extract` for `quiet`.
    """
    summary = ExtractionSummary(title, len(jobs))
    with Pool(run) as pool:
        compute = partial(probe_arrays, limits=Limits.of(run))
        step = Step("probe", compute, probe, params={}, libraries=LIBRARIES, hardware=pool.hardware)
        media = {
            path: MediaInfo.from_arrays(arrays) for path, arrays in extract(jobs, step, summary, pool=pool, quiet=quiet)
        }
    return media, summary.failures


def _make_clip(
    corpus: str, namespace: str, candidate: Candidate, checksums: Mapping[str, str], media: Mapping[str, MediaInfo]
) -> Clip | None:
    """Return the clip with the modalities that its files contain, or None if they contain none."""
    files = [path for path in candidate.files if path in media]
    video = next((path for path in files[:1] if path == candidate.path and media[path].has_video), "")
    audio = next((path for path in reversed(files) if media[path].has_audio), "")
    used = [path for path in (video, audio) if path]
    if not used:
        return None
    distinct = list(dict.fromkeys(used))
    return Clip(
        clip_id=candidate.clip_id(corpus),
        corpus=corpus,
        path=distinct[0],
        audio_path="".join(distinct[1:]),
        speaker=f"{namespace}/{candidate.speaker}",
        emotion=candidate.emotion,
        split=candidate.split,
        sentence=candidate.sentence,
        modalities="+".join(name for name, path in (("visual", video), ("acoustic", audio)) if path),
        duration_s=max(media[path].duration_s for path in distinct),
        sha256=clip_sha256([checksums[path] for path in distinct]),
    )


def write_media_table(path: Path, media: Mapping[str, MediaInfo]) -> None:
    """Write a CSV file with one row per media file and one column per field of `MediaInfo`."""
    columns = ["path", *(column.name for column in fields(MediaInfo))]
    write_table(path, columns, ([name, *vars(info).values()] for name, info in sorted(media.items())))
