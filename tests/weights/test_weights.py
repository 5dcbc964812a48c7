"""Weights: fetched once, verified and kept; if they cannot be fetched, the error says how to get them."""

import hashlib
from collections.abc import Iterator

import pytest
from publisher import CONTENT, SHA256, Publisher, publish_weights
from typer.testing import CliRunner

from pipeline.base.errors import WeightsError
from pipeline.base.files import cache_folder
from pipeline.cli.main import app
from pipeline.weights.files import WeightFile, fetch_weights


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publish_weights() as server:
        yield server


def cached_files() -> list[str]:
    """Return the names of all files in the cache folder."""
    return [path.name for path in cache_folder().rglob("*") if path.is_file()]


def test_weights_are_fetched_once_verified_and_kept(publisher: Publisher) -> None:
    weights = publisher.publish("whole/net.pth")
    paths = {fetch_weights(weights), fetch_weights(weights)}
    assert [path.read_bytes() == CONTENT for path in paths] == [True]
    assert publisher.requests == ["/whole/net.pth"]
    assert cached_files() == ["net.pth"]


def test_first_digits_of_a_checksum_are_enough(publisher: Publisher) -> None:
    assert fetch_weights(publisher.publish("whole/net.pth", SHA256[:8])).read_bytes() == CONTENT


def test_file_that_was_copied_by_hand_needs_no_network() -> None:
    path = cache_folder() / "weights" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch_weights(WeightFile("http://127.0.0.1:9/net.pth", SHA256)) == path


@pytest.mark.parametrize("content", [CONTENT[:-1], b""])
def test_wrong_file_is_refused_and_kept(publisher: Publisher, content: bytes) -> None:
    path = cache_folder() / "weights" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        fetch_weights(publisher.publish("whole/net.pth"))
    actual = hashlib.sha256(content).hexdigest()
    message = f"{path} is not the published net.pth: its sha256 is {actual}, not {SHA256}…; delete it"
    assert str(error.value) == message
    assert (path.read_bytes(), publisher.requests) == (content, [])


@pytest.mark.parametrize("kind", ["short", "other", "chunked", "absent"])
def test_failed_download_leaves_no_file_and_can_be_repeated(publisher: Publisher, kind: str) -> None:
    weights = publisher.publish(f"{kind}/net.pth")
    with pytest.raises(WeightsError) as error:
        fetch_weights(weights)
    assert_helpful(str(error.value), weights)
    assert cached_files() == []
    assert fetch_weights(publisher.publish("whole/net.pth")).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/net.pth", "file:///no/net.pth"])
def test_error_for_an_unreachable_address_says_how_to_get_the_file(closed_port: int, address: str) -> None:
    weights = WeightFile(address.format(port=closed_port), SHA256[:8])
    with pytest.raises(WeightsError, match=r"^net\.pth is missing and cannot be downloaded \(.+\); download ") as error:
        fetch_weights(weights)
    assert_helpful(str(error.value), weights)
    assert cached_files() == []


@pytest.fixture
def closed_port() -> int:
    """A port without a listener: it was free a moment ago."""
    with Publisher() as server:
        return server.server_port


def assert_helpful(message: str, weights: WeightFile) -> None:
    assert "\n" not in message
    digits = weights.sha256 if len(weights.sha256) == 64 else f"{weights.sha256}…"
    instructions = f"download {weights.url} (sha256 {digits}) on another machine and put it at "
    assert message.endswith(instructions + str(cache_folder() / "weights" / "net.pth"))


def test_without_a_published_checksum_the_actual_one_is_logged(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetch_weights(publisher.publish("whole/net.pth", "")).read_bytes() == CONTENT
    assert f"no checksum is published; the downloaded file has the sha256 {SHA256}" in caplog.text


def fdan(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["weights", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def models(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two published models on the local server, and no others."""
    files = {"good": (publisher.publish("whole/good.pth"),), "bad": (publisher.publish("other/bad.pth"),)}
    monkeypatch.setattr("pipeline.weights.published.DETECTOR_FILES", files)
    monkeypatch.setattr("pipeline.weights.published.backbone_files", dict)
    monkeypatch.setattr("pipeline.weights.published.LANDMARK_FILES", {})


@pytest.mark.usefixtures("models")
def test_command_lists_fetches_and_verifies() -> None:
    status, output = fdan("list")
    assert status == 0
    assert output.count("missing") == 2
    assert all(word in output for word in ("good.pth", "bad.pth", SHA256, str(cache_folder())))
    assert fdan("fetch", "good")[0] == 0
    assert cached_files() == ["good.pth"]
    assert "present good: " in fdan("list")[1]
    assert fdan("verify") == (0, f"good: {cache_folder() / 'weights' / 'good.pth'}: as published\n")
    (cache_folder() / "weights" / "good.pth").write_bytes(b"damaged")
    status, output = fdan("verify")
    assert status == 1
    assert f"its sha256 is {hashlib.sha256(b'damaged').hexdigest()}, not {SHA256}" in output


@pytest.mark.usefixtures("models")
def test_failed_download_and_unknown_model_are_one_line_errors() -> None:
    status, output = fdan("fetch", "bad")
    assert (status, output.count("\n")) == (1, 1)
    assert "is not the published bad.pth" in output
    status, output = fdan("fetch", "god")
    assert (status, output) == (1, "error: no weights are published for 'god'; did you mean 'good'? valid: bad, good\n")
