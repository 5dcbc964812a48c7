"""Parameters: YAML 1.2, no unknown keys, and one-line errors that name the file, the key and the valid values."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from pipeline.base.errors import ParameterError
from pipeline.base.params import SECTIONS, Config, check, read_params, read_section
from pipeline.faces.crops import FacesConfig


class Inner(Config):
    """A section inside a section."""

    rate_hz: int = 16000


class Outer(Config):
    """A section with a required key, a bounded key and an inner section."""

    count: int
    share: float = Field(0.5, ge=0, le=1)
    inner: Inner = Inner()


def write_params(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def error_line(values: Any, model: Any) -> str:
    """Return the message of the error, which is one line."""
    with pytest.raises(ParameterError) as error:
        check(values, model, where="params.yaml: s")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_yaml_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    path = write_params(
        tmp_path, "train: {rate: 1e-3, big: 1.5E3, yes: no, octal: 0o10, leading: 010, time: 12:30:45}\n"
    )
    expected = {"rate": 0.001, "big": 1500.0, "yes": "no", "octal": 8, "leading": 10, "time": "12:30:45"}
    assert read_params(path)["train"] == expected


def test_anchor_can_share_a_section(tmp_path: Path) -> None:
    path = write_params(tmp_path, "embed_faces: &embed {rate_hz: 1}\nembed_mels: *embed\n")
    assert read_section("embed_mels", Inner, path=path) == Inner(rate_hz=1)


def test_section_is_read_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path, "faces: {detector: cascade, size_px: 64}\n")
    monkeypatch.chdir(tmp_path)
    assert read_section("faces", FacesConfig) == FacesConfig(size_px=64)


def test_error_for_an_unknown_key_names_file_section_key_and_valid_keys(tmp_path: Path) -> None:
    path = write_params(tmp_path, "faces: {size: 64}\n")
    with pytest.raises(ParameterError) as error:
        read_section("faces", FacesConfig, path=path)
    valid = ", ".join(sorted(FacesConfig.model_fields))
    assert str(error.value) == f"{path}: faces.size: unknown key; did you mean 'size_px'? valid: {valid}"


def test_error_for_a_mistyped_detector_lists_the_valid_names(tmp_path: Path) -> None:
    path = write_params(tmp_path, "faces: {detector: cascad}\n")
    with pytest.raises(ParameterError) as error:
        read_section("faces", FacesConfig, path=path)
    words = "unknown detector 'cascad'; did you mean 'cascade'? valid: "
    assert str(error.value).startswith(f"{path}: faces.detector = 'cascad': {words}")
    assert "cascade" in str(error.value).partition("valid: ")[2]
    assert str(error.value).endswith(", or package.module:function")


@pytest.mark.parametrize(
    ("values", "model", "line"),
    [
        (
            {"count": 1, "inner": {"rate": 1}},
            Outer,
            "s.inner.rate: unknown key; did you mean 'rate_hz'? valid: rate_hz",
        ),
        ({"a": {"count": 1, "cuont": 2}}, dict[str, Outer], "s.a.cuont: unknown key; did you mean 'count'? valid: "),
        ([{"count": 1}, {"count": 1, "x": 2}], list[Outer], "s.1.x: unknown key; valid: count, inner, share"),
        ({"a": {"b": {"x": 1}}}, dict[str, dict[str, Inner]], "s.a.b.x: unknown key; valid: rate_hz"),
    ],
)
def test_unknown_key_is_detected_at_any_depth(values: Any, model: Any, line: str) -> None:
    assert error_line(values, model).startswith(f"params.yaml: {line}")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"count": 1, "share": 1.5}, "s.share = 1.5: Input should be less than or equal to 1"),
        ({"count": 1, "share": float("nan")}, "s.share = nan: Input should be "),
        ({"count": "many"}, "s.count = 'many': Input should be a valid integer"),
        ({"count": 1.5}, "s.count = 1.5: Input should be a valid integer"),
        ({}, "s.count is missing"),
        (None, "s = None: Input should be a valid dictionary"),
    ],
)
def test_error_for_an_invalid_value_names_its_key(values: Any, line: str) -> None:
    assert error_line(values, Outer).startswith(f"params.yaml: {line}")


def test_all_mistakes_in_a_section_are_reported_at_once() -> None:
    assert error_line({"count": "x", "share": -1, "other": 0}, Outer).count("params.yaml: s.") == 3


def test_error_for_an_unknown_section_lists_the_valid_ones(tmp_path: Path) -> None:
    path = write_params(tmp_path, "trian: {}\n")
    with pytest.raises(ParameterError) as error:
        read_params(path)
    valid = ", ".join(sorted(SECTIONS))
    assert str(error.value) == f"{path}: unknown section 'trian'; did you mean 'train'? valid: {valid}"


def test_error_names_a_missing_section(tmp_path: Path) -> None:
    path = write_params(tmp_path, "train: {}\n")
    with pytest.raises(ParameterError, match="the section 'faces' is missing"):
        read_section("faces", FacesConfig, path=path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [1\n", "is not valid YAML: .*line"),
        ("train: {}\ntrain: {}\n", "is not valid YAML: .*duplicate key"),
        ("", "contains no sections"),
        ("- train\n", "contains no sections"),
    ],
)
def test_error_names_a_file_without_sections(tmp_path: Path, text: str, words: str) -> None:
    path = write_params(tmp_path, text)
    with pytest.raises(ParameterError, match=words) as error:
        read_params(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_outside_the_repository_the_error_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"params\.yaml does not exist; run this command from the root of the repository$"
    ):
        read_params(tmp_path / "params.yaml")


def test_configuration_is_immutable_and_hashable() -> None:
    config = Outer(count=1)
    with pytest.raises(ValidationError, match="frozen"):
        config.count = 2  # type: ignore[misc]
    assert {config: "a key"}[Outer(count=1)] == "a key"
