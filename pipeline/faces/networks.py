"""Detectors that are networks, and the weights they read.

Most are those of face-alignment. Only its detector classes are used: its class `FaceAlignment` would load landmark
weights, compile, and change global settings of cuDNN.
"""

import importlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.vision import import_torchvision
from pipeline.faces.contract import Boxes, Detector, DetectorConfig, Frames, as_boxes
from pipeline.weights.loading import report_misfit, require_finite, require_one_onnx_file
from pipeline.weights.published import detector_weights

FRAMES_AT_ONCE = 2  # more frames do not fit into the processor's cache: slower, and more memory
OVERLAP = {"sfd": 0.3, "retinaface": 0.4}  # boxes with a larger overlap (IoU) are one face, as in face-alignment
ONNX = ("scrfd", "yunet")
MEAN_COLOUR = (104.0, 117.0, 123.0)


def weight_files(config: DetectorConfig) -> list[Path]:
    """Return the files that the detector reads: none, one, or a network and its anchors in the same folder."""
    return detector_weights(config.detector, config.weights).fetch()


def blazeface(config: DetectorConfig, *, back: bool = False) -> Detector:
    """BlazeFace: the front model reads the frame's central square at 128 x 128 pixels, the back model at 256 x 256."""
    import torch

    weights, anchors = weight_files(config)
    options = {"path_to_anchor": str(anchors), "min_score_thresh": config.min_score}
    network = _face_alignment("blazeface", weights, back_model=back, **options).face_detector
    network.to(memory_format=torch.channels_last)  # nearly twice as fast with a few frames at once
    side = 256 if back else 128

    def detect(frames: Frames) -> list[Boxes]:
        height, width = frames.shape[1:3]
        short = min(height, width)
        left, top = (width - short) // 2, (height - short) // 2
        squares = frames[:, top : top + short, left : left + short]
        small = np.stack([cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA) for square in squares])
        with torch.inference_mode():
            detections = network.predict_on_batch(small)
        corner = np.asarray((left, top) * 2, np.float32)
        # A row is y1, x1, y2, x2 in 0..1, six points of the face (the eyes first), the score.
        rows = [faces.numpy() for faces in detections]
        return [
            np.hstack([row[:, [1, 0, 3, 2]] * short + corner, row[:, -1:], row[:, 4:8] * short + corner])
            for row in rows
        ]

    return partial(_in_batches, detect)


def yunet(config: DetectorConfig) -> Detector:
    """YuNet, run by OpenCV."""
    (weights,) = weight_files(config)
    cv2.setNumThreads(1)
    # face-alignment sets a target that OpenCV ignores, with a warning.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    network = _face_alignment("yunet", weights, score_threshold=config.min_score).face_detector

    def detect(frames: Frames) -> list[Boxes]:
        network.setInputSize(frames.shape[2:0:-1])
        detections = [network.detect(np.ascontiguousarray(frame[..., ::-1]))[1] for frame in frames]
        # A row is x, y, width, height, five points of the face (the eyes first), the score.
        rows = [np.empty((0, 15), np.float32) if faces is None else faces for faces in detections]
        return [np.hstack([row[:, :2], row[:, :2] + row[:, 2:4], row[:, -1:], row[:, 4:8]]) for row in rows]

    return detect


