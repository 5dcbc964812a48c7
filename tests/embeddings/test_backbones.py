"""Backbones: frozen, described by the sha256 of their weights, and equal to the networks of torchvision."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.models import ResNet34_Weights, get_model, get_model_weights
from torchvision.models import resnet34 as plain_resnet34

from pipeline.base.builders import build
from pipeline.base.errors import ParameterError, WeightsError
from pipeline.base.files import file_sha256
from pipeline.base.params import check
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig, describe_weights, load_backbone
from pipeline.embeddings.engines import embed, release_models
from pipeline.embeddings.tokens import SOURCES, embed_clip
from pipeline.media.frames import encode_jpeg
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.weights.files import WeightFile
from pipeline.weights.published import backbone_files

pytestmark = pytest.mark.slow

SMALL = BackboneConfig(weights="random", size_px=64)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def reference(images: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the last feature map (B, D, h, w) of torchvision's network, without folding, with its normalisation."""
    network = plain_resnet34(weights=None).eval()
    network.load_state_dict(state)
    preset = ResNet34_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
    features = torch.nn.Sequential(*list(network.children())[:-2])
    with torch.inference_mode():
        return features((images - mean) / std)


@pytest.fixture(scope="module")
def state_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict whose batch norms are not the identity, so that a mistake in folding them shows."""
    torch.manual_seed(1)
    network = plain_resnet34(weights=None)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name or ("bn" in name and value.is_floating_point()):
                value.copy_(0.5 + torch.rand_like(value))
    path = tmp_path_factory.mktemp("weights") / "resnet34-test.pth"
    torch.save(network.state_dict(), path)
    return path


FAMILIES = (  # one small network of each, but for maxvit, which takes ten seconds
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11_bn",
    "vit_b_32",
)
# Networks whose classifier is one matrix: applied to our pooled token, it must give the logits of torchvision.
LAST_LAYER = {
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "regnet_y_400mf": "fc",
    "resnext50_32x4d": "fc",
    "shufflenet_v2_x0_5": "fc",
}


def test_every_network_of_torchvision_with_imagenet_weights_has_a_checksum() -> None:
    assert len(BACKBONES) > 70
    assert {re.sub(r"[0-9a-f]{8,10}", "", file.sha256) for file in backbone_files().values()} == {""}


@pytest.mark.parametrize("name", ["resnet34", *FAMILIES])
def test_every_family_of_networks_keeps_the_contract(name: str) -> None:
    size_px = 224 if name in ("vit_b_32", "inception_v3") else 96
    config = BackboneConfig(backbone=name, weights="random", size_px=size_px, tokens="grid", grid=2, seed=3)
    images = torch.rand(2, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))
    tokens = embed(images, config)
    assert tokens.shape[:2] == (2, 4)
    assert tokens.dtype == torch.float32
    assert not load_backbone(config, "cpu").training
    assert not any(parameter.requires_grad for parameter in load_backbone(config, "cpu").parameters())
    # A grey image gives the same tokens as its three equal channels.
    grey = images[:, :1]
    expected = embed(grey.expand(-1, 3, -1, -1), config)
    assert (embed(grey, config) - expected).abs().max() < 1e-3 * expected.abs().max()
    if name in LAST_LAYER:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            plain = get_model(name, weights=None).eval()
        preset = get_model_weights(name)["IMAGENET1K_V1"].transforms()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
        pooled = embed(images, config.model_copy(update={"tokens": "pooled"}))[:, 0]
        with torch.inference_mode():
            expected = plain((images - mean) / std)
            torch.testing.assert_close(plain.get_submodule(LAST_LAYER[name])(pooled), expected, rtol=1e-3, atol=1e-3)
    release_models()


@pytest.mark.parametrize("convolution", ["winograd", "direct"])
def test_a_network_is_built_once_per_process(convolution: Literal["winograd", "direct"]) -> None:
    config = BackboneConfig(backbone="resnet18", weights="random", size_px=64, seed=55, convolution=convolution)
    with patch("pipeline.embeddings.backbones.build", wraps=build) as counted:
        before = describe_weights(config)
        embed(torch.zeros(1, 3, 64, 64), config)
        embed(torch.zeros(1, 1, 64, 64), config)
        assert describe_weights(config) == before
    assert counted.call_count == 1
    release_models()


def test_an_unsuitable_image_size_is_one_line() -> None:
    with pytest.raises(ParameterError, match=r"inception_v3 cannot take images of size_px = 32; it was made for 299"):
        load_backbone(BackboneConfig(backbone="inception_v3", weights="random", size_px=32), "cpu")


def test_tokens_are_the_pooled_features_of_torchvisions_network(images: torch.Tensor, state_file: Path) -> None:
    config = BackboneConfig(weights=str(state_file), size_px=64)
    expected = reference(images, torch.load(state_file, weights_only=True)).mean((2, 3))
    torch.testing.assert_close(embed(images, config)[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_grid_tokens_are_in_row_order(images: torch.Tensor, state_file: Path) -> None:
    config = BackboneConfig(weights=str(state_file), size_px=64, tokens="grid", grid=2)
    expected = reference(images, torch.load(state_file, weights_only=True))  # (3, 512, 2, 2)
    tokens = embed(images, config)
    assert tokens.shape == (3, 4, 512)
    torch.testing.assert_close(tokens[:, 1], expected[:, :, 0, 1], rtol=1e-3, atol=1e-3)


def test_random_weights_depend_on_the_seed_and_not_on_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    prints = [
        describe_weights(SMALL.model_copy(update={"seed": seed, "grid": grid}))["sha256"]
        for seed, grid in [(1, 3), (1, 4), (2, 3)]
    ]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(torch.rand(1), expected)


def test_published_weights_are_fetched_and_verified(
    state_file: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(state_file.parent))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{state_file.name}"
        right = file_sha256(state_file)
        config = BackboneConfig(weights="imagenet", size_px=64, seed=77)
        monkeypatch.setitem(backbone_files(), "resnet34", WeightFile(url=address, sha256="0" * 8))
        with pytest.raises(WeightsError, match=rf"resnet34-test.pth.*{right}"):
            load_backbone(config, "cpu")
        monkeypatch.setitem(backbone_files(), "resnet34", WeightFile(url=address, sha256=right[:8]))
        tokens = embed(images, config)
        server.shutdown()
    torch.testing.assert_close(tokens, embed(images, BackboneConfig(weights=str(state_file), size_px=64)))


def test_unreadable_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"weights.pth is not a readable state dict"):
        load_backbone(BackboneConfig(weights=str(path)), "cpu")
    with pytest.raises(WeightsError, match=r"absent\.pth does not exist; give a state dict, imagenet or random"):
        load_backbone(BackboneConfig(weights=str(tmp_path / "absent.pth")), "cpu")
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"weights.pth does not fit resnet34"):
        load_backbone(BackboneConfig(weights=str(path), seed=3), "cpu")


def test_a_mistyped_backbone_lists_the_names() -> None:
    with pytest.raises(ParameterError, match=r"embed_faces.backbone.*did you mean 'resnet34'"):
        check({"backbone": "resnet43"}, BackboneConfig, where="params.yaml: embed_faces")


@pytest.mark.parametrize(("devices", "words"), [(0, "no cuda device here"), (1, "1 cuda device here")])
def test_a_missing_device_is_refused(monkeypatch: pytest.MonkeyPatch, devices: int, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(ParameterError, match=rf"run\.device = 'cuda:1': torch finds {words}; use cpu"):
        load_backbone(SMALL, "cuda:1")


def faces(files: list[NDArray[np.uint8]], times: NDArray[np.float32]) -> ClipFaces:
    """Return a clip with these crops."""
    count = len(files)
    return ClipFaces(
        times=times,
        boxes=np.zeros((count, 5), np.float32),
        face_counts=np.ones(count, np.int32),
        sources=np.zeros(count, np.uint8),
        leads=np.zeros(count, np.float32),
        angles=np.zeros(count, np.float32),
        crops=Ragged.join(files),
    )


def one_window(window: NDArray[np.float32], time: float = 0) -> ClipWindows:
    """Return a clip with this window of a second."""
    return ClipWindows(np.asarray([time], np.float32), np.ones(1, np.float32), Ragged.join([window]))


def test_tokens_of_a_clip_are_in_the_order_of_its_images() -> None:
    config = SMALL.model_copy(update={"tokens": "grid", "grid": 2})
    files = [encode_jpeg(np.full((64, 64, 3), level, np.uint8)) for level in (0, 120, 255)]
    times = np.asarray([0.1, 0.2, 0.3], np.float32)
    result = embed_clip(faces(files, times), source=SOURCES["faces"], config=config)
    assert result.tokens.shape == (12, 512)
    np.testing.assert_allclose(result.times, np.repeat(times, 4))
    alone = embed_clip(faces(files[1:2], times[1:2]), source=SOURCES["faces"], config=config)
    np.testing.assert_allclose(result.tokens[4:8], alone.tokens, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("source", "clip"), [("faces", ClipFaces.empty()), ("mels", ClipWindows.empty(128))])
def test_a_clip_without_images_has_no_tokens_but_their_width(source: str, clip: ClipFaces | ClipWindows) -> None:
    result = embed_clip(clip, source=SOURCES[source], config=SMALL.model_copy(update={"views": 2}))
    shapes = {name: value.shape for name, value in to_columns(result).items()}
    assert shapes == {"tokens": (0, 512), "times": (0,), "view_1": (0, 512)}
    assert result.tokens.dtype == np.float32


def test_a_users_backbone_receives_three_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_backbone.py").write_text(
        "import torch\n"
        "class Mean(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        return images.mean((2, 3))[:, None]\n"
        "def build(config):\n"
        "    return Mean()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = BackboneConfig(backbone="own_backbone:build", weights="random", size_px=32)
    clip = one_window(np.full((9, 9), 0.25, np.float32))
    assert embed_clip(clip, source=SOURCES["mels"], config=config).tokens.tolist() == [[0.25] * 3]


def test_columns_of_a_window_are_tokens_with_times(state_file: Path) -> None:
    config = BackboneConfig(weights=str(state_file), size_px=64, tokens="columns")  # a map of 2 x 2
    window = np.zeros((64, 64), np.float32)
    window[32:] = 0.7  # sound in the second half
    result = embed_clip(one_window(window, time=3.0), source=SOURCES["mels"], config=config)
    np.testing.assert_allclose(result.times, [2.75, 3.25])
    image = torch.from_numpy(window[:, ::-1].T.copy()).expand(1, 3, -1, -1)
    expected = reference(image, torch.load(state_file, weights_only=True))[0].mean(1).T  # (2 columns, 512)
    np.testing.assert_allclose(result.tokens, expected, rtol=1e-3, atol=1e-3)


def test_spectrogram_images_have_low_bands_at_the_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def embed(images: torch.Tensor, _: BackboneConfig, **__: str) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 1, 512)

    monkeypatch.setattr("pipeline.embeddings.tokens.embed", embed)
    window = np.zeros((100, 128), np.float32)
    window[:25, :32] = 1  # the first quarter of the time, the lowest quarter of the bands
    embed_clip(one_window(window), source=SOURCES["mels"], config=SMALL)
    (image,) = seen[0]
    assert image.shape == (1, 64, 64)
    assert image[0, 50:, :14].min() > 0.9
    assert image[0, :46].max() == image[0, :, 18:].max() == 0
