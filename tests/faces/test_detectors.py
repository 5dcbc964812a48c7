"""Detectors: the contract, real weights on real images, and agreement with face-alignment's single-image call."""

import importlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import SHARED, read_frames
from numpy.typing import NDArray
from skimage.data import astronaut, lbp_frontal_face_cascade_filename

from benchmarks.detectors import WEIGHTS, boxes_of, face_alignment
from pipeline.base.errors import ParameterError, WeightsError
from pipeline.base.files import file_sha256
from pipeline.base.params import check
from pipeline.faces.checks import check_boxes
from pipeline.faces.contract import BoxSource, DetectorConfig
from pipeline.faces.crops import FacesConfig, detect
from pipeline.faces.detectors import DETECTORS, cascade, load_detector, slow_cascade, weights_digest
from pipeline.faces.tracks import overlap
from pipeline.weights.published import DETECTOR_FILES

# The astronaut's face in the image of 512 x 512, measured by hand: eyes and mouth, with a margin.
FACE = (180, 70, 270, 180)
EYES = (
    "blazeface",
    "blazeface_back",
    "retinaface",
    "yunet",
)  # detectors that find the eyes
EYES_AT = ((202.5 - 96, 101), (246.5 - 96, 103.5))  # in `portrait`


def weights_of(name: str, folder: Path) -> str:
    """Return a weights file for the detector; skip the test without one."""
    if name == "cascade":
        return ""
    if name == "sfd":  # its real weights are not available: a network of the right shape with random weights
        torch.manual_seed(0)
        net = importlib.import_module("face_alignment.detection.sfd.net_s3fd").s3fd()
        torch.save(net.state_dict(), folder / "sfd.pth")
        return str(folder / "sfd.pth")
    path = SHARED / "weights" / WEIGHTS[name]
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    return str(path)


def faces_config(name: str, folder: Path, **options: Any) -> FacesConfig:
    return FacesConfig(detector=name, weights=weights_of(name, folder), **options)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """The astronaut, her face in the middle of 256 x 256."""
    return np.asarray(astronaut()[0:256, 96:352], np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - {"precomputed", "sfd"}))