def retinaface(config: DetectorConfig) -> Detector:
    """RetinaFace on MobileNet-0.25."""
    import torch

    import_torchvision()
    from torchvision.ops import nms

    (weights,) = weight_files(config)
    network = _face_alignment("retinaface", weights).face_detector
    box_utils = importlib.import_module("face_alignment.detection.retinaface.box_utils")
    prior_box = importlib.import_module("face_alignment.detection.retinaface.prior_box")
    settings = importlib.import_module("face_alignment.detection.retinaface.net_retinaface").cfg_mnet

    @cache  # a Python loop over all positions of the frame; one run per video is enough
    def priors(height: int, width: int) -> Any:
        return prior_box.PriorBox(settings, image_size=(height, width)).forward()

    def detect(frames: Frames) -> list[Boxes]:
        height, width = frames.shape[1:3]
        images = torch.from_numpy(frames).permute(0, 3, 1, 2) - torch.tensor(MEAN_COLOUR).view(3, 1, 1)
        with torch.inference_mode():
            offsets, confidence, points = network(images)
        scale = torch.tensor((width, height) * 2)
        detections = []
        for offset, scores, point in zip(offsets, confidence[..., 1], points, strict=True):
            confident = scores > config.min_score
            anchors = priors(height, width)[confident]
            boxes = box_utils.decode(offset[confident], anchors, settings["variance"]) * scale
            # The eyes are the first two of five points: offsets from the anchor's centre, in units of its size.
            eyes = anchors[:, [0, 1] * 2] + point[confident, :4] * settings["variance"][0] * anchors[:, [2, 3] * 2]
            kept = nms(boxes, scores[confident], OVERLAP["retinaface"])
            detections.append(torch.cat([boxes, scores[confident, None], eyes * scale], 1)[kept].numpy())
        return detections

    return partial(_in_batches, detect)


def sfd(config: DetectorConfig) -> Detector:
    """S3FD, face-alignment's default."""
    import torch

    import_torchvision()
    from torchvision.ops import nms

    (weights,) = weight_files(config)
    network = _face_alignment("sfd", weights).face_detector
    decode = importlib.import_module("face_alignment.detection.sfd.bbox").decode

    def detect(frames: Frames) -> list[Boxes]:
        images = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            output = network(images - torch.tensor(MEAN_COLOUR).view(3, 1, 1))
        detections: list[list[NDArray[np.float32]]] = [[] for _ in frames]
        for level, (classes, regression) in enumerate(zip(output[::2], output[1::2], strict=True)):
            stride = 2 ** (level + 2)
            scores = classes.softmax(1)[:, 1].numpy()
            frame, row, column = np.nonzero(scores > config.min_score)
            centres = np.stack([column, row], 1) * stride + stride / 2
            anchors = np.hstack([centres, np.full_like(centres, 4 * stride)])
            boxes = decode(regression.numpy()[frame, :, row, column], anchors, (0.1, 0.2))
            rows = np.hstack([boxes, scores[frame, row, column][:, None]])
            for number in range(len(frames)):
                detections[number].append(rows[frame == number])
        joined = [torch.from_numpy(np.concatenate(rows)).float() for rows in detections]
        return [as_boxes(rows[nms(rows[:, :4], rows[:, 4], OVERLAP["sfd"])].numpy()) for rows in joined]

    return partial(_in_batches, detect)


def scrfd(config: DetectorConfig) -> Detector:
    """SCRFD, run by ONNX Runtime on one thread, at the size of the frame instead of 640 x 640."""
    (weights,) = weight_files(config)
    network = _face_alignment("scrfd", weights, confidence_threshold=config.min_score)
    network.session = single_thread_session(str(weights))

    def detect(frames: Frames) -> list[Boxes]:
        network.input_size = tuple(-(-side // 32) * 32 for side in frames.shape[2:0:-1])  # width, height
        return [as_boxes(network.detect_from_image(frame)) for frame in frames]

    return detect


def single_thread_session(weights: str) -> Any:
    """Return an ONNX Runtime session of a network, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _face_alignment(name: str, weights: Path, **options: Any) -> Any:
    """Return the detector of this name of face-alignment, on one thread; raise WeightsError if it cannot be read."""
    import torch

    torch.set_num_threads(1)
    module = importlib.import_module(f"face_alignment.detection.{name}")
    if name in ONNX:
        require_one_onnx_file(weights)
    with report_misfit(weights, f"does not hold the weights of {name}"):
        detector = module.FaceDetector(device="cpu", path_to_detector=str(weights), **options)
    if name not in ONNX:
        require_finite(detector.face_detector, weights)
    return detector


def _in_batches(detect: Detector, frames: Frames) -> list[Boxes]:
    batches = [frames[start : start + FRAMES_AT_ONCE] for start in range(0, len(frames), FRAMES_AT_ONCE)]
    return [boxes for batch in batches for boxes in detect(batch)]
