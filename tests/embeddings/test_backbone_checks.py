"""The backbones' contract is checked in the stage: each mistake stops the run with one line that names it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import assert_one_line

from pipeline.base.errors import ContractError
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed, load_engine
from pipeline.embeddings.step import write_tokens
from pipeline.embeddings.tokens import SOURCES
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.clips import ClipTokens, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, WINDOWS
from pipeline.store.writer import open_writer

PLUGIN = """
import torch
from torch import nn
from torch.nn.functional import batch_norm, dropout

def pooled(images):
    return images.mean((2, 3))[:, None] * torch.arange(1, 5)[None, :, None]  # (B, 4, 3)

def normalised(images):
    return batch_norm(images, None, None, training=True).square().mean((2, 3))[:, None]

GIVEN = {
    "right": pooled,
    "two": lambda it: it.mean((2, 3)),
    "four": lambda it: it,
    "tuple": lambda it: (pooled(it), None),
    "batch": lambda it: pooled(it)[:1],
    "last": lambda it: pooled(it).transpose(0, 1),
    "no tokens": lambda it: pooled(it)[:, :0],
    "integers": lambda it: (100 * pooled(it)).long(),
    "nan": lambda it: pooled(it) / 0 * 0,
    "dropout": lambda it: dropout(pooled(it)),
    "noise": lambda it: pooled(it) + torch.rand_like(pooled(it)),
    "batch norm": normalised,
    "other images": lambda it: pooled(it) - pooled(it).mean(0),
    "count": lambda it: pooled(it)[:, : 1 + (it[0].mean() > 0.55)],
}

class Given(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.given = config.options["given"]

    def forward(self, images):
        return GIVEN[self.given](images)
"""


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("backbones")
    (folder / "given_tokens.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def write(tmp_path: Path, given: str, *, windows: int = 2) -> Reader[ClipTokens]:
    """Write the tokens of two clips with a plugin that gives these."""
    torch.manual_seed(0)  # of dropout and noise
    draw = np.random.default_rng(0)
    attributes = {
        "schema": WINDOWS.name,
        "fingerprint": "f",
        "config": {},
        "failures": {},
        "absent": {},
        "excluded": {},
    }
    with open_writer(tmp_path / "in.h5", like=to_columns(ClipWindows.empty(32)), attributes=attributes) as writer:
        for clip_id, level in (("a", 0.0), ("b", 0.2)):
            images = [draw.random((32, 32), np.float32) + np.float32(level) for _ in range(windows)]
            times = np.arange(windows, dtype=np.float32)
            clip = ClipWindows(times, np.ones(windows, np.float32), Ragged.join(images))
            writer.append(clip_id, to_columns(clip), media_sha256=clip_id * 64)
    config = BackboneConfig(backbone="given_tokens:Given", weights="random", size_px=32, options={"given": given})
    run = ExecutionConfig(scheduler="synchronous")
    write_tokens(
        tmp_path / "out.h5",
        Reader(tmp_path / "in.h5", schema=WINDOWS),
        source=SOURCES["mels"],
        config=config,
        weights={"name": "random", "sha256": "0" * 64},
        model="",
        run=run,
        quiet=True,
    )
    return Reader(tmp_path / "out.h5", schema=EMBEDDINGS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("two", r"the shape \(1, 3\); .*\(B, k, D\): 2 dimensions: add a dimension for a single token"),
        ("four", r"the shape \(1, 3, 32, 32\); .*: 4 dimensions: flatten the map to tokens"),
        ("tuple", "tuple; it should give a float tensor of tokens"),
        ("batch", r"the shape \(1, 4, 3\) for 2 images; it should give \(2, k, D\)"),
        ("last", r"the shape \(4, 1, 3\) for 1 images; .*: images must be the first dimension"),
        ("no tokens", r"the shape \(1, 0, 3\)"),
        ("integers", "torch.int64; .*use .float"),
        ("nan", "100% NaN or infinity; it should give finite tokens"),
        ("dropout", "tokens that change from call to call; .*: is a dropout active, or a random number drawn"),
        ("noise", "tokens that change from call to call"),
        (
            "batch norm",
            "tokens that depend on the other images of the batch; .*: does a batch norm run in training mode",
        ),
        ("other images", "tokens that depend on the other images of the batch"),
        ("count", "2 tokens of 3 numbers for an image, and 1 of 3 for an earlier one"),
    ],
)
def test_mistake_of_a_backbone_stops_the_run_with_one_line(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=rf"^backbone 'given_tokens:Given' gave {words}") as error:
        write(tmp_path, given)
    assert_one_line(str(error.value))


@pytest.mark.parametrize(("given", "cause"), [("dropout", "change from call"), ("other images", "depend on the other")])
def test_a_single_image_shows_the_mistake_too(given: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=cause):
        write(tmp_path, given, windows=1)


@pytest.mark.parametrize("windows", [1, 20])
def test_right_tokens_pass(windows: int, tmp_path: Path) -> None:
    tokens = write(tmp_path, "right", windows=windows)
    assert [len(tokens[clip_id].tokens) for clip_id in tokens] == [4 * windows] * 2
    assert tokens.attributes["config"]["options"] == {"given": "right"}


def test_repeatability_is_checked_once_per_process() -> None:
    config = BackboneConfig(backbone="given_tokens:Given", weights="random", size_px=32, options={"given": "right"})
    load_engine.cache_clear()
    engine: Any = load_engine(config, 3, "cpu", "")
    calls: list[int] = []
    compute = engine._compute

    def counted(images: torch.Tensor) -> Any:
        calls.append(len(images))
        return compute(images)

    engine._compute = counted
    embed(torch.zeros(1, 3, 32, 32), config)  # asks for the width of tokens, and is no image to check on
    for _ in range(3):
        embed(torch.rand(5, 3, 32, 32), config)
    assert calls == [1, 5, 1, 5, 5]
