"""Where faces are: detectors behind one contract.

A detector is a function of a batch of frames (B, H, W, 3) RGB uint8; it returns B arrays (n, 5) float32 of boxes
x1, y1, x2, y2, score in pixels, n may be 0. One that sees the eyes too returns (n, 9), with x, y of the left and of the
right one as the picture shows them. A table entry is a builder: called once a process with the section's configuration,
it returns the detector. A detector that looks boxes up instead of looking at pixels is a `Lookup`.

Most networks are those of face-alignment. Its detector classes alone are used: the class `FaceAlignment` would load
landmark weights, compile, and change global settings of cuDNN.
"""

import importlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import WeightsError
from pipeline.faces.contract import Boxes, Detector, DetectorConfig, Frames, as_boxes
from pipeline.weights.files import WeightFile, fetch_weights

FRAMES_AT_ONCE = 2  # more outgrow the processor's cache: slower, and they need more memory
OVERLAP = {"sfd": 0.3, "retinaface": 0.4}  # boxes that overlap more (IoU) are one face, as in face-alignment
MEAN_COLOUR = (104.0, 117.0, 123.0)
BLAZEFACE = "https://github.com/hollance/BlazeFace-PyTorch/raw/master"
ANCHORS = "a10bb2fb93ab54ca426d6c750bfc3aad685028a16dcf231357d03694f261fd95"
FACE_ALIGNMENT = "https://www.adrianbulat.com/downloads/python-fan"
WEIGHT_FILES = {
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
    # No checksum of these two is published.
    "retinaface": (WeightFile(f"{FACE_ALIGNMENT}/retinaface_mobilenet0.25.pth", ""),),
    "scrfd": (WeightFile("https://github.com/yakhyo/facial-analysis/releases/download/v0.0.1/det_2.5g.onnx", ""),),
}


def weight_files(config: DetectorConfig) -> list[Path]:
    """Return the files that the detector reads: none, one, or a network and its anchors, which lie side by side."""
    published = WEIGHT_FILES.get(config.detector, ())
    if not config.weights:
        return [fetch_weights(file) for file in published]
    given = Path(config.weights)
    files = [given, *(given.with_name(file.name) for file in published[1:])]
    for file in files:
        if not file.is_file():
            raise WeightsError(f"faces.weights: {file} is not there; leave it empty to fetch the published ones")
    return files


def blazeface(config: DetectorConfig, *, back: bool = False) -> Detector:
    """BlazeFace: its front model sees the frame's central square at 128 x 128 pixels, its back model at 256 x 256."""
    import torch

    weights, anchors = map(str, weight_files(config))
    paths = {"path_to_detector": weights, "path_to_anchor": anchors, "min_score_thresh": config.min_score}
    network = _face_alignment("blazeface", back_model=back, **paths).face_detector
    network.to(memory_format=torch.channels_last)  # with a few frames at once, nearly twice as fast
    side = 256 if back else 128

    def some(frames: Frames) -> list[Boxes]:
        height, width = frames.shape[1:3]
        short = min(height, width)
        left, top = (width - short) // 2, (height - short) // 2
        squares = frames[:, top : top + short, left : left + short]
        small = np.stack([cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA) for square in squares])
        with torch.inference_mode():
            found = network.predict_on_batch(small)
        place = np.asarray((left, top) * 2, np.float32)
        # A row is y1, x1, y2, x2 in 0..1, six points of the face (the eyes first), the score.
        rows = [faces.numpy() for faces in found]
        return [
            np.hstack([row[:, [1, 0, 3, 2]] * short + place, row[:, -1:], row[:, 4:8] * short + place]) for row in rows
        ]

    return partial(_in_parts, some)


def yunet(config: DetectorConfig) -> Detector:
    """YuNet, run by OpenCV."""
    (weights,) = weight_files(config)
    cv2.setNumThreads(1)
    network = _face_alignment("yunet", path_to_detector=str(weights), score_threshold=config.min_score).face_detector

    def detect(frames: Frames) -> list[Boxes]:
        network.setInputSize(frames.shape[2:0:-1])
        found = [network.detect(np.ascontiguousarray(frame[..., ::-1]))[1] for frame in frames]
        # A row is x, y, width, height, five points of the face (the eyes first), the score.
        rows = [np.empty((0, 15), np.float32) if faces is None else faces for faces in found]
        return [np.hstack([row[:, :2], row[:, :2] + row[:, 2:4], row[:, -1:], row[:, 4:8]]) for row in rows]

    return detect


