"""Eye positions of FAN against face-alignment, with random weights: the published ones cannot be fetched."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import read_frames, write_media
from face_alignment import utils
from face_alignment.api import FaceAlignment, LandmarksType
from face_alignment.models import FAN
from numpy.typing import NDArray
from skimage.data import astronaut

from pipeline.base.errors import WeightsError
from pipeline.faces.crops import FacesConfig, extract_faces, weights_digest
from pipeline.faces.landmarks import STACKS, TIGHT_SCALE, Placement, crop_for_eyes, find_eyes, find_placement

pytestmark = pytest.mark.slow

FACE = (170, 60, 280, 190)  # of the astronaut


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run face-alignment's functions as Python: to compile them takes longer than the network."""
    for name in ("_get_preds_fromhm", "transform_np"):
        monkeypatch.setattr(utils, name, getattr(utils, name).py_func)


@pytest.fixture(scope="module")
def network() -> FAN:
    torch.manual_seed(0)
    return FAN(STACKS).eval()


@pytest.fixture(scope="module")
def weights(network: FAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fan.pth"
    torch.save(network.state_dict(), path)
    return path


def reference(network: FAN, frame: NDArray[np.uint8], box: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Return the eyes (4,) from the 68 landmarks that face-alignment finds for one face in one image."""
    alignment = FaceAlignment.__new__(FaceAlignment)  # its constructor fetches weights
    alignment.device, alignment.dtype, alignment.flip_input, alignment.max_batch_size = "cpu", torch.float32, False, 1
    alignment.landmarks_type, alignment.face_alignment_net = LandmarksType.TWO_D, network
    alignment.face_detector = SimpleNamespace(reference_scale=scale)
    (points,) = alignment.get_landmarks_from_image(frame, [box.tolist()])
    return np.concatenate([points[36:42].mean(0), points[42:48].mean(0)])


@pytest.mark.parametrize(("detector", "scale"), [("cascade", 195), ("yunet", TIGHT_SCALE)])
def test_eyes_agree_with_face_alignment(network: FAN, weights: Path, detector: str, scale: int) -> None:
    boxes = np.asarray([(*FACE, 1), (0, 0, 90, 120, 1), (190, 70, 270, 170, 1)])
    frames = np.stack([np.roll(astronaut(), shift, 1) for shift in (5, 0, 20)])
    expected = [reference(network, *one, scale) for one in zip(frames, boxes.astype(np.float32), strict=True)]
    placements = [find_placement(box, detector=detector) for box in boxes.astype(np.float32)]
    crops = [crop_for_eyes(*one) for one in zip(frames, placements, strict=True)]
    eyes = find_eyes(crops, placements, weights=weights)
    np.testing.assert_allclose(eyes, expected, atol=1)  # a pixel: where two places are equally warm


def test_crops_are_turned_by_the_eyes_of_fan_with_any_detector(network: FAN, weights: Path, tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mp4", frames=np.stack([astronaut()] * 2))
    config = FacesConfig(frames_per_clip=2, align="fan", landmark_weights=str(weights))
    faces = extract_faces(film, config)
    frames, _ = read_frames(film, count=2)
    across = reference(network, frames[0], faces.boxes[0], 195).reshape(2, 2)
    expected = np.degrees(np.arctan2(*(across[1] - across[0])[::-1]))
    assert abs(expected) > 5
    assert faces.angles == pytest.approx([expected] * 2, abs=0.1)


def test_other_weights_have_another_digest_and_unsuitable_ones_are_named(weights: Path, tmp_path: Path) -> None:
    config = FacesConfig(align="fan", landmark_weights=str(weights))
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    assert weights_digest(config) != weights_digest(config.model_copy(update={"landmark_weights": str(other)}))
    assert weights_digest(FacesConfig(landmark_weights=str(other))) == ""  # no file is read
    for content in (other.read_bytes(), b"no weights"):
        other.write_bytes(content)
        with pytest.raises(WeightsError, match=f"^{other} (does not hold|is not a readable) [^\n]+$"):
            find_eyes([astronaut()[:256, :256]], [Placement(np.zeros(2), 1)], weights=other)
    with pytest.raises(WeightsError, match=r"^faces\.landmark_weights: nowhere\.pth does not exist; leave it empty"):
        weights_digest(config.model_copy(update={"landmark_weights": "nowhere.pth"}))
