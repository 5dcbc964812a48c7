"""Parameters: YAML 1.2, no unknown keys, and one-line errors that name the file, the key and the valid values."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt
from conftest import QUICK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from pipeline.base.errors import ParameterError
from pipeline.base.params import SECTIONS, Config, check, read_params, read_section
from pipeline.cli.sections import MODELS
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


def test_what_is_read_is_the_callers_own_and_up_to_date(tmp_path: Path) -> None:
    path = write_params(tmp_path, "train: {seeds: [1]}\n")
    read_params(path)["train"]["seeds"].append(2)
    assert read_params(path)["train"] == {"seeds": [1]}
    write_params(tmp_path, "train: {seeds: [3]}\n")
    assert read_params(path)["train"] == {"seeds": [3]}


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


def test_the_first_of_many_problems_are_shown() -> None:
    with pytest.raises(ParameterError, match=r"; Outer\.key3: unknown key.*; and 996 more problems$") as caught:
        check({"x" * 10**5: 1} | {f"key{number}": 1 for number in range(1000)}, Outer, where="Outer")
    assert len(str(caught.value)) < 3000


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"train: {epochs: \xff}\n", "is not valid YAML: unacceptable character"),
        (b"train: \x1b[31m\n", "is not valid YAML: unacceptable character"),
        (b"train: " + b"[" * 100_000, "has more than 50 levels"),
        (b"train: " + b"[" * 60 + b"]" * 60 + b"\n", "has more than 50 levels"),
        (b"train: {epochs: " + b"9" * 5000 + b"}\n", "is not valid YAML: Exceeds the limit"),
        (b"train: !!python/object/apply:os.system [ls]\n", "is not valid YAML: could not determine a constructor"),
        (b"train: 2001-13-45\n", "is not valid YAML: month must be in 1..12"),
        (b"train: &loop [*loop, *loop]\n", "its aliases stand for more than 1000000 values"),
        (b"a\x01: 1\n", "is not valid YAML"),
        (b'"train\\e[31m\\n": 1\n', r"unknown section 'train\x1b[31m\n'"),
        (b"? [1, 2]\n: 1\n", "unknown section (1, 2)"),
        (b"? 0x" + b"9" * 5000 + b"\n: 1\n", "unknown section a huge int"),
        (b"a: " + b"x" * 10_000_001, "is larger than 10000000 bytes"),
    ],
)
def test_hostile_file_is_one_short_line(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(ParameterError) as error:
        read_params(path)
    message = str(error.value)
    assert words in message
    assert message.startswith(str(path))
    assert message.isprintable() and len(message) < 600


def test_billion_laughs_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 2, 3]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ParameterError, match="its aliases stand for more than 1000000 values"):
        read_params(write_params(tmp_path, "train:\n  " + "\n  ".join(lines) + "\n"))


def test_file_that_is_no_regular_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(ParameterError, match=r"params\.yaml cannot be read: not a regular file; run this command"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("spectrograms", {"black": -math.inf}),
        ("spectrograms", {"white": math.nan}),
        ("spectrograms", {"hop_ms": math.inf}),
        ("spectrograms", {"fft_samples": 10**9}),
        ("spectrograms", {"black": -1e308, "white": 1e308}),
        ("spectrograms", {"overlap": 1 - 1e-12}),
        ("alignment", {"gamma": math.inf}),
        ("alignment", {"layer_weights": [math.nan]}),
        ("alignment", {"kernel_mul": 100, "kernel_num": 100}),
        ("train", {"seeds": [-1]}),
        ("train", {"learning_rate": "nan"}),
        ("protocols", {"p": {"kind": "random", "validation": 1e-300}}),
        ("run", {"max_failures": math.nan}),
        ("run", {"workers": 10**9}),
    ],
)
def test_number_that_is_not_finite_or_too_large_is_refused(section: str, values: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        check(values, MODELS[section], where=section)


def fields_of(model: Any) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields of a section's model, with the model's name."""
    if isinstance(model, type) and issubclass(model, Config):
        yield from ((f"{model.__name__}.{name}", field) for name, field in model.model_fields.items())
    for part in get_args(model):
        yield from fields_of(part)


NUMBERS = [
    pytest.param(field, id=name)
    for section in MODELS.values()
    for name, field in fields_of(section)
    if {int, float} & {field.annotation, *get_args(field.annotation)}
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "1e400"])
def test_number_without_bounds_is_finite(value: Any) -> None:
    class Unbounded(Config):
        """A section of a plugin."""

        level: float = 0.0

    assert error_line({"level": value}, Unbounded).endswith("Input should be a finite number")


@pytest.mark.parametrize("field", NUMBERS)
def test_every_number_has_bounds(field: FieldInfo) -> None:
    kinds = {type(it) for it in field.metadata} | {
        type(it) for part in get_args(field.annotation) for it in getattr(part, "__metadata__", ())
    }
    assert kinds & {Ge, Gt, FieldInfo}
    assert kinds & {Le, Lt, FieldInfo}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["nan", "1e400", "os:system", "imagenet", "\x1b[31m", "precomputed", "cqt", "x" * 1000, "tcp://"])
    | st.dates()
    | st.binary(max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=8,
)
KEYS = {section: [name.partition(".")[2] for name, _ in fields_of(model)] for section, model in MODELS.items()}
ENTRY = {"corpora": {"adapter": "csv", "root": "."}, "protocols": {"kind": "random"}, "render": {}, "ablations": {}}


@settings(QUICK, max_examples=400)
@given(st.data())
def test_any_value_is_valid_or_one_line(data: st.DataObject) -> None:
    section = data.draw(st.sampled_from(sorted(MODELS)))
    keys = st.sampled_from(KEYS[section] or ["head"]) | SCALARS
    entry: Any = ENTRY.get(section, {}) | data.draw(st.dictionaries(keys, VALUES, max_size=3))
    values: Any = {data.draw(st.just("a") | SCALARS): entry} if section in ENTRY else entry
    values = data.draw(st.sampled_from([values, values, values, data.draw(VALUES)]))
    try:
        config = check(values, MODELS[section], where=section)
    except ParameterError as error:
        assert str(error).isprintable()
        assert str(error).startswith(section)
    else:
        for model in config.values() if isinstance(config, dict) else [config]:
            finite_numbers(model.model_dump() if isinstance(model, Config) else {})


def finite_numbers(values: dict[str, Any]) -> None:
    """Fail if a number is not finite, but in `options` and `groups`, which others check."""
    for name, value in values.items():
        if name not in ("options", "groups"):
            for number in value if isinstance(value, tuple) else [value]:
                assert not isinstance(number, float) or math.isfinite(number)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("spectrograms", {"hop_ms": 0.1, "overlap": 0.99, "bands": 1024}, "MB for each second of audio, more than 16"),
        ("faces", {"frames_per_clip": 10_000, "size_px": 2048}, "million pixels, more than 256"),
    ],
)
def test_settings_that_need_too_much_memory_together_are_refused(
    section: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        check(values, MODELS[section], where=section)