def retinaface(config: DetectorConfig) -> Detector:
    """RetinaFace on MobileNet-0.25."""
    import torch
    from torchvision.ops import nms

    (weights,) = weight_files(config)
    network = _face_alignment("retinaface", path_to_detector=str(weights)).face_detector
    box_utils = importlib.import_module("face_alignment.detection.retinaface.box_utils")
    prior_box = importlib.import_module("face_alignment.detection.retinaface.prior_box")
    settings = importlib.import_module("face_alignment.detection.retinaface.net_retinaface").cfg_mnet

    @cache  # Python loops over all places of the frame: for a video, once is enough
    def priors(height: int, width: int) -> Any:
        return prior_box.PriorBox(settings, image_size=(height, width)).forward()

    def some(frames: Frames) -> list[Boxes]:
        height, width = frames.shape[1:3]
        images = torch.from_numpy(frames).permute(0, 3, 1, 2) - torch.tensor(MEAN_COLOUR).view(3, 1, 1)
        with torch.inference_mode():
            places, confidence, points = network(images)
        whole = torch.tensor((width, height) * 2)
        found = []
        for place, scores, marks in zip(places, confidence[..., 1], points, strict=True):
            sure = scores > config.min_score
            near = priors(height, width)[sure]
            boxes = box_utils.decode(place[sure], near, settings["variance"]) * whole
            # Of five points the first two: offsets from the prior's centre, in its own size.
            eyes = near[:, [0, 1] * 2] + marks[sure, :4] * settings["variance"][0] * near[:, [2, 3] * 2]
            kept = nms(boxes, scores[sure], OVERLAP["retinaface"])
            found.append(torch.cat([boxes, scores[sure, None], eyes * whole], 1)[kept].numpy())
        return found

    return partial(_in_parts, some)


def sfd(config: DetectorConfig) -> Detector:
    """S3FD, face-alignment's default."""
    import torch
    from torchvision.ops import nms

    (weights,) = weight_files(config)
    network = _face_alignment("sfd", path_to_detector=str(weights)).face_detector
    decode = importlib.import_module("face_alignment.detection.sfd.bbox").decode

    def some(frames: Frames) -> list[Boxes]:
        images = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            output = network(images - torch.tensor(MEAN_COLOUR).view(3, 1, 1))
        found: list[list[NDArray[np.float32]]] = [[] for _ in frames]
        for level, (classes, regression) in enumerate(zip(output[::2], output[1::2], strict=True)):
            stride = 2 ** (level + 2)
            scores = classes.softmax(1)[:, 1].numpy()
            frame, row, column = np.nonzero(scores > config.min_score)
            centres = np.stack([column, row], 1) * stride + stride / 2
            anchors = np.hstack([centres, np.full_like(centres, 4 * stride)])
            boxes = decode(regression.numpy()[frame, :, row, column], anchors, (0.1, 0.2))
            rows = np.hstack([boxes, scores[frame, row, column][:, None]])
            for number in range(len(frames)):
                found[number].append(rows[frame == number])
        joined = [torch.from_numpy(np.concatenate(rows)).float() for rows in found]
        return [as_boxes(rows[nms(rows[:, :4], rows[:, 4], OVERLAP["sfd"])].numpy()) for rows in joined]

    return partial(_in_parts, some)


def scrfd(config: DetectorConfig) -> Detector:
    """SCRFD, run by ONNX Runtime on one thread; the input is as large as the frame, and not always 640 x 640."""
    (weights,) = weight_files(config)
    network = _face_alignment("scrfd", path_to_detector=str(weights), confidence_threshold=config.min_score)
    network.session = one_thread(str(weights))

    def detect(frames: Frames) -> list[Boxes]:
        network.input_size = tuple(-(-side // 32) * 32 for side in frames.shape[2:0:-1])  # width, height
        return [as_boxes(network.detect_from_image(frame)) for frame in frames]

    return detect


def one_thread(weights: str) -> Any:
    """Return ONNX Runtime's session of a network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _face_alignment(name: str, **options: Any) -> Any:
    """Return face-alignment's detector of that name, on one thread."""
    import torch

    torch.set_num_threads(1)
    module = importlib.import_module(f"face_alignment.detection.{name}")
    return module.FaceDetector(device="cpu", **options)


def _in_parts(detect: Detector, frames: Frames) -> list[Boxes]:
    parts = [frames[start : start + FRAMES_AT_ONCE] for start in range(0, len(frames), FRAMES_AT_ONCE)]
    return [boxes for part in parts for boxes in detect(part)]
