"""Options: a plugin's own parameters are checked, immutable, tracked, and part of every key; other parts take none."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.builders import build
from pipeline.base.errors import ParameterError
from pipeline.base.options import MAX_DEPTH, FrozenMapping, OptionsConfig, takes_options
from pipeline.base.params import check
from pipeline.base.provenance import canonical
from pipeline.cli.sections import MODELS
from pipeline.heads.contract import HeadConfig

SECTIONS = ("faces", "spectrograms", "embed_faces", "embed_mels", "head", "alignment")
PLUGIN = """
from pydantic import Field
from fdan import Config, takes_options

class Options(Config):
    temperature: float = Field(1.0, gt=0)
    layers: tuple[int, ...] = ()

@takes_options(Options)
def build(config):
    temperature = config.options.temperature
    return lambda *_: (temperature, config.options.layers)

def plain(config):
    return lambda *_: config.options
"""


@pytest.fixture
def alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AlignmentConfig]:
    """Return a function that reads a section with the plugin `name` and options, as a stage does."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/warm.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    monkeypatch.delitem(sys.modules, "warm", raising=False)

    def read(name: str = "warm:build", **options: Any) -> AlignmentConfig:
        return check({"name": name, "options": options}, AlignmentConfig, where="params.yaml: alignment")

    return read


def built(config: AlignmentConfig) -> Any:
    return build(ALIGNMENTS, config.name, "alignment", config, expected=Callable)()


def test_builder_reads_its_options_as_its_model(alignment: Callable[..., AlignmentConfig]) -> None:
    assert built(alignment(temperature=2, layers=[1, 3])) == (2.0, (1, 3))
    assert built(alignment()) == (1.0, ())
    assert built(alignment(temperature="0.5")) == (0.5, ())  # text, as on the command line
    assert alignment(temperature="0.5").options == {"temperature": 0.5}


def test_builder_without_a_model_reads_a_mapping_that_nothing_can_change(
    alignment: Callable[..., AlignmentConfig],
) -> None:
    options = built(alignment("warm:plain", sizes=[1, 2], deep={"name": "a"}))
    assert (options["sizes"], options["deep"]["name"], len(options)) == ((1, 2), "a", 2)
    for mapping in (options, options["deep"]):
        with pytest.raises(TypeError):
            mapping["name"] = "b"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 2}, "options.temprature: unknown key; did you mean 'temperature'"),
        ({"temperature": 0}, "options.temperature = 0: Input should be greater than 0"),
        ({"temperature": float("nan")}, "nan cannot be an option"),
        ({"layers": [{1: 2}]}, "the keys of options are text, not 1"),
        ({"layers": 1 << 70}, "cannot be an option"),
        ({"layers": "\ud800"}, "cannot be an option"),
        ({"\ud800": 1}, "cannot be an option"),
        ({"layers": json.loads("[" * 40 + "]" * 40)}, f"{MAX_DEPTH} levels at most"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    options: dict[str, Any], words: str, alignment: Callable[..., AlignmentConfig]
) -> None:
    with pytest.raises(ParameterError, match=rf"^params\.yaml: alignment\.options = .*{words}") as error:
        alignment(**options)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("section", SECTIONS)
def test_built_in_parts_take_no_options(section: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{section}\.options = .*'\w+' takes no options"):
        check({"options": {"temperature": 2}}, MODELS[section], where=section)
    assert check({"options": {}}, MODELS[section], where=section) == MODELS[section]()


@pytest.mark.parametrize("section", SECTIONS)
def test_empty_options_leave_keys_and_attributes_as_they_were(section: str) -> None:
    config = MODELS[section]()
    assert isinstance(config, OptionsConfig)
    assert "options" not in config.model_dump()
    assert "options" not in config.model_dump_json()


def test_options_are_part_of_keys_and_survive_files_and_processes(alignment: Callable[..., AlignmentConfig]) -> None:
    configs = [alignment("warm:plain", it=value) for value in (1, 1.0, True, "1", [1], None)]
    keys = [{canonical(it.model_dump()) for it in configs}, {str(it) for it in configs}]
    assert [len({*configs}), *map(len, keys)] == [len(configs)] * 3
    for config in configs:
        assert pickle.loads(pickle.dumps(config)) == config
        assert AlignmentConfig(**json.loads(config.model_dump_json())) == config
    assert str(alignment("warm:plain", a=1, b=2)) == str(alignment("warm:plain", b=2, a=1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_any_json_is_kept_exactly_or_refused(values: dict[str, Any]) -> None:
    try:
        frozen = FrozenMapping(values)
    except ValueError:
        return
    assert json.loads(repr(frozen)) == values
    assert (frozen == FrozenMapping(json.loads(repr(frozen)))) and hash(frozen) == hash(FrozenMapping(values))


def test_options_of_a_stranger_import_nothing(alignment: Callable[..., AlignmentConfig], tmp_path: Path) -> None:
    (tmp_path / "plugins/evil.py").write_text("raise SystemExit('imported')\n")
    values = {"name": "evil:build", "options": {"path": "os:system"}}
    with pytest.raises(ParameterError, match="'evil:build' is not built in") as error:
        check(values, HeadConfig, where="card.head", allow=())
    assert "takes no options" not in str(error.value)
    values = {"name": "warm:plain", "options": {"code": "os:system", "file": "/etc/passwd"}}
    allowed = check(values, AlignmentConfig, where="card.alignment", allow=["warm:plain"])
    assert dict(allowed.options) == values["options"]  # text remains text


def test_the_model_of_options_refuses_unknown_keys() -> None:
    with pytest.raises(ParameterError, match=r"takes_options\(.*give a subclass of fdan.Config"):
        takes_options(dict)  # type: ignore[arg-type]
