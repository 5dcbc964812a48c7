"""Faces: the detectors' contract, the choice among several faces, and the geometry of a crop."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_media
from numpy.typing import NDArray
from skimage.data import astronaut

from pipeline.errors import ParameterError
from pipeline.faces import DETECTORS, NO_FACES, FacesConfig, crop, extract_faces, largest, load_detector
from pipeline.media import decode_jpeg
from pipeline.params import check

# Where the astronaut's face lies in the picture of 512 x 512, measured by hand: eyes and mouth, with some skin.
FACE = (180, 70, 270, 180)


def overlap(a: NDArray[np.float32], b: tuple[int, ...]) -> float:
    """Return the share of box b that box a covers."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / ((b[2] - b[0]) * (b[3] - b[1]))


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """The astronaut, her face in the middle of 256 x 256."""
    return np.asarray(astronaut()[0:256, 96:352], np.uint8)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detector_finds_the_face_and_keeps_the_contract(name: str, portrait: NDArray[np.uint8]) -> None:
    blank = np.full_like(portrait, 127)
    found = load_detector(name)(np.stack([portrait, blank, portrait]))
    assert [len(boxes) > 0 for boxes in found] == [True, False, True]
    assert all(boxes.dtype == np.float32 and boxes.shape[1:] == (5,) for boxes in found)
    np.testing.assert_array_equal(found[0], found[2])
    face = tuple(value - shift for value, shift in zip(FACE, (96, 0, 96, 0), strict=True))
    assert overlap(largest(found[0]), face) > 0.6


def test_the_largest_of_several_faces_is_taken() -> None:
    boxes = np.asarray([(0, 0, 10, 10, 0.9), (20, 20, 60, 50, 0.5), (0, 0, 30, 30, 0.99)], np.float32)
    assert largest(boxes).tolist() == pytest.approx([20, 20, 60, 50, 0.5])


def test_a_crop_shows_what_lies_in_the_box_with_its_margin() -> None:
    y, x = np.mgrid[0:100, 0:200]
    frame = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    # A box of 40 with a margin of a quarter is 60 wide: 20..80 by 10..70, drawn at 120, two pixels a pixel.
    image = crop(frame, np.asarray([30, 20, 70, 60, 1], np.float32), margin=0.25, size_px=120)
    assert image.shape == (120, 120, 3)
    columns, rows = image[60, :, 0], image[:, 60, 1]
    np.testing.assert_allclose(columns[1:-1], np.linspace(20 - 0.25, 80 - 0.75, 120)[1:-1], atol=1)
    np.testing.assert_allclose(rows[1:-1], np.linspace(10 - 0.25, 70 - 0.75, 120)[1:-1], atol=1)


def test_a_crop_beyond_the_frame_repeats_its_edge() -> None:
    frame = np.full((50, 50, 3), 200, np.uint8)
    image = crop(frame, np.asarray([-30, -30, 10, 10, 1], np.float32), margin=0.5, size_px=64)
    assert (image == 200).all()


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    image = crop(stripes, np.asarray([0, 0, 400, 400, 1], np.float32), margin=0, size_px=50)
    assert np.abs(image.astype(int) - 127).max() < 40


def film(path: Path, frames: list[NDArray[np.uint8]]) -> Path:
    return write_media(path, frames=np.stack(frames))


def test_only_frames_with_a_face_are_kept_with_their_times(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    blank = np.full_like(portrait, 127)
    path = film(tmp_path / "a.mp4", [blank] * 5 + [portrait] * 5)
    result = extract_faces(path, FacesConfig(frames_per_clip=10, size_px=64))
    np.testing.assert_allclose(result["times"], np.arange(5, 10) / 25, atol=1e-6)
    assert result["found"].tolist() == [1] * 5
    images = [decode_jpeg(file) for file in np.split(result["crops"], np.cumsum(result["crops_lengths"])[:-1])]
    assert [image.shape for image in images] == [(64, 64, 3)] * 5
    box = result["boxes"][0]
    x1, y1, x2, y2 = (round(float(value)) for value in box[:4])
    assert abs(int(images[0].mean()) - int(portrait[y1:y2, x1:x2].mean())) < 30


def test_a_clip_without_a_face_has_no_rows_and_no_picture_made_up(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    result = extract_faces(film(tmp_path / "a.mp4", [np.full_like(portrait, 127)] * 4), FacesConfig())
    assert {name: value.shape for name, value in result.items()} == {name: it.shape for name, it in NO_FACES.items()}


def test_a_detector_from_elsewhere_is_one_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait: NDArray[np.uint8]
) -> None:
    (tmp_path / "own_detector.py").write_text(
        "import numpy as np\n"
        "def build():\n"
        "    return lambda frames: [np.asarray([[10, 20, 110, 120, 1]], np.float32)] * len(frames)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = FacesConfig(detector="own_detector:build", frames_per_clip=2)
    result = extract_faces(film(tmp_path / "a.mp4", [portrait] * 2), config)
    assert result["boxes"].tolist() == [[10, 20, 110, 120, 1]] * 2


def test_a_mistyped_detector_lists_the_names() -> None:
    with pytest.raises(ParameterError, match=r"faces.detector = 'cascad'.*did you mean 'cascade'"):
        check({"detector": "cascad"}, FacesConfig, where="params.yaml: faces")


def test_the_cascade_follows_a_face_that_moves(portrait: NDArray[np.uint8]) -> None:
    moved = np.pad(portrait, ((20, 0), (30, 0), (0, 0)), mode="edge")[:256, :256]
    before, after = (largest(boxes) for boxes in load_detector("cascade")(np.stack([portrait, moved])))
    assert ((after - before)[[0, 2]]).mean() == pytest.approx(30, abs=6)
    assert ((after - before)[[1, 3]]).mean() == pytest.approx(20, abs=6)
