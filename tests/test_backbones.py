"""Backbones: frozen, honest about their weights, and equal to the plain network of torchvision."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import ResNet34_Weights
from torchvision.models import resnet34 as plain_resnet34

from pipeline import backbones
from pipeline.backbones import BACKBONES, BackboneConfig, check_device, describe_weights, embed, load_backbone
from pipeline.embedding import embed_crops, embed_windows, no_tokens
from pipeline.errors import ParameterError, WeightsError
from pipeline.files import file_digest
from pipeline.media import encode_jpeg
from pipeline.params import check
from pipeline.weights import WeightFile

SMALL = BackboneConfig(weights="random", size_px=64)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def reference(images: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The last feature map (B, D, h, w) of torchvision's own network, unfolded, with its own normalisation."""
    network = plain_resnet34(weights=None).eval()
    network.load_state_dict(state)
    preset = ResNet34_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
    features = torch.nn.Sequential(*list(network.children())[:-2])
    with torch.inference_mode():
        return features((images - mean) / std)


@pytest.fixture(scope="module")
def state_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of the right shape, its batch norms not the identity, so that folding them can go wrong."""
    torch.manual_seed(1)
    network = plain_resnet34(weights=None)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name or ("bn" in name and value.is_floating_point()):
                value.copy_(0.5 + torch.rand_like(value))
    path = tmp_path_factory.mktemp("weights") / "resnet34-test.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_keeps_the_contract(name: str, images: torch.Tensor) -> None:
    config = BackboneConfig(backbone=name, weights="random", size_px=64)
    tokens = embed(images, config)
    assert tokens.shape == (3, 1, 512)
    assert tokens.dtype == torch.float32
    backbone = load_backbone(config)
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_tokens_are_the_pooled_features_of_the_plain_network(images: torch.Tensor, state_file: Path) -> None:
    config = BackboneConfig(weights=str(state_file), size_px=64)
    expected = reference(images, torch.load(state_file, weights_only=True)).mean((2, 3))
    torch.testing.assert_close(embed(images, config)[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_a_grid_holds_the_map_row_by_row(images: torch.Tensor, state_file: Path) -> None:
    config = BackboneConfig(weights=str(state_file), size_px=64, tokens="grid", grid=2)
    expected = reference(images, torch.load(state_file, weights_only=True))  # (3, 512, 2, 2)
    tokens = embed(images, config)
    assert tokens.shape == (3, 4, 512)
    torch.testing.assert_close(tokens[:, 1], expected[:, :, 0, 1], rtol=1e-3, atol=1e-3)


def test_random_weights_follow_their_seed_and_leave_the_global_generator_alone() -> None:
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
        right = file_digest(state_file)
        config = BackboneConfig(weights="imagenet", size_px=64, seed=77)
        monkeypatch.setitem(backbones.WEIGHT_FILES, "resnet34", WeightFile(url=address, sha256="0" * 8))
        with pytest.raises(WeightsError, match=rf"resnet34-test.pth.*{right}"):
            load_backbone(config)
        monkeypatch.setitem(backbones.WEIGHT_FILES, "resnet34", WeightFile(url=address, sha256=right[:8]))
        tokens = embed(images, config)
        server.shutdown()
    torch.testing.assert_close(tokens, embed(images, BackboneConfig(weights=str(state_file), size_px=64)))


def test_weights_that_are_no_state_dict_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"weights.pth is no state dict"):
        load_backbone(BackboneConfig(weights=str(path)))
    with pytest.raises(WeightsError, match="no such file; give a state dict, imagenet or random"):
        load_backbone(BackboneConfig(weights=str(tmp_path / "absent.pth")))
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"weights.pth does not fit resnet34"):
        load_backbone(BackboneConfig(weights=str(path), seed=3))


def test_a_mistyped_backbone_lists_the_names() -> None:
    with pytest.raises(ParameterError, match=r"embed_faces.backbone.*valid: resnet34"):
        check({"backbone": "resnet43"}, BackboneConfig, where="params.yaml: embed_faces")


def test_a_device_that_is_not_there_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match=r"run\.device = 'cuda:1': torch finds no cuda device here"):
        check_device("cuda:1")


def test_a_clips_tokens_lie_image_by_image_with_their_times() -> None:
    config = SMALL.model_copy(update={"tokens": "grid", "grid": 2})
    pictures = [np.full((64, 64, 3), level, np.uint8) for level in (0, 120, 255)]
    rows: dict[str, Any] = {
        "crops": [encode_jpeg(picture) for picture in pictures],
        "times": np.asarray([0.1, 0.2, 0.3], np.float32),
    }
    result = embed_crops(rows, config, "cpu")
    assert result["tokens"].shape == (12, 512)
    np.testing.assert_allclose(result["times"], np.repeat(rows["times"], 4))
    alone = embed_crops({"crops": rows["crops"][1:2], "times": rows["times"][1:2]}, config, "cpu")
    np.testing.assert_allclose(result["tokens"][4:8], alone["tokens"], rtol=1e-3, atol=1e-4)


def test_a_clip_without_pictures_has_no_tokens_of_the_right_width() -> None:
    for compute, name in ((embed_crops, "crops"), (embed_windows, "windows")):
        result = compute({name: [], "times": np.empty(0, np.float32)}, SMALL, "cpu")
        assert {key: value.shape for key, value in result.items()} == {"tokens": (0, 512), "times": (0,)}
    assert no_tokens(SMALL)["tokens"].dtype == np.float32


def test_spectrogram_images_have_low_bands_below_and_time_rightwards(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def embed(images: torch.Tensor, _: BackboneConfig, device: str) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 1, 512)

    monkeypatch.setattr("pipeline.embedding.embed", embed)
    window = np.zeros((100, 128), np.float32)
    window[:25, :32] = 1  # the first quarter of the time, the lowest quarter of the bands
    embed_windows({"windows": [window], "times": np.zeros(1, np.float32)}, SMALL, "cpu")
    (image,) = seen[0]
    assert torch.equal(image[0], image[2])
    assert image[0, 50:, :14].min() > 0.9
    assert image[0, :46].max() == image[0, :, 18:].max() == 0
