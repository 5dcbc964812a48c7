"""Checks of every byte of the media: against the checksums that a corpus publishes, and against the manifest."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_manifest.corpora.adapters import CorpusConfig, scan
from data_manifest.corpora.probing import exclusion_check
from data_manifest.corpora.published import PublishedFiles, read_published_files
from data_manifest.manifest.clips import MANIFEST, Clip, clip_sha256, read_rows
from pipeline.base.errors import PipelineError
from pipeline.base.files import file_sha256
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun, shorten
from pipeline.cli.checks import Check
from pipeline.parallel.progress import progress_bar

FAULTS_SHOWN = 20  # of one corpus and comparison


@dataclass(frozen=True)
class MediaOnDisk:
    """The media files of a corpus as they are on disk, by their paths below its root."""

    sha256: dict[str, str]
    size_bytes: dict[str, int]
    unreadable: dict[str, str]  # path to reason


def verify_media() -> Iterator[Check]:
    """Read all media of all corpora anew, and yield what differs from the published files and from the manifest."""
    try:
        clips = read_rows(MANIFEST, Clip) if MANIFEST.exists() else []
    except PipelineError as error:
        yield Check("fault", "manifest", str(error))
        clips = []
    for name, config in read_section("corpora", dict[str, CorpusConfig]).items():
        if not os.path.lexists(config.root):  # the other checks have reported it
            continue
        subject = f"corpora.{name}"
        try:
            findings = scan(name, config)
            published = read_published_files(findings.checksums) if findings.checksums else None
        except PipelineError as error:
            yield Check("fault", subject, str(error).removeprefix(f"{subject}."))
            continue
        own_clips = [clip for clip in clips if clip.corpus == name]
        media = _read_media(name, config, findings.files | {path for clip in own_clips for path in clip.files})
        if published:
            yield from _compare_with_published(subject, media, published)
        if own_clips:
            yield from _compare_with_manifest(subject, media, own_clips)
        if not published and not own_clips:
            yield Check("note", subject, f"has no published checksums, and {MANIFEST} does not list it yet")


def _read_media(name: str, config: CorpusConfig, paths: set[str]) -> MediaOnDisk:
    """Read the files, without the cache of checksums: that would not notice a damaged disk."""
    root = Path(config.root)
    reason_of = exclusion_check(root, follow_links=config.follow_links)
    media = MediaOnDisk({}, {}, {path: reason for path in sorted(paths) if (reason := reason_of(path))})
    readable = sorted(paths - media.unreadable.keys())
    with progress_bar() as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        task = bar.add_task(f"verify {name}", total=len(readable), summary="")
        for path, result in zip(readable, pool.map(partial(_read_file, root), readable), strict=True):
            if isinstance(result, OSError):
                media.unreadable[path] = f"cannot be read: {result.strerror}"
            else:
                media.sha256[path], media.size_bytes[path] = result
            bar.advance(task)
    return media


def _read_file(root: Path, path: str) -> tuple[str, int] | OSError:
    """Return the sha256 and the size of a file."""
    try:
        return file_sha256(root / path), (root / path).stat().st_size
    except OSError as error:
        return error


def _compare_with_published(subject: str, media: MediaOnDisk, published: PublishedFiles) -> Iterator[Check]:
    differences = {path: reason for path, reason in media.unreadable.items() if published.lookup(path)}
    for path, sha256 in media.sha256.items():
        if difference := published.difference(path, sha256=sha256, size_bytes=media.size_bytes[path]):
            differences[path] = difference
    yield from _faults(subject, differences)
    known = [path for path in media.sha256 if published.lookup(path)]
    yield Check("ok", subject, f"{count_noun(len({*known} - differences.keys()), 'file')} as published")
    if unknown := sorted(media.sha256.keys() - {*known} - differences.keys()):
        yield Check(
            "note", subject, f"no checksum is published of {count_noun(len(unknown), 'file')}: {shorten(unknown)}"
        )


def _compare_with_manifest(subject: str, media: MediaOnDisk, clips: Sequence[Clip]) -> Iterator[Check]:
    differences = {}
    for clip in clips:
        if unreadable := [f"{path}: {media.unreadable[path]}" for path in clip.files if path in media.unreadable]:
            differences[clip.clip_id] = unreadable[0]
        elif clip_sha256([media.sha256[path] for path in clip.files]) != clip.sha256:
            files = " or ".join(clip.files)
            differences[clip.clip_id] = f"{files} has changed since {MANIFEST} was made; restore it, or run: dvc repro"
    yield from _faults(subject, differences)
    yield Check("ok", subject, f"{count_noun(len(clips) - len(differences), 'clip')} as in {MANIFEST}")


def _faults(subject: str, differences: dict[str, str]) -> Iterator[Check]:
    """Yield the first differences by path or clip, and how many there are if they are too many to show."""
    for name in sorted(differences)[:FAULTS_SHOWN]:
        yield Check("fault", subject, f"{name}: {differences[name]}")
    if len(differences) > FAULTS_SHOWN:
        yield Check("fault", subject, f"{len(differences)} differ in all; the first {FAULTS_SHOWN} are shown")
