"""What a training run is made of: its recipe, its losses, what a head says, what comes of it."""

import math

import torch
from torch import Tensor

from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.heads.layers import fuse
from pipeline.store.tokens import Tokens


@torch.inference_mode()
def predict(head: Head, examples: Examples) -> dict[str, Tensor]:
    """Return probabilities (n, C), nan where a clip lacks what they need.

    `visual` and `acoustic` are the modalities' own classifiers, which may have attended to the other modality;
    `fused` is the answer; `video_only` and `audio_only` are the answer if the other modality were not there.
    """
    head.eval()
    seen, heard = examples.visual.present, examples.acoustic.present
    nothing = torch.zeros_like(seen)
    output = head(examples.visual, examples.acoustic)
    video, audio = (
        head(examples.visual, _without_tokens(examples.acoustic)),
        head(_without_tokens(examples.visual), examples.acoustic),
    )
    fused = fused_probabilities(output, seen, heard)
    answers = {
        "visual": (seen, None if output.visual is None else output.visual.softmax(-1)),
        "acoustic": (heard, None if output.acoustic is None else output.acoustic.softmax(-1)),
        "fused": (seen | heard, fused),
        "video_only": (seen, None if video.visual is None else fused_probabilities(video, seen, nothing)),
        "audio_only": (heard, None if audio.acoustic is None else fused_probabilities(audio, nothing, heard)),
    }
    unknown = torch.full_like(fused, math.nan)
    return {
        name: unknown if found is None else found.masked_fill(~known[:, None], math.nan)
        for name, (known, found) in answers.items()
    }


def _without_tokens(tokens: Tokens) -> Tokens:
    return tokens._replace(mask=torch.zeros_like(tokens.mask))


def fused_probabilities(output: HeadOutput, seen: Tensor, heard: Tensor) -> Tensor:
    """Return the head's own fusion, or the mean of the log-probabilities of what a clip has (B,): (B, C)."""
    if output.fused is not None:
        return output.fused.softmax(-1)
    logits = {"visual": output.visual, "acoustic": output.acoustic}
    known = {name: values for name, values in logits.items() if values is not None}
    return fuse(known, {"visual": seen, "acoustic": heard}).exp()


def uar(probabilities: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall over the classes that occur among the labels."""
    right = (probabilities.argmax(1) == labels).to(torch.float64)
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())
