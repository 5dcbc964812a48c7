"""The published weights of all models, and which of them a section of the parameters needs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.base.errors import WeightsError
from pipeline.base.vision import import_torchvision
from pipeline.weights.files import WeightFile, check_weights, fetch_weights

DEFAULT_BACKBONE = "resnet34"
IMAGENET = "imagenet"  # the value of a backbone's `weights` that stands for the published ones
RANDOM = "random"
PRESET = "IMAGENET1K_V1"
BLAZEFACE = "https://github.com/hollance/BlazeFace-PyTorch/raw/master"
ANCHORS = "a10bb2fb93ab54ca426d6c750bfc3aad685028a16dcf231357d03694f261fd95"
FACE_ALIGNMENT = "https://www.adrianbulat.com/downloads/python-fan"
DETECTOR_FILES = {
    "sfd": (WeightFile(f"{FACE_ALIGNMENT}/s3fd-619a316812.pth", "619a316812"),),
    "blazeface": (
        WeightFile(f"{BLAZEFACE}/blazeface.pth", "54ecff653feaaaf1f7d44b6aff28fd2fc50e483a4e847563b6dd261369c43ba4"),
        WeightFile(f"{BLAZEFACE}/anchors.npy", ANCHORS),
    ),
    "blazeface_back": (
        WeightFile(
            f"{BLAZEFACE}/blazefaceback.pth", "e2c03bb3ae45e769eaaa0a7cc7d4f61f54a5e3fbae6367d870166702e7022b11"
        ),
        WeightFile(f"{BLAZEFACE}/anchorsback.npy", ANCHORS),
    ),
    "yunet": (
        WeightFile(
            "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    ),
    # The authors of these two publish no checksum.
    "retinaface": (WeightFile(f"{FACE_ALIGNMENT}/retinaface_mobilenet0.25.pth", ""),),
    "scrfd": (WeightFile("https://github.com/yakhyo/facial-analysis/releases/download/v0.0.1/det_2.5g.onnx", ""),),
}
LANDMARK_FILES = {"fan": (WeightFile(f"{FACE_ALIGNMENT}/2DFAN4-11f355bf06.pth.tar", "11f355bf06"),)}


@cache
def backbone_files() -> dict[str, WeightFile]:
    """Return the weight file of each classification network of torchvision that has weights of ImageNet.

    The name of such a file ends with the first digits of its sha256.
    """
    import_torchvision()
    import torchvision
    from torchvision.models import get_model_weights, list_models

    presets = {name: get_model_weights(name).__members__.get(PRESET) for name in list_models(module=torchvision.models)}
    urls = {name: preset.url for name, preset in presets.items() if preset}
    return {name: WeightFile(url, Path(url).stem.rpartition("-")[2]) for name, url in urls.items()}


@dataclass(frozen=True)
class RequiredWeights:
    """The weight files that one key of the parameters asks for."""

    key: str
    given: str  # the file that the key names; empty: the published files
    published: tuple[WeightFile, ...]  # none, one, or a network and the files that must be next to it
    alternatives: str  # what else the key may say, for the error about a file that does not exist

    @property
    def paths(self) -> list[Path]:
        """The paths of the files, whether or not they exist."""
        if not self.given:
            return [file.path for file in self.published]
        given = Path(self.given)
        return [given, *(given.with_name(file.name) for file in self.published[1:])]

    def fetch(self) -> list[Path]:
        """Return the paths of the files; those of published files, after they are downloaded and verified.

        Raise `WeightsError` if a file does not exist and cannot be downloaded, or is not the published one.
        """
        self._require_given_files()
        return self.paths if self.given else [fetch_weights(file) for file in self.published]

    def check(self) -> list[WeightFile]:
        """Raise the error of `fetch` without downloading anything; return the published files that are missing."""
        self._require_given_files()
        if self.given:
            return []
        for file in self.published:
            check_weights(file)
        return [file for file in self.published if not file.path.exists()]

    def _require_given_files(self) -> None:
        for path in self.paths if self.given else ():
            if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
                raise WeightsError(f"{self.key}: {path} does not exist; {self.alternatives}")


def detector_weights(detector: str, given: str) -> RequiredWeights:
    """Return what a detector reads if `faces.weights` is `given`."""
    files = DETECTOR_FILES.get(detector, ())
    return RequiredWeights("faces.weights", given, files, "leave it empty to use the published ones")


def landmark_weights(given: str) -> RequiredWeights:
    """Return what FAN reads if `faces.landmark_weights` is `given`."""
    files = LANDMARK_FILES["fan"]
    return RequiredWeights("faces.landmark_weights", given, files, "leave it empty to use the published ones")


def backbone_weights(backbone: str, weights: str, *, key: str = "weights") -> RequiredWeights:
    """Return what a backbone reads if `weights` is the value of its key; a user's backbone has no published files."""
    files = (backbone_files()[backbone],) if weights == IMAGENET and backbone in backbone_files() else ()
    given = "" if weights in (IMAGENET, RANDOM) else weights
    return RequiredWeights(key, given, files, "give a state dict, imagenet or random")


def section_weights(section: str, values: Mapping[str, Any], *, row: str = "") -> Iterator[RequiredWeights]:
    """Yield what a section of the parameters needs: `faces`, or one of a backbone such as `embed_mels`.

    `values` is its content; a key that it lacks has its default. `row` is the row of `ablations` that it belongs to.
    """
    for required in _section_weights(section, values):
        yield replace(required, key=f"ablations.{row}.{required.key}") if row else required


def _section_weights(section: str, values: Mapping[str, Any]) -> Iterator[RequiredWeights]:
    weights = str(values.get("weights") or "")
    if section != "faces":
        backbone = str(values.get("backbone", DEFAULT_BACKBONE))
        yield backbone_weights(backbone, weights or IMAGENET, key=f"{section}.weights")
        return
    yield detector_weights(str(values.get("detector")), weights)
    if values.get("align") == "fan":
        yield landmark_weights(str(values.get("landmark_weights") or ""))
