"""Media that lie: each clip here is what an old encoder, a cut transfer or an attacker could have left in a corpus."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hostile.recording import RECORDINGS, Recording, write_recording

Expected = Literal["clip", "excluded", "either"]
LATIN = "José".encode("latin-1")


@dataclass(frozen=True)
class Crafted:
    """A file below the corpus's folder, how it is written, and what must become of it."""

    path: str
    write: Callable[[Path], object]
    expected: Expected = "either"


def crafted_media() -> list[Crafted]:
    """Return all crafted clips of this module; their names say what is wrong with them."""
    return [*_wav_headers(), *_other_headers(), *_foreign_files(), *_changes_midway(), *_bombs(), *_odd_streams()]


def clip_path(name: str) -> str:
    """Return the path of a clip in the layout of the adapter `folder`."""
    return f"anger/s1_{name}"


def wave_file(
    data: bytes = bytes(range(256)) * 40, *, extra: bytes = b"", size: int | None = None, **fmt: int
) -> bytes:
    """Return a WAV file; `fmt` changes tag, channels, rate, bytes per second, align and bits of its header."""
    values = {"tag": 1, "channels": 1, "rate": 16000, "per_second": 32000, "align": 2, "bits": 16} | fmt
    header = struct.pack("<HHIIHH", *values.values())
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + extra
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def _file(name: str, content: bytes, expected: Expected = "either") -> Crafted:
    return Crafted(clip_path(name), lambda path: path.write_bytes(content), expected)


def _wav_headers() -> Iterator[Crafted]:
    tags = b"LIST" + struct.pack("<I", 4 + 8 + 4) + b"INFOIART" + struct.pack("<I", 4) + LATIN
    yield _file("latin1-tag.wav", wave_file(b"\1\2" * 3000, extra=tags), "clip")
    changes: dict[str, dict[str, Any]] = {
        "zero-bits": {"bits": 0},
        "one-bit": {"bits": 1},
        "many-bits": {"bits": 0xFFFF},
        "no-channels": {"channels": 0},
        "most-channels": {"channels": 0xFFFF},
        "negative-channels": {"channels": 0x8000},
        "rate-zero": {"rate": 0},
        "rate-one": {"rate": 1},
        "rate-most": {"rate": 2**32 - 1},
        "rate-huge": {"rate": 768_000_000},
        "no-align": {"align": 0},
        "unknown-codec": {"tag": 0xABCD},
        "extensible": {"tag": 0xFFFE},
        "adpcm": {"tag": 2, "bits": 4},
        "size-most": {"size": 2**32 - 1},
        "size-zero": {"size": 0},
        "no-data": {"data": b""},
        "half-a-sample": {"data": b"\1"},
        "many-chunks": {"extra": (b"JUNK" + bytes(4)) * 20000},
        "huge-chunk": {"extra": b"JUNK" + struct.pack("<I", 2**31)},
        "nested": {"extra": b"RIFF" + struct.pack("<I", 8) + b"WAVEfmt "},
    }
    for number, (name, change) in enumerate(changes.items()):
        yield _file(f"wav-{name}.wav", wave_file(**{"data": bytes([number]) * 8000} | change))
    for name, value in {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf, "largest": 3e38}.items():
        values = np.zeros(8000, np.float32)
        values[4000:] = value
        floats = wave_file(values.tobytes(), tag=3, bits=32, align=4, per_second=64000)
        yield _file(f"wav-{name}.wav", floats, "either" if name == "largest" else "excluded")
    yield _file("rf64.wav", wave_file(b"\3\4" * 3000).replace(b"RIFF", b"RF64"))
    yield _file("fmt-only.wav", wave_file()[:36])


