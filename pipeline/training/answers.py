"""The answers of a head: probabilities by modality, fused, and without one modality; their UAR."""

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.heads.layers import fuse
from pipeline.store.tokens import Tokens, TokenSource

BRANCHES = ("visual", "acoustic")  # of a head: what it answers from


def modalities_in(examples: Examples) -> tuple[str, ...]:
    """Return the modalities that any clip has."""
    present = {"visual": examples.visual.present, "acoustic": examples.acoustic.present}
    return tuple(name for name, values in present.items() if values.any())


@torch.inference_mode()
def predict(head: Head, examples: Examples, *, trained: Collection[str] = BRANCHES) -> dict[str, Tensor]:
    """Return probabilities (n, C) by answer; NaN where a clip lacks the modality.

    Only modalities count that the head was `trained` on: another one's tokens would be answered at random.

    `visual` and `acoustic` are the classifiers of one modality, whose tokens may have attended to the other;
    `fused` is their fusion; `video_only` and `audio_only` are the fusion without the other modality.
    """
    head.eval()
    chunks = [_predict_chunk(head, _keep(chunk, trained)) for chunk in examples.chunks()]
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _keep(chunk: Examples, modalities: Collection[str]) -> Examples:
    """Return the clips without the tokens of other modalities."""
    visual, acoustic = (
        tokens if name in modalities else _without_tokens(tokens)
        for name, tokens in (("visual", chunk.visual), ("acoustic", chunk.acoustic))
    )
    return replace(chunk, visual=visual, acoustic=acoustic)


def _predict_chunk(head: Head, examples: Examples) -> dict[str, Tensor]:
    has_visual, has_acoustic = examples.visual.present, examples.acoustic.present
    absent = torch.zeros_like(has_visual)
    output = head(examples.visual, examples.acoustic)
    video, audio = (
        head(examples.visual, _without_tokens(examples.acoustic)),
        head(_without_tokens(examples.visual), examples.acoustic),
    )
    fused = fused_probabilities(output, has_visual, has_acoustic)
    # A head of one modality has no answer for a clip without it.
    by_modality = ((output.visual, has_visual), (output.acoustic, has_acoustic))
    classified = [present for logits, present in by_modality if logits is not None or output.fused is not None]
    answers = {
        "visual": (has_visual, None if output.visual is None else output.visual.softmax(-1)),
        "acoustic": (has_acoustic, None if output.acoustic is None else output.acoustic.softmax(-1)),
        "fused": (torch.stack(classified).any(0), fused),
        "video_only": (has_visual, None if video.visual is None else fused_probabilities(video, has_visual, absent)),
        "audio_only": (
            has_acoustic,
            None if audio.acoustic is None else fused_probabilities(audio, absent, has_acoustic),
        ),
    }
    missing = torch.full_like(fused, math.nan)
    return {
        name: missing if probabilities is None else probabilities.masked_fill(~present[:, None], math.nan)
        for name, (present, probabilities) in answers.items()
    }


def _without_tokens(tokens: TokenSource) -> Tokens:
    return Tokens(tokens.values, tokens.times, torch.zeros_like(tokens.mask))


def fused_probabilities(output: HeadOutput, has_visual: Tensor, has_acoustic: Tensor) -> Tensor:
    """Return the head's fusion, or else that of the modalities that a clip has (B,): (B, C)."""
    if output.fused is not None:
        return output.fused.softmax(-1)
    logits = {"visual": output.visual, "acoustic": output.acoustic}
    classified = {name: values for name, values in logits.items() if values is not None}
    return fuse(classified, {"visual": has_visual, "acoustic": has_acoustic}).exp()


def uar(probabilities: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall over the classes that occur in the labels."""
    correct = ((probabilities.argmax(1) == labels) & probabilities.isfinite().all(1)).to(torch.float64)
    return float(torch.stack([correct[labels == label].mean() for label in labels.unique()]).mean())
