"""The clips of the manifest as jobs: the file each job opens, and the check that it is unchanged."""

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import make_clip

from data_manifest.manifest.clips import MANIFEST, Clip, read_rows, write_rows
from data_manifest.manifest.jobs import clip_jobs
from pipeline.base.errors import CorpusError
from pipeline.media.files import ClipFiles


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of two clips, one with a separate audio file, and its manifest."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "media"
    folder.mkdir()
    checksums = {}
    for name in ("a.mp4", "b.mp4", "b.wav"):
        (folder / name).write_text(f"bytes of {name}")
        checksums[name] = sha256(f"bytes of {name}".encode()).hexdigest()
    both = sha256((checksums["b.mp4"] + checksums["b.wav"]).encode()).hexdigest()
    clips = [make_clip("a", sha256=checksums["a.mp4"]), make_clip("b", audio_path="b.wav", sha256=both)]
    (tmp_path / "params.yaml").write_text(f"corpora: {{test: {{root: {folder}}}}}")
    write_rows(MANIFEST, clips, Clip)
    return folder


def test_job_opens_the_video_or_the_audio(media: Path) -> None:
    assert [job.load() for job in clip_jobs("visual")] == [
        ClipFiles(media / "a.mp4", media / "a.mp4"),
        ClipFiles(media / "b.mp4", media / "b.wav"),
    ]
    assert [job.load() for job in clip_jobs("acoustic")] == [media / "a.mp4", media / "b.wav"]
    assert len({job.sha256 for job in clip_jobs("visual")}) == 2


@pytest.mark.parametrize("name", ["a.mp4", "b.mp4", "b.wav"])
def test_media_changed_since_the_manifest_are_refused(media: Path, name: str) -> None:
    (media / name).write_text("other bytes")
    with pytest.raises(CorpusError, match=rf"{name[0]}\.mp4 has changed since data/manifest\.csv .*; run: dvc repro"):
        clip_jobs("visual")


def test_a_few_clips_are_spread_over_the_manifest_and_only_their_media_are_read(media: Path) -> None:
    write_rows(MANIFEST, [*read_rows(MANIFEST, Clip), make_clip("c", path="b.mp4")], Clip)
    with pytest.raises(CorpusError, match="has changed"):  # `c`, whose checksum is made up
        clip_jobs("visual")
    assert [job.clip_id for job in clip_jobs("visual", at_most=1)] == ["a"]
    with pytest.raises(CorpusError, match="has changed"):
        clip_jobs("visual", at_most=2)


def test_missing_media_do_not_stop_the_run(media: Path) -> None:
    (media / "b.wav").unlink()
    assert len(clip_jobs("acoustic")) == 2


def test_job_detects_media_that_change_later(media: Path) -> None:
    first, second = clip_jobs("acoustic")
    assert first.is_unchanged()
    assert second.is_unchanged()
    (media / "b.wav").write_text("other bytes")
    assert first.is_unchanged()
    assert not second.is_unchanged()


def test_unreadable_media_are_left_to_the_step(media: Path) -> None:
    (media / "a.mp4").unlink()
    (media / "a.mp4").mkdir()
    assert len(clip_jobs("visual")) == 2


def test_link_that_leads_out_of_the_root_is_refused_unless_allowed(media: Path) -> None:
    (media / "b.wav").rename(media.parent / "b.wav")
    (media / "b.wav").symlink_to(media.parent / "b.wav")
    with pytest.raises(CorpusError, match=r"manifest\.csv: b\.wav of b is a link that leads out .* for corpora\.test$"):
        clip_jobs("visual")
    Path("params.yaml").write_text(f"corpora: {{test: {{root: {media}, follow_links: true}}}}")
    assert len(clip_jobs("visual")) == 2


def test_odd_media_are_left_to_the_step(media: Path) -> None:
    for name in ("a.mp4", "b.wav"):
        (media / name).unlink()
    os.mkfifo(media / "a.mp4")
    rows = read_rows(MANIFEST, Clip)
    write_rows(MANIFEST, [rows[0], replace(rows[1], audio_path="x" * 300)], Clip)
    assert len(clip_jobs("acoustic")) == 2
