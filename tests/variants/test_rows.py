"""Rows and grids: which sections they change, their order, and mistakes as one line."""

import itertools
from typing import Any

import pytest
from pydantic import Field

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError
from pipeline.base.params import Config
from pipeline.heads.contract import HeadConfig
from pipeline.variants import rows as variant_rows
from pipeline.variants.rows import check_sections, expand_grid, order_rows, override_section, section_label


def test_rows_are_ordered_by_section_after_the_reference() -> None:
    rows: dict[str, dict[str, dict[str, Any]]] = {
        "short": {"train": {"epochs": 1}},
        "narrow": {"head": {"width": 8}},
        "same": {},
        "both": {"head": {"width": 8}, "faces": {"margin": 0}},
        "mfcc": {"spectrograms": {"kind": "mfcc"}},
        "neither": {"alignment": {"name": "none"}, "head": {"attention_depth": 0}},
        "resnet18": {"embed_mels": {"backbone": "resnet18"}},
        "no margin": {"faces": {"margin": 0}},
        "wide": {"head": {"width": 128}, "train": {}},
        "vgg": {"embed_faces": {"backbone": "vgg11"}},
        "full": {},
        "coral": {"alignment": {"name": "coral"}},
    }
    ordered = order_rows(rows)
    assert {name: section_label(overrides) for name, overrides in ordered.items()} == {
        "full": "reference",
        "same": "reference",
        "no margin": "faces",
        "both": "faces + head",
        "mfcc": "spectrograms",
        "vgg": "embed_faces",
        "resnet18": "embed_mels",
        "narrow": "head",
        "wide": "head",
        "neither": "head + alignment",
        "coral": "alignment",
        "short": "train",
    }
    labels = [section_label(overrides) for overrides in ordered.values()]
    assert len([1 for one, other in itertools.pairwise(labels) if one != other]) == len({*labels}) - 1
    assert next(iter(ordered)) == "full"
    assert list(order_rows({"a": {"head": {"width": 1}}})) == ["full", "a"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("manifest", "row: a row cannot change manifest: it decides which clips there are and how they are labelled"),
        ("corpora", "row: a row cannot change corpora: it decides which clips"),
        ("render", "row: a row cannot change render: it decides which clips"),
        ("protocols", "row: a row cannot change protocols: it divides the clips"),
        ("run", "row: a row cannot change run: it changes no result"),
        ("ablations", "row: a row cannot change ablations: rows hold no rows"),
        (
            "spectrogram",
            "row: unknown section 'spectrogram'; did you mean 'spectrograms'? valid: alignment, embed_faces",
        ),
    ],
)
def test_sections_that_rows_cannot_change_are_refused_with_the_reason(section: str, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check_sections({section: {}}, where="row")
    assert str(caught.value).startswith(words)
    with pytest.raises(ParameterError, match=f"--grid {section}.x=1: "):
        expand_grid([f"{section}.x=1"])


def test_the_reference_changes_nothing() -> None:
    with pytest.raises(ParameterError, match=r"ablations\.full: this row is the reference and changes nothing"):
        order_rows({"full": {"head": {"width": 8}}})


class Swappable(Config):
    """A section with options."""

    name: str = "a"
    options: dict[str, Any] = Field(default_factory=dict)


def test_a_mapping_keeps_the_keys_that_a_row_leaves_out() -> None:
    before = Swappable(options={"cells": 3, "depth": 2, "nested": {"a": 1, "b": 2}})
    changed = override_section(before, {"options": {"cells": 4, "nested": {"a": 5}}}, where="ablations.row.head")
    assert changed == Swappable(options={"cells": 4, "depth": 2, "nested": {"a": 5}})  # one level deep
    assert before.options["cells"] == 3
    other = override_section(before, {"name": "b", "options": {"depth": 1}}, where="ablations.row.head")
    assert other.options == {"depth": 1}  # those of another builder mean nothing to it
    with pytest.raises(ParameterError, match=r"ablations.row.head.option: unknown key; did you mean 'options'"):
        override_section(before, {"option": {}}, where="ablations.row.head")


def test_grid_is_every_combination_named_by_its_keys() -> None:
    rows = expand_grid(["head.width=64,128", "head.dropout=0.1", "alignment.weight=0, 1"])
    assert list(rows) == [
        "head.width=64, head.dropout=0.1, alignment.weight=0",
        "head.width=64, head.dropout=0.1, alignment.weight=1",
        "head.width=128, head.dropout=0.1, alignment.weight=0",
        "head.width=128, head.dropout=0.1, alignment.weight=1",
    ]
    overrides = list(rows.values())[1]
    head = override_section(HeadConfig(), overrides["head"], where="row")
    alignment = override_section(AlignmentConfig(), overrides["alignment"], where="row")
    assert (head.width, head.dropout, alignment.weight) == (64, 0.1, 1.0)
    assert expand_grid([]) == {}


def test_values_of_a_grid_are_those_of_yaml_and_may_hold_colons_and_dots() -> None:
    assert list(expand_grid(["faces.detector=cascade,my_package.my_detector:build"]).values()) == [
        {"faces": {"detector": "cascade"}},
        {"faces": {"detector": "my_package.my_detector:build"}},
    ]
    rows = expand_grid(["head.options.temperature=1,0.5", "head.options.name=a", "spectrograms.window_s=null,1e-1"])
    assert list(rows.items())[1] == (
        "head.options.temperature=1, head.options.name=a, spectrograms.window_s=0.1",
        {"head": {"options": {"temperature": 1, "name": "a"}}, "spectrograms": {"window_s": 0.1}},
    )
    assert next(iter(rows.values()))["spectrograms"] == {"window_s": None}
    assert list(expand_grid(["alignment.layer_weights=[1, 2],[]", "head.standardise=true"]).values()) == [
        {"alignment": {"layer_weights": [1, 2]}, "head": {"standardise": True}},
        {"alignment": {"layer_weights": []}, "head": {"standardise": True}},
    ]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("width=1", r"--grid width=1: write it as section\.key=value"),
        ("head.width", r"--grid head.width: write it as section\.key=value"),
        ("head.a.b.c=1", r"--grid head.a.b.c=1: write it as section\.key=value"),
        ("head.width=", r"write it as section\.key=value"),
        ("head.width=,", "--grid head.width=, is not valid YAML"),
        ("head.width={a: 1}", r"write the values as value,value"),
        ("head.width=[1", r"--grid head.width=\[1 is not valid YAML"),
    ],
)
def test_a_mistyped_grid_is_one_line(grid: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words) as caught:
        expand_grid([grid])
    assert "\n" not in str(caught.value)


def test_every_section_of_the_parameters_is_changeable_or_refused() -> None:
    from pipeline.base.params import SECTIONS

    assert {*variant_rows.CHANGEABLE, *variant_rows.REFUSED} == {*SECTIONS}
