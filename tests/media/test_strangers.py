"""Files of strangers: other files named as media, files that name other files, streams that change or never end."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import CODECS, read_frames, write_media, write_short_media, write_wav
from numpy.typing import NDArray

from data_manifest.corpora.contract import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from pipeline.base.errors import ClipError
from pipeline.base.provenance import ROOT
from pipeline.media._formats import CONTAINERS, DECODERS
from pipeline.media.audio import read_audio
from pipeline.media.frames import SampledFrames, encode_jpeg
from pipeline.media.probe import probe

READERS: tuple[Callable[[Path], object], ...] = (
    probe,
    lambda path: dict(SampledFrames(path, count=4)),
    lambda path: read_audio(path, rate_hz=16000),
)


def tone(*, seconds: float = 1, rate_hz: int = 16000) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def reasons(path: Path) -> set[str]:
    """Return the reasons with which all readers refuse a file."""
    caught = set()
    for read in READERS:
        with pytest.raises(ClipError) as error:
            read(path)
        caught.add(str(error.value))
    return caught


# Containers


def test_every_suffix_is_a_container_that_is_opened() -> None:
    written_as = {".opus": "ogg", ".oga": "ogg", ".ogv": "ogg", ".mka": "matroska", ".mpg": "mpeg", ".mpeg": "mpeg"}
    written_as |= {".wma": "asf", ".wmv": "asf", ".m2ts": "mpegts", ".mts": "mpegts", ".ts": "mpegts", ".aif": "aiff"}
    written_as |= {".mkv": "matroska", ".webm": "matroska", ".m4a": "mov", ".m4v": "mov", ".mp4": "mov", ".3gp": "mov"}
    assert {written_as.get(suffix, suffix[1:]) for suffix in MEDIA_SUFFIXES} <= {*CONTAINERS}
    for name in CONTAINERS:
        av.ContainerFormat(name, "r")  # raises if FFmpeg has no such demuxer


@pytest.mark.parametrize(
    "suffix", [".avi", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".wav", ".flac", ".aiff", ".mp3"]
)
def test_media_of_allowed_containers_are_read(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {
        ".mpg": ("mpeg2video", "mp2"),
        ".webm": ("libvpx", "libopus"),
        ".flac": ("", "flac"),
        ".aiff": ("", "pcm_s16be"),
    }
    monkeypatch.setattr("conftest.CODECS", CODECS | more)
    path = write_short_media(tmp_path / f"a{suffix}", video=suffix not in AUDIO_SUFFIXES, rate_hz=48000)
    assert probe(path).has_audio
    assert probe(path).has_video == (suffix not in AUDIO_SUFFIXES)


CONCAT = "ffconcat version 1.0\nfile film.mp4\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.mp4\n#EXT-X-ENDLIST\n"
SESSION = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
SESSION += "a=rtpmap:96 H264/90000\n"
DASH = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>\n'
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"></svg>\n'


@pytest.mark.parametrize(
    "text", [CONCAT, PLAYLIST, SESSION, DASH, PICTURE], ids=["concat", "hls", "sdp", "dash", "svg"]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.ffconcat", "a.m3u8", "a.sdp", "a.mpd", "a.svg"])
def test_a_text_that_names_other_files_is_refused_under_any_name(tmp_path: Path, text: str, name: str) -> None:
    write_short_media(tmp_path / "film.mp4")
    path = tmp_path / name
    path.write_text(text)
    (reason,) = reasons(path)
    assert reason.startswith("cannot be decoded: ")


def test_the_reason_names_the_formats_that_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text(CONCAT)
    with pytest.raises(ClipError, match=r"^cannot be decoded: its format is none of aac, aiff, .*, wav$"):
        probe(path)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def alias(target: Path) -> bytes:
    """Return the data reference with which a QuickTime file says that its samples are in another file."""
    path = str(target).encode() + b"\0" * (len(str(target)) % 2)
    name = target.name.encode()
    head = bytes(10) + bytes(28) + bytes(12) + bytes((len(name),)) + name.ljust(63, b"\0") + bytes(16)
    return (
        bytes(4) + head + struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(path)) + path + b"\xff" * 4
    )


def refer_to(target: Path, path: Path) -> Path:
    """Write an MP4 file without samples, which refers to those of another one."""

    def rewrite(data: bytes) -> bytes:
        boxes = b""
        while data:
            size, kind, content = struct.unpack(">I", data[:4])[0], data[4:8], data[8:]
            content, data = content[: size - 8], data[size:]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                content = rewrite(content)
            elif kind == b"dref":
                content = struct.pack(">II", 0, 1) + box(b"alis", alias(target))
            elif kind == b"mdat":
                kind, content = b"free", bytes(len(content))
            boxes += box(kind, content)
        return boxes

    path.write_bytes(rewrite(target.read_bytes()))
    return path


def test_a_quicktime_file_does_not_read_the_samples_of_another_file(
    tmp_path: Path, grey_levels: NDArray[np.uint8]
) -> None:
    film = write_media(tmp_path / "film.mp4", frames=grey_levels)
    path = refer_to(film, tmp_path / "a.mov")
    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(path), container_options=options) as container:  # with this option FFmpeg would read them
        assert len(list(container.decode(video=0))) == len(grey_levels)
    with pytest.raises(ClipError):
        probe(path)


# Names and kinds of files


@pytest.mark.parametrize("name", ["take1:angry.mp4", "http:/127.0.0.1/a.mp4", "concat:a.mp4", "-i.mp4", "a%03d.mp4"])
def test_a_relative_path_is_a_file_whatever_it_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_short_media(tmp_path / "film.mp4")
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "film.mp4").rename(name)
    assert probe(Path(name)).has_video
    for read in READERS:
        read(Path(name))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")  # to open it would wait for ever
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "folder.wav").mkdir()
    for name in ("pipe.wav", "zero.wav", "folder.wav"):
        assert reasons(tmp_path / name) == {"cannot be decoded: it is not a regular file"}
    assert reasons(tmp_path / "missing.wav") == {"cannot be decoded: No such file or directory"}


# Streams


def test_tags_in_another_encoding_are_ignored(tmp_path: Path) -> None:
    artist = b"INFOIART" + struct.pack("<I", 6) + "José".encode("latin-1") + b"\0\0"
    more = b"LIST" + struct.pack("<I", len(artist)) + artist
    path = write_wav(tmp_path / "a.wav", bytes(32000), more=more)
    assert probe(path).samples == 16000


@pytest.mark.parametrize("list_bytes", [14, 2**32 - 1])
def test_a_tag_that_announces_more_bytes_than_the_file_has_is_refused(tmp_path: Path, list_bytes: int) -> None:
    tag = b"IART" + struct.pack("<I", 2_000_000_000)  # FFmpeg would reserve and clear as much memory
    more = b"LIST" + struct.pack("<I", list_bytes) + b"INFO" + tag + b"ab"
    for path in (write_wav(tmp_path / "a.wav", bytes(32000), more=more), tmp_path / "b.avi"):
        if not path.exists():
            write_short_media(path)
            path.write_bytes(path.read_bytes() + more)
        assert reasons(path) == {"its tag 'IART' announces more bytes than the file has"}


@pytest.mark.parametrize("kind", ["fourcc", "bits"])
def test_a_stream_without_a_decoder_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "fourcc":
        path = write_short_media(tmp_path / "a.mp4", sound=False)
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
        readers = (0, 1)
    else:
        path = write_wav(tmp_path / "a.wav", bytes(32000), bits=0)
        readers = (0, 2)
    for reader in readers:
        with pytest.raises(ClipError, match=r"^its (video|audio) cannot be decoded: no decoder knows its codec$"):
            READERS[reader](path)


def test_a_codec_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("zmbv", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert "zmbv" not in DECODERS
    for read in READERS[:2]:
        with pytest.raises(ClipError, match=r"^its video cannot be decoded: the codec zmbv is not allowed$"):
            read(path)


def test_the_cover_of_a_song_is_no_video(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    song = write_media(tmp_path / "a.mp3", sound=tone(), rate_hz=16000)
    picture = b"\0image/jpeg\0\x03\0" + encode_jpeg(grey_levels[9]).tobytes()
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    song.write_bytes(b"ID3\x03\0\0" + size + frame + song.read_bytes())
    info = probe(song)
    assert (info.has_video, info.has_audio, info.width_px) == (False, True, 0)
    with pytest.raises(ClipError, match="has no video"):
        SampledFrames(song, count=1)


def test_a_stream_of_data_is_ignored(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.metadata["timecode"] = "01:00:00:00"  # written as a stream, as by cameras
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(video.encode())
    with av.open(str(tmp_path / "a.mov")) as container:
        assert [stream.type for stream in container.streams] == ["video", "data"]
    assert probe(tmp_path / "a.mov").frames == len(read_frames(tmp_path / "a.mov", count=9)[0]) == 5


def test_a_stream_that_appears_midway_is_ignored(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.flv", frames=np.zeros((200, 32, 32, 3), np.uint8), fps=1)
    sound = write_media(tmp_path / "b.flv", sound=tone(rate_hz=44100), rate_hz=44100)
    tags = sound.read_bytes()[13:]  # after the header and the size of no tag
    film.write_bytes(film.read_bytes() + tags)
    with av.open(str(film)) as container:
        assert len(container.streams) == 1
    info = probe(film)
    assert (info.frames, info.has_audio) == (200, False)
    assert len(read_frames(film, count=4)[0]) == 4


def test_a_picture_whose_size_changes_is_refused(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    small = write_media(tmp_path / "a.avi", frames=grey_levels[:10, :32, :48])
    large = write_media(tmp_path / "b.avi", frames=grey_levels[:10])
    path = tmp_path / "c.avi"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(ClipError, match=r"^its picture changes from 48 x 32 pixels to 64 x 64 pixels$"):
        probe(path)
    with pytest.raises(ClipError, match=r"^its picture changes from 48 x 32 pixels to 64 x 64 pixels$"):
        dict(SampledFrames(path, count=8))


def test_sound_whose_rate_and_channels_change_is_converted_piece_by_piece(tmp_path: Path) -> None:
    pieces = [
        write_media(tmp_path / "a.aac", sound=tone(rate_hz=22050), rate_hz=22050),
        write_media(tmp_path / "b.aac", sound=tone(rate_hz=44100), rate_hz=44100),
        write_media(tmp_path / "c.aac", sound=tone(rate_hz=44100), rate_hz=44100, layout="stereo"),
    ]
    path = tmp_path / "d.aac"
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    sound = read_audio(path, rate_hz=16000)
    assert len(sound) == pytest.approx(48000, rel=0.1)
    for second in np.split(sound[:48000], 3):
        assert np.abs(np.fft.rfft(second[4000:12000], 16000)).argmax() == pytest.approx(440, abs=2)
    assert probe(path).has_audio


def write_caf(path: Path, speakers: Sequence[int]) -> Path:
    """Write a tenth of a second of silence, with a channel for each of the speakers: 1 is left, 2 is right."""
    count = len(speakers)
    channels = b"".join(struct.pack(">IIfff", speaker, 0, 0, 0, 0) for speaker in speakers)
    chunks = {
        b"desc": struct.pack(">d4sIIIII", 16000, b"lpcm", 2, 2 * count, 1, count, 16),
        b"chan": struct.pack(">III", 0, 0, count) + channels,
        b"data": bytes(4 + 3200 * count),
    }
    content = b"".join(name + struct.pack(">q", len(chunk)) + chunk for name, chunk in chunks.items())
    path.write_bytes(b"caff\0\x01\0\0" + content)
    return path


PROBE = "import sys; from pathlib import Path; from pipeline.media.probe import probe; probe(Path(sys.argv[1]))"


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [(2, 1), (1, 1), (1, 2, 65535)])
def test_channels_in_an_unusual_order_do_not_end_the_process(tmp_path: Path, speakers: tuple[int, ...]) -> None:
    assert probe(write_caf(tmp_path / "a.caf", (1, 2))).channels == 2
    path = write_caf(tmp_path / "b.caf", speakers)
    run = subprocess.run([sys.executable, "-c", PROBE, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "ClipError: its audio has channels in an unusual order: " in run.stderr


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone()
    samples[9000] = value
    for rate_hz in (16000, 44100):  # as it is, and converted
        path = write_wav(tmp_path / "a.wav", samples.tobytes(), kind=3, bits=32, rate_hz=rate_hz)
        with pytest.raises(ClipError, match=r"^its audio holds samples that are NaN, infinite or beyond 2\*\*31$"):
            read_audio(path, rate_hz=16000)
