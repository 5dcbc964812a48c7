"""Faces: the detectors' contract, the choice among several faces, and the geometry of a crop."""

import weakref
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import write_media
from numpy.typing import NDArray
from skimage.data import astronaut

from pipeline.base.errors import AbsentModalityError, ClipError, ExcludedClipError, ParameterError
from pipeline.faces.crops import FacesConfig, crop, detect, extract_faces
from pipeline.faces.step import write_faces
from pipeline.media import frames as media_frames
from pipeline.media.files import ClipFiles
from pipeline.media.frames import decode_jpeg, encode_jpeg
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.columns import to_columns


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """The astronaut, her face in the middle of 256 x 256."""
    return np.asarray(astronaut()[0:256, 96:352], np.uint8)


def test_a_crop_shows_the_box_with_its_margin() -> None:
    y, x = np.mgrid[0:100, 0:200]
    frame = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    # A box of 40 with a margin of a quarter is 60 wide: 20..80 by 10..70, shown at 120, two pixels for each pixel.
    image = crop(frame, np.asarray([30, 20, 70, 60, 1], np.float32), margin=0.25, size_px=120)
    assert image.shape == (120, 120, 3)
    columns, rows = image[60, :, 0], image[:, 60, 1]
    np.testing.assert_allclose(columns[1:-1], np.linspace(20 - 0.25, 80 - 0.75, 120)[1:-1], atol=1)
    np.testing.assert_allclose(rows[1:-1], np.linspace(10 - 0.25, 70 - 0.75, 120)[1:-1], atol=1)


def test_a_crop_beyond_the_frame_repeats_its_edge() -> None:
    frame = np.full((50, 50, 3), 200, np.uint8)
    image = crop(frame, np.asarray([-30, -30, 10, 10, 1], np.float32), margin=0.5, size_px=64)
    assert (image == 200).all()


def test_a_turned_crop_levels_a_line_and_keeps_the_centre_of_the_box() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    cv2.line(frame, (70, 80), (130, 120), (255, 255, 255), 3)  # through the centre of the box, down to the right
    angle = float(np.degrees(np.arctan2(40, 60)))
    image = crop(frame, np.asarray([60, 60, 140, 140, 1], np.float32), margin=0, size_px=80, angle=angle)
    rows, columns = np.nonzero(image[..., 0] > 128)
    assert rows.mean() == pytest.approx(40, abs=1)
    assert columns.mean() == pytest.approx(40, abs=1)
    assert rows.std() < 2
    assert columns.std() > 15


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    image = crop(stripes, np.asarray([0, 0, 400, 400, 1], np.float32), margin=0, size_px=50)
    assert np.abs(image.astype(int) - 127).max() < 40


def write_video(path: Path, frames: list[NDArray[np.uint8]]) -> Path:
    return write_media(path, frames=np.stack(frames))


