"""Typed clips and their columns: clips are equal after storage, and empty clips keep types and row shapes."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.columns import ClipData, Ragged, from_columns, numbered_columns, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, FACES, WINDOWS, Schema
from pipeline.store.writer import open_writer

LENGTHS = st.lists(st.integers(0, 4), max_size=6)


def ragged(lengths: list[int], flat: np.ndarray) -> Ragged[Any]:
    """Return rows of these lengths, filled from `flat`."""
    return Ragged(np.resize(flat, (sum(lengths), *flat.shape[1:])), np.asarray(lengths, np.int64))


@st.composite
def clip_faces(draw: st.DrawFn) -> ClipFaces:
    lengths = draw(LENGTHS)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count = len(lengths)
    return ClipFaces(
        times=rng.random(count, np.float32),
        boxes=rng.random((count, 5), np.float32),
        face_counts=rng.integers(0, 9, count, np.int32),
        sources=rng.integers(0, 3, count, np.uint8),
        leads=rng.random(count, np.float32),
        angles=rng.random(count, np.float32),
        crops=ragged(lengths, rng.integers(0, 256, 50, np.uint8)),
    )


@st.composite
def clip_windows(draw: st.DrawFn) -> ClipWindows:
    lengths = draw(LENGTHS)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    times, durations = rng.random((2, len(lengths)), np.float32)
    return ClipWindows(times, durations, ragged(lengths, rng.random((50, 8), np.float32)))


@st.composite
def clip_tokens(draw: st.DrawFn, views: st.SearchStrategy[int]) -> ClipTokens:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    tokens, *copies = rng.random((1 + draw(views), draw(st.integers(0, 6)), 3), np.float32)
    return ClipTokens(rng.random(len(tokens), np.float32), tokens, tuple(copies))


def assert_equal(clip: ClipData, expected: ClipData) -> None:
    """Compare the fields, dtypes and shapes included."""
    assert type(clip) is type(expected)
    for field in fields(expected):
        one, other = (getattr(it, field.name) for it in (clip, expected))
        if isinstance(other, np.ndarray):
            one, other = (one,), (other,)
        assert len(one) == len(other)
        for array, expected_array in zip(one, other, strict=True):
            assert (array.dtype, array.shape) == (expected_array.dtype, expected_array.shape)
            assert array.tobytes() == expected_array.tobytes()


@given(st.one_of(clip_faces(), clip_windows(), clip_tokens(st.integers(0, 11))))
def test_a_clip_is_equal_after_conversion_to_columns_and_back(clip: ClipFaces | ClipWindows | ClipTokens) -> None:
    columns = to_columns(clip)
    assert {len(columns.get(f"{name}_lengths", value)) for name, value in columns.items()} == {len(clip.times)}
    assert_equal(from_columns(type(clip), columns | {"more": np.zeros(7)}), clip)


@pytest.mark.parametrize(
    ("schema", "strategy", "empty"),
    [
        (FACES, clip_faces(), ClipFaces.empty()),
        (WINDOWS, clip_windows(), ClipWindows.empty(8)),
        (EMBEDDINGS, clip_tokens(st.just(2)), ClipTokens.empty(3, views=2)),
    ],
)
def test_clips_are_equal_after_writing_and_reading(
    schema: Schema[Any],
    strategy: st.SearchStrategy[ClipData],
    empty: ClipData,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("store") / "clips.h5"

    @settings(max_examples=20, deadline=None)  # each writes a file
    @given(st.lists(strategy, max_size=4))
    def check(clips: list[ClipData]) -> None:
        clips = [*clips, empty, *clips[:1]]
        with open_writer(path, like=to_columns(empty), attributes={"schema": schema.name}) as writer:
            for number, clip in enumerate(clips):
                writer.append(f"clip{number}", to_columns(clip))
        reader = Reader(path, schema=schema)
        for number, clip in enumerate(clips):
            assert_equal(reader[f"clip{number}"], clip)

    check()


def test_ragged_arrays_are_a_sequence() -> None:
    rows = Ragged.join([np.arange(3), np.arange(0), np.arange(5, 7)])
    assert [row.tolist() for row in rows] == [[0, 1, 2], [], [5, 6]]
    assert rows[-1].tolist() == [5, 6]
    assert [row.tolist() for row in rows[1:]] == [[], [5, 6]]
    assert len(rows) == 3
    with pytest.raises(IndexError):
        rows[3]


def test_views_are_in_the_order_of_their_numbers() -> None:
    names = [f"view_{number}" for number in range(1, 12)]
    assert numbered_columns("views", ["tokens", *sorted(names), "view_13"]) == names


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="windows_lengths"):
        from_columns(ClipWindows, {"times": np.zeros(1), "durations": np.zeros(1), "windows": np.zeros((1, 8))})


@pytest.mark.slow
def test_stages_without_networks_do_not_import_torch() -> None:
    code = "import sys, stages.faces, stages.spectrograms; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