def _other_headers() -> Iterator[Crafted]:
    au = struct.Struct(">4sIIIII")
    for name, values in {
        "au-offset": (2**31, 9999, 3, 16000, 1),
        "au-no-channels": (24, 9999, 3, 16000, 0),
        "au-no-rate": (24, 9999, 3, 0, 1),
        "au-unknown": (24, 9999, 99, 16000, 1),
        "au-unknown-size": (24, 2**32 - 1, 3, 16000, 1),
    }.items():
        yield _file(f"{name}.au", au.pack(b".snd", *values) + name.encode() * 700)
    for name, rate in {
        "zero": bytes(10),
        "nan": b"\x7f\xff\xc0" + bytes(7),
        "huge": b"\x7f\xfe\xff" + bytes(7),
    }.items():
        common = struct.pack(">hIh", 1, 4000, 16) + rate
        content = b"COMM" + struct.pack(">I", len(common)) + common + b"SSND" + struct.pack(">I", 8008) + bytes(8008)
        yield _file(f"aiff-rate-{name}.aiff", b"FORM" + struct.pack(">I", len(content) + 4) + b"AIFF" + content)
    yield _file("amr-header-only.amr", b"#!AMR\n", "excluded")
    yield _file("mp3-id3-huge.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100), "excluded")
    for suffix, old, new in (
        (".mp4", b"avc1", b"zzzz"),  # an unknown codec
        (".mp4", b"mvhd", b"xxxx"),
        (".mp4", b"stsz", b"stsc"),
        (".m4v", b"mdat", b"moov"),
        (".avi", b"FMP4", b"ZZZZ"),
        (".avi", b"hdrl", b"movi"),
        (".mov", b"jpeg", b"rle "),
        (".mkv", b"V_MS/VFW/FOURCC", b"V_UNKNOWNCODEC!"),
        (".mkv", b"FFV1", b"\0\0\0\0"),
        (".mkv", b"A_FLAC", b"A_FLAK"),
        (".webm", b"V_VP8", b"V_VP9"),
        (".flac", b"fLaC", b"fLaC\x7f\xff\xff\xff"),
        (".opus", b"OpusHead", b"OpusHea\xff"),
        (".ogv", b"OggS", b"OggX"),
    ):
        name = f"{suffix[1:]}-without-{old.decode().strip().replace('/', '')}{suffix}"
        yield Crafted(clip_path(name), partial(_write_replaced, suffix=suffix, old=old, new=new))
    yield Crafted(clip_path("mkv-lying-duration.mkv"), _write_lying_duration)
    yield Crafted(clip_path("mp4-external-data.mov"), _write_external_data, "excluded")


def _write_replaced(path: Path, *, suffix: str, old: bytes, new: bytes) -> None:
    content = write_recording(path, RECORDINGS[suffix], seed=7).read_bytes()
    path.write_bytes(content.replace(old, new))


def _write_lying_duration(path: Path) -> None:
    content = write_recording(path, RECORDINGS[".mkv"], seed=8).read_bytes()
    start = content.index(b"\x44\x89\x88") + 3  # the EBML id of the duration, a double
    path.write_bytes(content[:start] + struct.pack(">d", 1e300) + content[start + 8 :])


def _write_external_data(path: Path) -> None:
    """Write a MOV whose frames are said to be in another file, which has them."""
    silent: dict[str, Any] = {"seed": 9, "audio": ""}
    other = write_recording(path.with_name(".whole.mov"), RECORDINGS[".mov"], **silent)
    content = other.read_bytes()
    start = content.rindex(b"dref") + len(b"dref") + 8  # after its version and the number of its entries
    (size,) = struct.unpack_from(">I", content, start)
    name = str(other).encode()
    name += bytes(len(name) % 2)
    levels = struct.pack(">hh", 1, 1)  # the file is in the same folder
    alias = bytes(10 + 28 + 12 + 64) + levels + bytes(16)
    alias += struct.pack(">hH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    changed = bytearray(content[:start] + entry + content[start + size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):  # in each other
        position = changed.rindex(box, 0, start) - 4
        (box_size,) = struct.unpack_from(">I", changed, position)
        struct.pack_into(">I", changed, position, box_size + len(entry) - size)
    path.write_bytes(changed.replace(b"mdat", b"skip"))


def _foreign_files() -> Iterator[Crafted]:
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'
    for name, content in {
        "svg.mp4": svg,
        "html.mp4": b"<!doctype html><title>404 Not Found</title>",
        "json.mp4": b'{"error": "not found"}',
        "zip.mp4": _zip(),
        "archive.wav": _zip() + b"\0",
        "tar.mkv": _tar(),
        "gzip.flv": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(100),
        "pdf.avi": b"%PDF-1.4\n%%EOF\n",
        "elf.mov": b"\x7fELF\x02\x01\x01" + bytes(200),
        "pickle.wav": b"\x80\x04cos\nsystem\n.",
        "hdf5.mp4": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:01,000\nanger\n",
        "webvtt.mp4": b"WEBVTT\n\n00:00.000 --> 00:01.000\nanger\n",
        "ass.mkv": b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,,0,0,0,,x\n",
        "ansi.avi": b"\x1b[2J\x1b[31mred\x1b[0m" * 50,
        "text.mp3": b"anger, fear and joy\n" * 200,
        "zeros.mp4": bytes(1 << 20),
        "ones.wav": b"\xff" * (1 << 20),
        "noise.mp3": np.random.default_rng(0).bytes(1 << 16),
        "one-byte.wav": b"R",
        "empty.mp4": b"",
        "pointer.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "riff-only.wav": b"RIFF",
        "ftyp-only.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        "ebml-only.mkv": b"\x1a\x45\xdf\xa3\x80",
        "endless-box.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\0moov",
        "zero-box.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08moov" * 5000,
    }.items():
        yield _file(f"foreign-{name}", content, "either" if name in ("ones.wav", "noise.mp3") else "excluded")
    for codec, pixel_format in {"png": "rgb24", "mjpeg": "yuvj420p", "gif": "rgb8", "bmp": "bgr24"}.items():
        picture = Recording("gif" if codec == "gif" else "image2pipe", codec, frames=1, pixel_format=pixel_format)
        write = partial(write_recording, recording=picture, seed=3)
        yield Crafted(clip_path(f"picture-{codec}.mp4"), write)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.mp4"), b"anger")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.mp4"))
    return file.getvalue()


