"""Weights: fetched once, verified, kept; and where they cannot be had, the error says all that is needed."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from pipeline.base.errors import WeightsError
from pipeline.base.files import cache_folder
from pipeline.cli.main import app
from pipeline.weights.files import WeightFile, obtain

CONTENT = bytes(range(256)) * 8192  # two blocks of reading
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(ThreadingHTTPServer):
    """Serves CONTENT, whole or badly, as the path says, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    def publish(self, path: str, sha256: str = SHA256) -> WeightFile:
        return WeightFile(url=f"http://127.0.0.1:{self.server_port}/{path}", sha256=sha256)


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Publisher

    def do_GET(self) -> None:
        """Answer as the first folder of the path says."""
        self.server.asked.append(self.path)
        kind = self.path.split("/")[1]
        self.send_response(404 if kind == "absent" else 200)
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\ncut \r\n")
            return
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"whole": CONTENT, "short": CONTENT[:1000], "other": CONTENT[::-1], "absent": b""}[kind])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def kept() -> list[str]:
    """Return the names of all files in the cache folder."""
    return [path.name for path in cache_folder().rglob("*") if path.is_file()]


def test_weights_are_fetched_once_verified_and_kept(publisher: Publisher) -> None:
    weights = publisher.publish("whole/net.pth")
    paths = {obtain(weights), obtain(weights)}
    assert [path.read_bytes() == CONTENT for path in paths] == [True]
    assert publisher.asked == ["/whole/net.pth"]
    assert kept() == ["net.pth"]


def test_the_first_digits_of_a_checksum_are_enough(publisher: Publisher) -> None:
    assert obtain(publisher.publish("whole/net.pth", SHA256[:8])).read_bytes() == CONTENT


def test_a_file_that_was_put_there_by_hand_is_taken_without_a_network() -> None:
    path = cache_folder() / "weights" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert obtain(WeightFile("http://127.0.0.1:9/net.pth", SHA256)) == path


@pytest.mark.parametrize("content", [CONTENT[:-1], b""])
def test_a_wrong_file_is_refused_by_name_and_left_alone(publisher: Publisher, content: bytes) -> None:
    path = cache_folder() / "weights" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        obtain(publisher.publish("whole/net.pth"))
    actual = hashlib.sha256(content).hexdigest()
    words = f"{path} is not the published net.pth: its sha256 is {actual}, not {SHA256}…; remove it"
    assert str(error.value) == words
    assert (path.read_bytes(), publisher.asked) == (content, [])


@pytest.mark.parametrize("kind", ["short", "other", "chunked", "absent"])
def test_a_bad_answer_is_an_error_and_never_in_the_way_of_a_good_one(publisher: Publisher, kind: str) -> None:
    weights = publisher.publish(f"{kind}/net.pth")
    with pytest.raises(WeightsError) as error:
        obtain(weights)
    assert_helpful(str(error.value), weights)
    assert kept() == []
    assert obtain(publisher.publish("whole/net.pth")).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/net.pth", "file:///no/net.pth"])
def test_an_address_out_of_reach_is_an_error_with_all_that_is_needed(closed_port: int, address: str) -> None:
    weights = WeightFile(address.format(port=closed_port), SHA256[:8])
    with pytest.raises(WeightsError, match=r"^net\.pth is not there and cannot be fetched \(.+\); download ") as error:
        obtain(weights)
    assert_helpful(str(error.value), weights)
    assert kept() == []


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens at: one that was free a moment ago."""
    with Publisher() as server:
        return server.server_port


def assert_helpful(message: str, weights: WeightFile) -> None:
    assert "\n" not in message
    digits = weights.sha256 if len(weights.sha256) == 64 else f"{weights.sha256}…"
    way_out = f"download {weights.url} (sha256 {digits}) on another machine and put it at "
    assert message.endswith(way_out + str(cache_folder() / "weights" / "net.pth"))


def test_where_no_checksum_is_published_the_one_that_came_is_told(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    assert obtain(publisher.publish("whole/net.pth", "")).read_bytes() == CONTENT
    assert f"no checksum is published; what came has the sha256 {SHA256}" in caplog.text


def fdan(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["weights", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def models(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two models be published here, and no others."""
    files = {"good": (publisher.publish("whole/good.pth"),), "bad": (publisher.publish("other/bad.pth"),)}
    monkeypatch.setattr("pipeline.faces.networks.WEIGHT_FILES", files)
    monkeypatch.setattr("pipeline.embeddings.backbones.published_weights", dict)
    monkeypatch.setattr("pipeline.faces.landmarks.WEIGHT_FILES", {})


@pytest.mark.usefixtures("models")
def test_the_command_lists_fetches_and_verifies() -> None:
    status, output = fdan("list")
    assert status == 0
    assert output.count("missing") == 2
    assert all(word in output for word in ("good.pth", "bad.pth", SHA256, str(cache_folder())))
    assert fdan("fetch", "good")[0] == 0
    assert kept() == ["good.pth"]
    assert "there   good: " in fdan("list")[1]
    assert fdan("verify") == (0, f"good: {cache_folder() / 'weights' / 'good.pth'}: as published\n")
    (cache_folder() / "weights" / "good.pth").write_bytes(b"damaged")
    status, output = fdan("verify")
    assert status == 1
    assert f"its sha256 is {hashlib.sha256(b'damaged').hexdigest()}, not {SHA256}" in output


@pytest.mark.usefixtures("models")
def test_what_cannot_be_fetched_or_is_not_known_is_one_line() -> None:
    status, output = fdan("fetch", "bad")
    assert (status, output.count("\n")) == (1, 1)
    assert "is not the published bad.pth" in output
    status, output = fdan("fetch", "god")
    assert (status, output) == (1, "error: no weights are published for 'god'; did you mean 'good'? valid: bad, good\n")