def test_frames_of_the_person_are_kept_and_short_gaps_filled(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    hidden = portrait.copy()
    hidden[50:150, 80:170] = 127
    path = write_video(tmp_path / "a.mp4", [hidden] * 4 + [portrait] * 2 + [hidden] + [portrait] * 3 + [hidden] * 2)
    result = extract_faces(path, FacesConfig(frames_per_clip=12, size_px=64, fill_gaps=1))
    np.testing.assert_allclose(result.times, np.arange(4, 10) / 25, atol=1e-6)
    assert result.sources.tolist() == [0, 0, 1, 0, 0, 0]
    assert result.face_counts.tolist() == [1, 1, 0, 1, 1, 1]
    images = [decode_jpeg(file) for file in result.crops]
    assert [image.shape for image in images] == [(64, 64, 3)] * 6
    x1, y1, x2, y2 = (round(float(value)) for value in result.boxes[0][:4])
    assert abs(int(images[0].mean()) - int(portrait[y1:y2, x1:x2].mean())) < 30


@pytest.mark.parametrize("fill_gaps", [0, 2, 9])
def test_no_face_is_invented_in_another_scene(tmp_path: Path, portrait: NDArray[np.uint8], fill_gaps: int) -> None:
    landscape = np.linspace((90, 140, 230), (20, 90, 30), 256).astype(np.uint8)[:, None].repeat(256, 1)
    lettering = np.zeros_like(portrait)
    cv2.putText(lettering, "THE END", (20, 140), cv2.FONT_HERSHEY_DUPLEX, 1.5, (255, 255, 255))
    scenes: list[list[NDArray[np.uint8]]] = [
        [landscape] * 2,
        [portrait] * 3,
        [lettering] * 2,
        [portrait] * 3,
        [landscape] * 2,
    ]
    path = write_video(tmp_path / "a.mp4", [frame for scene in scenes for frame in scene])
    result = extract_faces(path, FacesConfig(frames_per_clip=12, size_px=64, fill_gaps=fill_gaps))
    assert (result.sources == 0).all()
    assert set(np.round(result.times * 25).astype(int)) <= {2, 3, 4, 7, 8, 9}
    assert len(result.times) == (3 if fill_gaps < 2 else 6)


def test_a_clip_without_a_face_has_no_crops_or_whole_frames_or_is_excluded(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    wide = np.pad(np.full_like(portrait, 127), ((0, 0), (0, 64), (0, 0)))
    path = write_video(tmp_path / "a.mp4", [wide] * 4)
    with pytest.raises(AbsentModalityError, match="no face was found"):
        extract_faces(path, FacesConfig())
    result = extract_faces(path, FacesConfig(no_face="whole_frame", size_px=64))
    assert result.sources.tolist() == [2] * 4
    assert result.boxes.tolist() == [[0, 0, 320, 256, 0]] * 4
    first = decode_jpeg(result.crops[0])
    assert (first[:, :40] > 100).all()  # all of the frame, its black right fifth too
    assert (first[:, -8:] < 40).all()
    with pytest.raises(ExcludedClipError, match=r"faces\.no_face is exclude"):
        extract_faces(path, FacesConfig(no_face="exclude"))


@pytest.mark.parametrize("no_face", ["drop_visual", "exclude", "whole_frame"])
def test_a_picture_of_one_colour_is_none(tmp_path: Path, no_face: str) -> None:
    path = write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), level, np.uint8) for level in (0, 90, 180)])
    with pytest.raises(AbsentModalityError, match="its picture is one colour throughout"):
        extract_faces(path, FacesConfig.model_validate({"no_face": no_face}))


def test_a_frame_too_small_for_a_face_is_a_clip_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [np.zeros((8, 8, 3), np.uint8)] * 2)
    with pytest.raises(ClipError, match="8 x 8 pixels is too small for a face"):
        extract_faces(path, FacesConfig())