def _changes_midway() -> Iterator[Crafted]:
    """Yield joined streams: the second half has another size, rate, layout or codec, or one stream more."""
    video = {"width": 32, "height": 80}
    changes: dict[str, dict[str, Any]] = {
        ".ts": video,
        ".mpg": video,
        ".flv": video,
        ".mp3": {"rate_hz": 22050},
        ".aac": {"rate_hz": 16000, "layout": "stereo"},
        ".ogg": {"rate_hz": 16000, "layout": "stereo"},
        ".opus": {"layout": "stereo"},
        ".amr": {"samples": 16000},
    }
    for suffix, change in changes.items():
        write = partial(_write_joined, suffix=suffix, first={}, second=change)
        yield Crafted(clip_path(f"midway-{suffix[1:]}{suffix}"), write)
    for suffix in (".flv", ".ts"):
        gains = partial(_write_joined, suffix=suffix, first={"audio": ""}, second={})
        loses = partial(_write_joined, suffix=suffix, first={}, second={"audio": ""})
        yield Crafted(clip_path(f"gains-a-stream-{suffix[1:]}{suffix}"), gains)
        yield Crafted(clip_path(f"loses-a-stream-{suffix[1:]}{suffix}"), loses)


def _write_joined(path: Path, *, suffix: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    parts = [
        write_recording(path, RECORDINGS[suffix], seed=seed, **changes).read_bytes()
        for seed, changes in enumerate((first, second))
    ]
    header_bytes = 13 if suffix == ".flv" else 0  # of the second file, which would end the decoding
    path.write_bytes(parts[0] + parts[1][header_bytes:])


def _bombs() -> Iterator[Crafted]:
    """Yield small files with large contents, within the default limits and beyond."""
    plain = Recording("matroska", "mpeg4", colour=128, frames=3)
    sizes: dict[str, tuple[int, int, Expected]] = {
        "within": (4096, 2304, "clip"),
        "beyond": (4000, 4000, "excluded"),
        "tall": (20, 8000, "either"),
        "wide": (8000, 20, "either"),
        "tiny": (2, 2, "either"),
    }
    for name, (width, height, expected) in sizes.items():
        write = partial(write_recording, recording=plain, width=width, height=height)
        yield Crafted(clip_path(f"size-{name}.mkv"), write, expected)
    tall = Recording("matroska", "ffv1", colour=128, frames=2, width=20, height=20000)
    yield Crafted(clip_path("size-20x20000.mkv"), partial(write_recording, recording=tall))
    many = partial(write_recording, recording=plain, width=16, height=16, frames=2000)
    yield Crafted(clip_path("frames-2000-in-4-s.mkv"), partial(many, fps=500), "clip")
    yield Crafted(clip_path("frames-2000-in-2000-s.mkv"), partial(many, fps=1), "excluded")
    silence = Recording("matroska", "", "flac", colour=0, rate_hz=8000, samples=8000 * 3600)
    yield Crafted(clip_path("an-hour-of-silence.mkv"), partial(_write_lying_silence, recording=silence), "excluded")
    for name, rate_hz in {"lowest": 1, "highest": 655350}.items():
        write = partial(write_recording, recording=Recording("flac", "", "flac"), rate_hz=rate_hz, samples=5000)
        yield Crafted(clip_path(f"rate-{name}.flac"), write)


def _write_lying_silence(path: Path, *, recording: Recording) -> None:
    """Write an hour of silence in a few kilobytes, with a header that says 0.07 s."""
    content = write_recording(path, recording).read_bytes()
    start = content.index(b"\x44\x89\x88") + 3
    path.write_bytes(content[:start] + struct.pack(">d", 70.0) + content[start + 8 :])


def _odd_streams() -> Iterator[Crafted]:
    plain = Recording("matroska", "ffv1", frames=3)
    for name, times in {
        "gap": (0, 1, 2**31),
        "far": (2**40, 2**40 + 1, 2**40 + 2),
        "negative": (-5, -4, -3),
    }.items():
        write = partial(write_recording, recording=plain, video_pts=times, seed=len(name))
        yield Crafted(clip_path(f"times-{name}.mkv"), write)
    yield Crafted(clip_path("streams-300.mkv"), _write_many_streams)
    yield Crafted(clip_path("one-frame.mp4"), partial(write_recording, recording=RECORDINGS[".mp4"], frames=1), "clip")


def _write_many_streams(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="matroska") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(300)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.ones((1, 160), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 0
            container.mux(stream.encode(frame))
