"""What one looks into after the figures: where clips lie before and after alignment, mistakes, and attention."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.base.selection import evenly_spaced
from pipeline.evaluation.predictions import Prediction, protocol_label
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import FdanHead
from pipeline.heads.layers import mean_token

SHOWN = 1000  # clips among the points at most: t-SNE takes minutes for more of them, their pictures megabytes
MISTAKES = 24
ATTENDED = 48  # clips whose attention can be looked at
PLACES = 32  # rows or columns of an attention matrix at most; neighbours share one in longer clips
PERPLEXITY = 30.0
Points = dict[str, NDArray[np.float64]]


def explore(
    head: Head, part: Examples, answers: Sequence[Prediction], predictions: Sequence[Prediction], classes: Sequence[str]
) -> dict[str, Any]:
    """Return, as JSON-like data, the points and the attention of a run's test part, and its protocol's mistakes.

    `answers` are what the run's head says of the part's clips, in their order; `predictions` are those of all runs.
    """
    shown = evenly_spaced(range(len(answers)), SHOWN)
    part, answers, tested = part.take(torch.tensor(shown)), [answers[row] for row in shown], len(answers)
    before, after = features(head, part)
    places = {"before": project(before), "after": project(after)}
    rows = [
        answer_row(answer, classes) | {when: _place(points, row) for when, points in places.items()}
        for row, answer in enumerate(answers)
    ]
    return {
        "protocol": protocol_label(answers[0].protocol, speakers_shared=answers[0].speakers_shared),
        "fold": answers[0].fold,
        "seed": answers[0].seed,
        "tested": tested,
        "clips": rows,
        "mistakes": worst([it for it in predictions if it.protocol == answers[0].protocol], classes),
        "attention": list(attention(head, part, answers, classes)),
    }


def answer_row(answer: Prediction, classes: Sequence[str]) -> dict[str, Any]:
    """Return what the fusion says of a clip, in words."""
    probabilities = answer.probabilities["fused"] or []
    chosen = answer.choice("fused")
    return {
        "clip_id": answer.clip_id,
        "truth": classes[answer.truth],
        "predicted": classes[chosen],
        "probability": round(probabilities[chosen], 4),
    }


def worst(predictions: Sequence[Prediction], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the wrong answers that were the surest, each clip once."""
    wrong = [it for it in predictions if it.choice("fused") != it.truth]
    wrong.sort(key=lambda it: (-max(it.probabilities["fused"] or ()), it.clip_id, it.fold, it.seed))
    first = {it.clip_id: it for it in reversed(wrong)}
    chosen = [it for it in wrong if first[it.clip_id] is it][:MISTAKES]
    return [
        answer_row(it, classes)
        | {"truth_probability": round((it.probabilities["fused"] or [])[it.truth], 4), "fold": it.fold, "seed": it.seed}
        for it in chosen
    ]


@torch.inference_mode()
def features(head: Head, part: Examples) -> tuple[Points, Points]:
    """Return n clips' features before and after alignment, by modality (n, ·), nan where a clip lacks it.

    Before: the means of the cached tokens. After: the last aligned layer; a head that aligns none leaves the means.
    """
    head.eval()
    output = head(part.visual, part.acoustic)
    tokens = {"visual": part.visual, "acoustic": part.acoustic}
    last = {"visual": output.visual_layers[-1:], "acoustic": output.acoustic_layers[-1:]}

    def known(name: str, values: Tensor) -> NDArray[np.float64]:
        return values.masked_fill(~tokens[name].present[:, None], torch.nan).double().numpy()

    before = {name: known(name, mean_token(own)) for name, own in tokens.items()}
    return before, {name: known(name, last[name][0]) if last[name] else before[name] for name in tokens}


def project(values: Mapping[str, NDArray[np.float64]]) -> Points:
    """Return the t-SNE (n, 2) of both modalities' features (n, ·) together, nan where those are.

    Where their widths differ, the narrower ones get zeros: that changes no distance within a modality.
    """
    width = max(rows.shape[1] for rows in values.values())
    padded = {name: np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for name, rows in values.items()}
    there = {name: np.isfinite(rows).all(1) for name, rows in padded.items()}
    together = np.concatenate([padded[name][there[name]] for name in padded])
    perplexity = min(PERPLEXITY, (len(together) - 1) / 3)
    with threadpool_limits(1):  # one thread gives the same points on any machine, and never waits for others
        found = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(together)
    parts = np.split(found, np.cumsum([known.sum() for known in there.values()])[:-1])
    points = {name: np.full((len(rows), 2), np.nan) for name, rows in values.items()}
    for name, part in zip(points, parts, strict=True):
        points[name][there[name]] = part
    return points


def _place(points: Points, row: int) -> dict[str, list[float] | None]:
    """Return where one clip lies, by modality."""
    found = {name: own[row] for name, own in points.items()}
    return {
        name: [round(float(value), 3) for value in it] if np.isfinite(it).all() else None for name, it in found.items()
    }


@torch.inference_mode()
def attention(
    head: Head, part: Examples, answers: Sequence[Prediction], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield, for some clips, the shares (frames, windows) that frames give to windows, and windows to frames.

    The surest mistakes come first, then clips from all over the part. Nothing comes from a head without
    cross-attention, and of clips that lack a modality.
    """
    if not isinstance(head, FdanHead):
        return
    both = (part.visual.present & part.acoustic.present).nonzero()[:, 0].tolist()
    wrong = sorted(
        (row for row in both if answers[row].choice("fused") != answers[row].truth),
        key=lambda row: -max(answers[row].probabilities["fused"] or ()),
    )
    first = wrong[: ATTENDED // 2]
    rest = [row for row in both if row not in first]
    for row in [*first, *evenly_spaced(rest, ATTENDED - len(first))]:
        one = part.take(torch.tensor([row]))
        frames, windows = (it.times[0, it.mask[0]].numpy() for it in (one.visual, one.acoustic))
        found = head.attention(one.visual, one.acoustic)
        if found:
            seen, frames_s = _by_picture(found["visual"][0, : len(frames), : 1 + len(windows)], frames, windows)
            heard, windows_s = _by_picture(found["acoustic"][0, : len(windows), : 1 + len(frames)], windows, frames)
            yield answer_row(answers[row], classes) | {
                "frames_s": _rounded(frames_s),
                "windows_s": _rounded(windows_s),
                "frames_to_windows": _rounded(seen),
                "windows_to_frames": _rounded(heard.T),
            }


def _by_picture(
    shares: Tensor, own_s: NDArray[np.float32], other_s: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shares (T, 1 + S) of tokens at these times as shares of pictures to pictures, and the former's times.

    Tokens of one picture share its time. The column of the sink goes: what a row lacks to 1 is its share.
    """
    (own, times), (other, _) = _pictures(own_s), _pictures(other_s)
    result = np.zeros((own.max() + 1, other.max() + 1))
    np.add.at(result, (own[:, None], other[None]), shares[:, 1:].double().numpy())
    return result / np.bincount(own)[:, None], times


def _pictures(times: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each token (n,) which of at most `PLACES` pictures it is of, and these pictures' mean times."""
    unique, place = np.unique(times, return_inverse=True)
    if len(unique) > PLACES:
        place = place * PLACES // len(unique)
    return place, np.bincount(place, weights=times) / np.bincount(place)


def _rounded(values: NDArray[np.float64]) -> Any:
    return np.round(values, 4).tolist()