def test_every_detector_finds_the_face_and_keeps_the_contract(
    name: str, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    blank = np.full_like(portrait, 127)
    config = DetectorConfig(detector=name, weights=weights_of(name, tmp_path))
    detector = load_detector(config)
    assert not isinstance(detector, BoxSource)
    frames = np.stack([portrait, blank, portrait, blank, portrait])
    detections = detector(frames)
    check_boxes(detections, frames, name=name)
    assert [len(boxes) > 0 for boxes in detections] == [True, False, True, False, True]
    assert {boxes.dtype for boxes in detections} == {np.dtype(np.float32)}
    assert {boxes.shape[1] for boxes in detections} == {9 if name in EYES else 5}
    if name in EYES:
        eyes = detections[0][0, 5:].reshape(2, 2)
        np.testing.assert_allclose(eyes, EYES_AT, atol=5)
    np.testing.assert_allclose(detections[0], detections[4], atol=1e-3)
    best = max(detections[0], key=lambda box: float(box[4] * (box[2] - box[0])))
    face = np.asarray([*(value - shift for value, shift in zip(FACE, (96, 0, 96, 0), strict=True)), 1], np.float32)
    assert overlap(best, face) > 0.45
    assert 0.5 <= best[4] <= 1


def cascade_frames() -> list[NDArray[np.uint8]]:
    """Return frames with one face, with several of different sizes, with noise, and with nothing."""
    image = np.asarray(astronaut(), np.uint8)
    several = np.tile(image[0:200, 130:330], (2, 3, 1))
    several[200:, 200:400] = cv2.resize(image[40:180, 150:290], (200, 200))
    noise = np.random.default_rng(0).integers(0, 256, (80, 150, 3), np.uint8)
    real = [read_frames(path, count=4)[0] for path in sorted((SHARED / "clips").glob("*.flv"))]
    return [image[None, 0:256, 96:352], several[None], noise[None], np.full((1, 90, 64, 3), 127, np.uint8), *real]


def test_the_cascade_finds_scikit_images_boxes() -> None:
    reference = slow_cascade(Path(lbp_frontal_face_cascade_filename()))
    detector = cascade(DetectorConfig())
    assert type(detector).__name__ == "FastCascade"
    counts = []
    for frames in cascade_frames():
        for boxes, expected in zip(detector(frames), reference(frames), strict=True):
            np.testing.assert_array_equal(boxes, expected)
            counts.append(len(expected))
    assert counts[:4] == [1, 6, 0, 0]


def test_more_windows_than_expected_are_all_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = cascade(DetectorConfig())
    assert not isinstance(detector, BoxSource)
    frames = cascade_frames()[1]
    (expected,) = detector(frames)
    monkeypatch.setattr("pipeline.faces._cascade.MANY", 3)
    np.testing.assert_array_equal(detector(frames)[0], expected)


def test_without_compiled_loops_the_cascade_says_so_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frames = cascade_frames()[1]
    detectors = [cascade(DetectorConfig())]
    monkeypatch.setitem(sys.modules, "pipeline.faces._cascade", None)
    detectors.append(cascade(DetectorConfig()))
    assert "scikit-image's loops are used, with the same boxes, slower" in caplog.text
    one, other = (detector(frames) for detector in detectors)
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_boxes_agree_with_face_alignment_on_full_size_frames(name: str, tmp_path: Path) -> None:
    config = faces_config(name, tmp_path)
    clips = sorted((SHARED / "clips").glob("*.flv"))
    if not clips:
        pytest.skip(f"{SHARED / 'clips'} does not exist")
    batches = [read_frames(path, count=8)[0] for path in clips]
    overlaps = []
    reference = face_alignment(name, config.weights)
    for frames in [*batches, np.asarray(astronaut(), np.uint8)[None]]:
        for frame, boxes in zip(frames, detect(frames, config), strict=True):
            expected = boxes_of(reference, frame)
            assert (len(boxes) > 0) == (len(expected) > 0)
            if len(boxes):
                overlaps.append(max(overlap(box, it) for box in boxes for it in expected))
    assert len(overlaps) >= 12
    assert np.mean(np.asarray(overlaps) >= 0.9) >= 0.95


@pytest.mark.slow
def test_sfd_on_batches_agrees_with_face_alignment_on_single_frames(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    weights = weights_of("sfd", tmp_path)
    frames = np.stack([portrait[shift : shift + 96, 60:156] for shift in (40, 50, 60, 70, 80)])
    module = importlib.import_module("face_alignment.detection.sfd")
    reference = module.FaceDetector(device="cpu", path_to_detector=weights)
    best = [reference.detect_from_image(frame)[0] for frame in frames]
    detector = load_detector(DetectorConfig(detector="sfd", weights=weights))
    assert not isinstance(detector, BoxSource)
    detections = detector(frames)
    for rows, row in zip(detections, best, strict=True):
        np.testing.assert_allclose(rows[0], row, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["cascade", "yunet"])
def test_boxes_are_in_pixels_of_the_full_size_frame(name: str, tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    whole, small = (
        detect(portrait[None], faces_config(name, tmp_path, detect_max_side_px=side))[0][0] for side in (256, 160)
    )
    assert overlap(whole, small) > 0.7


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"faces\.weights: .*mine\.onnx does not exist"):
        load_detector(DetectorConfig(detector="yunet", weights=str(tmp_path / "mine.onnx")))
    (tmp_path / "blaze.pth").touch()
    with pytest.raises(WeightsError, match=r"anchors\.npy does not exist"):
        load_detector(DetectorConfig(detector="blazeface", weights=str(tmp_path / "blaze.pth")))


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    assert weights_digest(DetectorConfig()) == ""
    for content in (b"one", b"two"):
        (tmp_path / f"{content.decode()}.onnx").write_bytes(content)
    digests = {weights_digest(DetectorConfig(detector="yunet", weights=str(it))) for it in tmp_path.glob("*.onnx")}
    assert len(digests) == 2


def test_checksums_of_published_weights_are_right() -> None:
    for name, local in WEIGHTS.items():
        path = SHARED / "weights" / local
        if name in ("retinaface", "scrfd") or not path.exists():  # no checksum of these is published
            continue
        for file in DETECTOR_FILES[name]:
            assert file_sha256(path if file is DETECTOR_FILES[name][0] else path.with_name(file.name)) == file.sha256


def test_a_mistyped_detector_lists_the_names() -> None:
    with pytest.raises(ParameterError, match=r"faces.detector = 'cascad'.*did you mean 'cascade'"):
        check({"detector": "cascad"}, FacesConfig, where="params.yaml: faces")
