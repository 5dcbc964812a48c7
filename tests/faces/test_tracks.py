"""Tracks: the main person of a clip, despite gaps and passers-by."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.faces.tracks import (
    DETECTED,
    FILLED,
    choose_face,
    find_cuts,
    follow_face,
    importance,
    link_faces,
    overlap,
)


def box(x: float, y: float, side: float, score: float = 1) -> tuple[float, ...]:
    return x, y, x + side, y + side, score


def frames(*faces: list[tuple[float, ...]]) -> list[NDArray[np.float32]]:
    return [np.asarray(rows, np.float32).reshape(-1, 5) for rows in faces]


def track(
    detected: list[NDArray[np.float32]], gap: int = 2, cut_after: tuple[int, ...] = ()
) -> tuple[list[int], NDArray[np.float32], list[int]]:
    cuts = np.isin(np.arange(len(detected) - 1), cut_after)
    faces = link_faces(detected, gap=gap)
    importances = np.asarray([importance(face, 300, 200) for face in faces])
    followed = follow_face(faces[choose_face(importances, importances)[0]], cuts)
    return followed.frames.tolist(), followed.boxes, followed.sources.tolist()


def test_a_moving_face_is_followed_despite_a_briefly_larger_one() -> None:
    detected = frames(*([box(100 + 5 * n, 60, 60)] for n in range(8)))
    detected[3] = np.concatenate([detected[3], frames([box(5, 5, 90)])[0]])
    numbers, boxes, sources = track(detected)
    assert (numbers, sources) == (list(range(8)), [DETECTED] * 8)
    np.testing.assert_allclose(boxes[:, 0], 100 + 5 * np.arange(8))


@pytest.mark.parametrize(
    ("other", "why"), [(box(0, 0, 60), "centre"), (box(20, 60, 40), "size"), (box(190, 60, 60, 0.3), "score")]
)
def test_the_larger_more_central_more_confident_face_is_chosen(other: tuple[float, ...], why: str) -> None:
    detected = frames(*([other, box(110, 60, 60, 0.9)] for _ in range(5)))
    _, boxes, _ = track(detected)
    np.testing.assert_allclose(boxes[:, 0], 110, err_msg=why)


def test_short_gaps_between_two_detections_are_interpolated_and_ends_are_not_extended() -> None:
    detected = frames([], [box(100, 60, 60)], [], [box(108, 60, 60)], [], [], [box(114, 60, 60)], [], [])
    numbers, boxes, sources = track(detected)
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert sources == [DETECTED, FILLED, DETECTED, FILLED, FILLED, DETECTED]
    np.testing.assert_allclose(boxes[:, 0], [100, 104, 108, 110, 112, 114])
    assert boxes[:, 4].tolist() == [1, 0, 1, 0, 0, 1]
    assert track(detected, gap=0)[0] in ([1], [3], [6])
    assert track(detected, gap=1)[0] == [1, 2, 3]


@pytest.mark.parametrize("cut_after", [3, 4, 5])
def test_a_gap_in_which_the_film_is_cut_is_not_filled(cut_after: int) -> None:
    detected = frames([], [box(100, 60, 60)], [], [box(108, 60, 60)], [], [], [box(114, 60, 60)], [], [])
    assert track(detected, cut_after=(0, cut_after, 6))[0] == [1, 2, 3, 6]


def test_colours_that_change_are_a_cut_and_motion_or_dimmer_light_are_none() -> None:
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    other = np.kron(rng.integers(0, 128, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    images = np.stack([scene, np.roll(scene, 40, 1), scene, np.maximum(scene, 8) - 8, other, scene])
    assert find_cuts(images).tolist() == [False, False, False, True, True]


def test_a_long_gap_or_a_jump_begins_another_track() -> None:
    long_gap = frames([box(100, 60, 60)], [], [], [], [box(100, 60, 60)], [box(100, 60, 60)])
    assert track(long_gap)[0] == [4, 5]
    jump = frames([box(100, 60, 60)], [box(220, 120, 60)], [box(220, 120, 60)], [box(220, 120, 60)])
    assert track(jump, gap=0)[0] == [1, 2, 3]


def test_a_clip_without_faces_has_no_track() -> None:
    assert link_faces(frames([], [], []), gap=2) == []


def test_the_lead_of_a_face_is_that_over_the_next_one() -> None:
    importances = np.asarray([1.0, 3, 2])
    assert choose_face(np.asarray([2.0, 5, 9]), importances) == (2, 4)
    assert choose_face(np.asarray([9.0, 5, 9]), importances) == (2, 0)
    assert choose_face(np.asarray([np.nan, 5, 9]), importances) == (2, 4)
    number, lead = choose_face(np.asarray([np.nan, np.nan, 9]), importances)
    assert (number, np.isnan(lead)) == (1, True)


def test_overlap_is_intersection_over_union() -> None:
    one, other, away = frames([box(0, 0, 10), box(5, 0, 10), box(10, 0, 10)])[0]
    assert overlap(one, other) == pytest.approx(50 / 150)
    assert overlap(one, one) == 1
    assert overlap(one, away) == 0
