"""Lures: files that make a careless reader open other files or addresses, and names, links and devices that do so."""

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hostile.crafted import Crafted, clip_path
from hostile.recording import RECORDINGS, write_recording

OUTSIDE = "../../../outside.wav"  # as seen from a clip: next to the workspace's folder
SCRIPTS = {
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "concat-unsafe": "ffconcat version 1.0\nfile '{outside}'\nfile '{address}'\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "playlist-address": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n{outside}\n#EXT-X-ENDLIST\n",
    "playlist-key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n',
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" mimeType="video/mp4"><BaseURL>{address}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "vobsub": "# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
    "metadata": ";FFMETADATA1\ntitle={outside}\n",
    "pls": "[playlist]\nFile1={address}\nNumberOfEntries=1\n",
    "rtsp": "RTSPtext\n{address}\n",
}
SUFFIXES = (".mp4", ".wav", ".mkv", ".mp3", ".ts")
NAMES = (
    *(
        "take1:angry",
        "file:x",
        "http:x",
        "pipe:0",
        "data:,x",
        "concat:a|b",
        "subfile,,start,0,end,0,,:x",
        "-i",
        "-",
        "--",
    ),
    *(
        "a\nb",
        "tab\tbed",
        "bell\a",
        "\x1b[31mred",
        "carriage\rreturn",
        "‮gpj",
        "[bold]",
        "[1]",
        "clip [1]",
        "{a,b}",
        "*",
        "?",
    ),
    *(
        " space ",
        "quote'",
        'double"',
        "back\\slash",
        "dollar$(id)",
        "`id`",
        ";ls",
        "&",
        "%03d",
        "%s",
        "=cmd",
        "+1",
        "@sum",
    ),
    *(
        "é",
        "e\u0301",
        "ß",
        "漢字",
        "🙂",
        "..x",
        "...",
        "a.b.c",
        "CON",
        "~",
        "#",
        "x" * 240,
        "é" * 110,
        "comma,semi;colon",
    ),
)
FOLDERS = ("..x", "http:", "-rf", "[a]", "a\nb", "*", "%d", "clip.mp4")


def lures(address: str) -> list[Crafted]:
    """Return the scripts under several suffixes, and files with odd names, links and devices.

    `address` is that of a server that counts whoever connects.
    """
    return [*_scripts(address), *_names(), *_links()]


def _scripts(address: str) -> Iterator[Crafted]:
    target = Path(clip_path("intact.mp4")).name
    port = address.rpartition(":")[2].strip("/")
    for kind, text in SCRIPTS.items():
        for suffix in SUFFIXES:
            content = text.format(target=target, outside=OUTSIDE, address=f"{address}{kind}{suffix}", port=port)
            # Text that differs only in a comment would be one clip to the check on duplicates.
            write = partial(Path.write_text, data=f"{content}\n#{suffix}\n")
            yield Crafted(clip_path(f"script-{kind}-{suffix[1:]}{suffix}"), write, "excluded")


def _names() -> Iterator[Crafted]:
    for number, name in enumerate(NAMES):
        write = partial(write_recording, recording=RECORDINGS[".flv"], seed=1000 + number)
        yield Crafted(clip_path(f"{name}.flv"), write, "clip")
    yield Crafted("anger/-x_1.FLV", partial(write_recording, recording=RECORDINGS[".flv"], seed=998), "clip")
    for number, name in enumerate(FOLDERS):
        write = partial(write_recording, recording=RECORDINGS[".wav"], seed=2000 + number)
        yield Crafted(f"anger/{name}/s1_inside.wav", write, "clip")


def _links() -> Iterator[Crafted]:
    intact = Path(clip_path("intact.mp4")).name
    for name, target in {
        "zero.wav": "/dev/zero",
        "random.wav": "/dev/random",
        "null.wav": "/dev/null",
        "terminal.wav": "/dev/tty",
        "process.mp4": "/proc/self/mem",
        "broken.mp4": "nowhere.mp4",
        "itself.mp4": Path(clip_path("link-itself.mp4")).name,
        "outside.wav": OUTSIDE,
        "absolute.mp4": "/etc/passwd",
        "copy.mp4": intact,  # the same bytes as another clip
    }.items():
        yield Crafted(clip_path(f"link-{name}"), partial(_link, target=target), "excluded")
    yield Crafted(clip_path("fifo.wav"), os.mkfifo, "excluded")
    yield Crafted(clip_path("socket.mp4"), _make_socket, "excluded")
    yield Crafted(clip_path("sparse.mp4"), partial(_write_sparse, size=1 << 28), "excluded")


def _link(path: Path, *, target: str) -> None:
    path.symlink_to(target)


def _make_socket(path: Path) -> None:
    short = Path(os.path.relpath(path))  # an address of at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(min(short, path, key=lambda it: len(str(it)))))


def _write_sparse(path: Path, *, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
