"""Whether a backbone keeps its contract, by the tokens that it gave for some images.

Raise ContractError if not: a backbone that breaks it is at fault, and not the clip.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.base.errors import broken_contract

Compute = Callable[[Tensor], Tensor]
ROUNDING = {"fp32": 1e-2, "bf16": 5e-2, "int8": 5e-2}  # of a token, relative to its largest number; TF32 on GPUs
WANTED = "a float tensor of tokens (B, k, D)"
GUESSES = {
    2: "add a dimension for a single token: tokens[:, None]",
    4: "flatten the map to tokens: map.flatten(2).transpose(1, 2)",
}


def check_tokens(tokens: object, images: Tensor, *, name: str) -> None:
    """Check what the backbone `name` gave for images (B, C, H, W): finite tokens (B, k, D)."""
    part = f"backbone {name!r}"
    if not isinstance(tokens, Tensor):
        raise broken_contract(part, gave=type(tokens).__name__, wanted=WANTED)
    shape = tuple(tokens.shape)
    if len(shape) != 3:
        guess = f"{len(shape)} dimensions: {GUESSES[len(shape)]}" if len(shape) in GUESSES else ""
        raise broken_contract(part, gave=f"the shape {shape}", wanted=WANTED, guess=guess)
    if len(tokens) != len(images) or 0 in shape:
        guess = "images must be the first dimension" if len(images) in shape[1:] else ""
        gave = f"the shape {shape} for {len(images)} images"
        raise broken_contract(part, gave=gave, wanted=f"({len(images)}, k, D)", guess=guess)
    if not tokens.is_floating_point():
        raise broken_contract(part, gave=str(tokens.dtype), wanted=WANTED, guess="use .float()")
    if not torch.isfinite(tokens).all():
        share = float((~torch.isfinite(tokens)).float().mean())
        guess = "are its weights finite, and does it divide by a number that can be 0?"
        raise broken_contract(part, gave=f"{share:.0%} NaN or infinity", wanted="finite tokens", guess=guess)


def check_same_shape(tokens: Tensor, earlier: tuple[int, int], *, name: str) -> None:
    """Check that tokens (B, k, D) have the k and D of earlier images."""
    now = tuple(tokens.shape[1:])
    if now != earlier:
        gave = f"{now[0]} tokens of {now[1]} numbers for an image, and {earlier[0]} of {earlier[1]} for an earlier one"
        raise broken_contract(f"backbone {name!r}", gave=gave, wanted="the same for every image")


def check_repeatable(compute: Compute, images: Tensor, tokens: Tensor, *, name: str, precision: str = "fp32") -> None:
    """Check that an image has the same tokens twice in a row, and alone as among others, up to rounding.

    `compute` gave `tokens` (B, k, D) for `images` (B, C, H, W). It is called for one or two images, and if their tokens
    differ, again to find out why.
    """
    part, tolerance = f"backbone {name!r}", ROUNDING[precision]
    alone = images[:1]
    # A single image is compared with itself next to a black one.
    again = compute(alone if len(images) > 1 else torch.cat([alone, torch.zeros_like(alone)]))
    if _is_close(again[0], tokens[0], tolerance):
        return
    if not _is_close(compute(alone)[0], compute(alone)[0], tolerance):
        guess = "is a dropout active, or a random number drawn?"
        gave = "tokens that change from call to call"
        raise broken_contract(part, gave=gave, wanted="the same for the same image", guess=guess)
    guess = "does a batch norm run in training mode, or a mean run over the batch?"
    gave = "tokens that depend on the other images of the batch"
    raise broken_contract(part, gave=gave, wanted="the same alone and among others", guess=guess)


def _is_close(first: Tensor, second: Tensor, tolerance: float) -> bool:
    scale = max(float(first.abs().max()), float(second.abs().max()))
    return float((first - second).abs().max()) <= tolerance * scale
