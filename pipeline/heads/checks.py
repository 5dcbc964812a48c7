"""Whether a head keeps its contract, by its answers for a few clips.

Raise ContractError if not. The head itself does not change: it is copied.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.base.errors import broken_contract
from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens

CLIPS = 4  # that the checks need
CLOSE = 1e-3  # relative difference that is rounding
WITHOUT_VISUAL, WITHOUT_ACOUSTIC = 0, 1  # the rows that lose a modality
SOME = (2, 0)  # rows that are answered without the others


def check_head(head: Head, examples: Examples, *, classes: int, name: str) -> None:
    """Check a head, in evaluation and in training mode, on `CLIPS` clips in memory; some of their tokens are hidden.

    Its logits must be valid for a clip without one of the modalities, and must not depend on hidden tokens, on chance,
    or on the other clips, and its parameters must have a gradient. In training, a head may depend on chance, and on the
    other clips by batch norm, or if it says so.
    """
    part = f"head {name!r}"
    visual = _hide_tokens(_in_memory(examples.visual.batches(torch.arange(CLIPS))), WITHOUT_VISUAL)
    acoustic = _hide_tokens(_in_memory(examples.acoustic.batches(torch.arange(CLIPS))), WITHOUT_ACOUSTIC)
    head = deepcopy(head).cpu()
    with torch.random.fork_rng(devices=[]):
        _fill_zero_matrices(head)
        for is_training in (False, True):
            _check_mode(head.train(is_training), visual, acoustic, classes, part)
        _check_gradients(head, visual, acoustic, part)


def _check_mode(head: Head, visual: Tokens, acoustic: Tokens, classes: int, part: str) -> None:
    when = "in training" if head.training else "in evaluation"
    with torch.no_grad():
        output = head(visual, acoustic)
        _check_shapes(output, classes, part)
        _check_logits(output, visual, acoustic, part)
        answers = _tensors(output)
        if not _are_close(_tensors(head(visual, acoustic)), answers):
            if head.training:
                return  # by dropout, for example: nothing can be compared
            gave, guess = "logits that change from call to call in evaluation", "draw no random numbers"
            raise broken_contract(part, gave=gave, wanted="the same", guess=guess)
        if not _are_close(_tensors(head(_scramble(visual), _scramble(acoustic))), answers):
            gave = f"logits that depend on masked tokens {when}"
            guess = "use the masks, as in fdan.masked_mean"
            raise broken_contract(part, gave=gave, wanted="the same whatever is masked", guess=guess)
        if head.training and (head.uses_batch or any(isinstance(it, _BatchNorm) for it in head.modules())):
            return
        rows = torch.tensor(SOME)
        if not _are_close(_tensors(head(visual.take(rows), acoustic.take(rows))), [it[rows] for it in answers]):
            gave = f"logits that depend on the other clips of the batch {when}"
            guess = "what normalises or attends over the batch?" + " If it is meant: uses_batch = True" * head.training
            raise broken_contract(part, gave=gave, wanted="the same for a clip in any batch", guess=guess)


def _check_shapes(output: object, classes: int, part: str) -> None:
    if not isinstance(output, HeadOutput):
        raise broken_contract(part, gave=type(output).__name__, wanted="a HeadOutput")
    logits = {name: getattr(output, name) for name in ("visual", "acoustic", "fused")}
    if all(it is None for it in logits.values()):
        raise broken_contract(part, gave="no logits", wanted="those of at least one modality")
    for name, values in logits.items():
        if values is None:
            continue
        shape, wanted = _shape(values), f"float logits (B = {CLIPS}, C = {classes})"
        if shape != (CLIPS, classes) or not values.is_floating_point():
            guess = "one row per clip, one column per class" if len(shape) == 2 else ""
            raise broken_contract(part, gave=f"`{name}` {shape}", wanted=wanted, guess=guess)
    shapes = [[_shape(layer) for layer in layers] for layers in (output.visual_layers, output.acoustic_layers)]
    if shapes[0] != shapes[1] or any(len(it) != 2 or it[0] != CLIPS for it in shapes[0]):
        wanted = f"as many layers (B = {CLIPS}, width) of both modalities, equally wide"
        raise broken_contract(part, gave=f"aligned layers {shapes[0]} and {shapes[1]}", wanted=wanted)


def _check_logits(output: HeadOutput, visual: Tokens, acoustic: Tokens, part: str) -> None:
    """Check that the logits make probabilities; minus infinity is a class that never occurs.

    Those of a modality that no clip has are not used.
    """
    has_any = visual.present | acoustic.present
    rows = {"visual": visual.present.any(), "acoustic": acoustic.present.any(), "fused": has_any}
    for name, used in rows.items():
        logits = getattr(output, name)
        if logits is not None and not (torch.isfinite(logits.softmax(-1)).all(1) | ~used).all():
            guess = "does it divide by the number of tokens of a clip that lacks the modality?"
            raise broken_contract(part, gave=f"`{name}` with NaN or infinity", wanted="finite logits", guess=guess)


def _check_gradients(head: Head, visual: Tokens, acoustic: Tokens, part: str) -> None:
    parameters = {name: it for name, it in head.named_parameters() if it.requires_grad}
    if not parameters:
        return
    output: HeadOutput = head(visual, acoustic)
    logits = [it for it in (output.visual, output.acoustic, output.fused) if it is not None]
    loss = torch.stack([it.log_softmax(-1)[:, 0].sum() for it in logits]).sum()
    loss = loss + sum(it.sum() for it in (*output.visual_layers, *output.acoustic_layers))
    if not loss.requires_grad:
        guess = "are they detached, or computed under no_grad?"
        raise broken_contract(part, gave="logits without a gradient", wanted="one to every parameter", guess=guess)
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            guess = "is it detached? If it is not learned: requires_grad_(False)"
            raise broken_contract(part, gave=f"no gradient to {name!r}", wanted="one to every parameter", guess=guess)
        if not torch.isfinite(gradient).all():
            guess = "is it the square root of 0, for a clip that lacks a modality?"
            raise broken_contract(part, gave=f"NaN as gradient of {name!r}", wanted="finite gradients", guess=guess)


def _in_memory(tokens: Tokens) -> Tokens:
    return Tokens(tokens.values.cpu(), tokens.times.cpu(), tokens.mask.cpu())


def _hide_tokens(tokens: Tokens, row: int) -> Tokens:
    """Hide all tokens of the row, and the last of each clip that has several."""
    mask = tokens.mask.clone()
    mask[row] = False
    for clip in mask:
        positions = clip.nonzero().flatten()
        if len(positions) > 1:
            clip[positions[-1]] = False
    return tokens._replace(mask=mask)


def _scramble(tokens: Tokens) -> Tokens:
    """Return the tokens with other values and times where the mask hides them."""
    if not tokens.values.numel():
        return tokens
    values = tokens.values.roll(1, 0) + 10 * tokens.values.abs().max() + 1
    return tokens._replace(
        values=torch.where(tokens.mask[..., None], tokens.values, values),
        times=torch.where(tokens.mask, tokens.times, tokens.times + 10),
    )


def _fill_zero_matrices(head: Head) -> None:
    """Replace zeros of untrained layers by small numbers: nothing shows through zeros."""
    for parameter in head.parameters():
        if parameter.requires_grad and parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)


def _tensors(output: HeadOutput) -> list[Tensor]:
    logits = [it for it in (output.visual, output.acoustic, output.fused) if it is not None]
    return [*logits, *output.visual_layers, *output.acoustic_layers]


def _are_close(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(
        one.shape == other.shape and torch.allclose(one, other, rtol=CLOSE, atol=CLOSE * _scale(other), equal_nan=True)
        for one, other in zip(first, second, strict=True)
    )


def _scale(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.abs().max()) if len(finite) else 0.0


def _shape(values: object) -> tuple[int, ...]:
    return tuple(values.shape) if isinstance(values, Tensor) else ()