def test_a_detector_can_be_a_users_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait: NDArray[np.uint8]
) -> None:
    (tmp_path / "detector_elsewhere.py").write_text(
        "import numpy as np\n"
        "def build(config):\n"
        "    return lambda frames: [np.asarray([[10, 20, 110, 120, 1]], np.float32)] * len(frames)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = FacesConfig(detector="detector_elsewhere:build", frames_per_clip=2)
    result = extract_faces(write_video(tmp_path / "a.mp4", [portrait] * 2), config)
    assert result.boxes.tolist() == [[10, 20, 110, 120, 1]] * 2


def test_eyes_are_levelled_only_by_a_detector_that_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait: NDArray[np.uint8]
) -> None:
    (tmp_path / "eyed_detector.py").write_text(
        "import numpy as np\n"
        "def build(config):\n"
        "    row = [[10, 20, 110, 120, 1, 40, 50, 80, 90]]\n"
        "    return lambda frames: [np.asarray(row, np.float32)] * len(frames)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write_video(tmp_path / "a.mp4", [portrait] * 2)
    config = FacesConfig(detector="eyed_detector:build", frames_per_clip=2, align="eyes")
    assert extract_faces(path, config).angles.tolist() == pytest.approx([45, 45])
    assert extract_faces(path, config).boxes.shape == (2, 5)
    assert extract_faces(path, config.model_copy(update={"align": "none"})).angles.tolist() == [0, 0]
    with pytest.raises(ParameterError, match="cascade does not: blazeface"):
        extract_faces(path, FacesConfig(align="eyes"))


def test_the_cascade_follows_a_face_that_moves(portrait: NDArray[np.uint8]) -> None:
    moved = np.pad(portrait, ((20, 0), (30, 0), (0, 0)), mode="edge")[:256, :256]
    before, after = (boxes[0] for boxes in detect(np.stack([portrait, moved]), FacesConfig()))
    assert ((after - before)[[0, 2]]).mean() == pytest.approx(30, abs=6)
    assert ((after - before)[[1, 3]]).mean() == pytest.approx(20, abs=6)


def test_the_crops_of_ravdess_stay_under_a_gigabyte(portrait: NDArray[np.uint8]) -> None:
    grain = np.random.default_rng(0).normal(0, 6, (512, 512, 3))  # of a video in poor light, which compresses worst
    frame = np.clip(cv2.resize(portrait, (512, 512)) + grain, 0, 255).astype(np.uint8)
    image = crop(frame, np.asarray([170, 120, 350, 320, 1], np.float32), margin=0.25, size_px=224)
    jpeg = encode_jpeg(image)
    assert 1440 * 16 * len(jpeg) < 1e9
    assert np.abs(decode_jpeg(jpeg) - image.astype(float)).mean() < 4  # of 255: less than the grain


@pytest.mark.parametrize(("width", "height"), [(20, 20000), (20000, 20), (8, 64), (40000, 64)])
def test_a_picture_that_is_too_narrow_for_a_face_is_refused(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((height, width), np.uint8), format="gray")
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(ClipError, match=rf"^its frame of {width} x {height} pixels (is too small|has a side of more)"):
        extract_faces(path, FacesConfig())


def watch_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives, for each decoded full-size frame, how many are in memory."""
    decode: Callable[[av.VideoFrame], NDArray[np.uint8]] = media_frames._to_upright_rgb
    images: list[weakref.ref[NDArray[np.uint8]]] = []
    alive: list[int] = []

    def watched(frame: av.VideoFrame) -> NDArray[np.uint8]:
        image = decode(frame)
        images.append(weakref.ref(image))
        alive.append(sum(reference() is not None for reference in images))
        return image

    monkeypatch.setattr(media_frames, "_to_upright_rgb", watched)
    return alive


def test_large_frames_are_held_one_by_one_and_give_the_same_crops(
    tmp_path: Path, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.asarray(cv2.resize(portrait, (700, 700)), np.uint8)
    path = write_video(tmp_path / "a.mp4", [np.roll(large, 9 * shift, 1) for shift in range(6)])
    config = FacesConfig(frames_per_clip=6)
    kept = to_columns(extract_faces(path, config))
    assert len(kept["times"]) == 6
    monkeypatch.setattr(media_frames, "KEPT_BYTES", 0)
    alive = watch_frames(monkeypatch)
    again = to_columns(extract_faces(path, config))
    assert len(alive) == 12  # for detection, and for the crops
    assert max(alive) <= 2  # a frame, and the one that replaces it
    for name, values in kept.items():
        np.testing.assert_array_equal(again[name], values)


def test_the_step_keeps_the_limits_of_the_run(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    path = write_video(tmp_path / "a.mp4", [portrait] * 25)
    reasons = {}
    for limit in ({"max_pixels": 65535}, {"max_decoded_s": 0.5}, {}):
        run = ExecutionConfig.model_validate({"scheduler": "synchronous", "max_failures": 1, **limit})
        jobs = [ClipJob("a", "0", lambda: ClipFiles(path, path))]
        reasons[str(limit)] = write_faces(tmp_path / "a.h5", jobs, FacesConfig(), run=run, quiet=True).failures
    assert list(reasons.values()) == [
        {"a": "its picture of 256 x 256 pixels is larger than run.max_pixels = 65535 allows"},
        {"a": "lasts longer than run.max_decoded_s = 0.5 s allows"},
        {},
    ]
