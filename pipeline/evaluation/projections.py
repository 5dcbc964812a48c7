"""A run in detail: t-SNE of its test clips before and after alignment, its protocol's mistakes, cross-attention."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.base.selection import evenly_spaced
from pipeline.evaluation.predictions import NO_ANSWER, Prediction, protocol_label
from pipeline.evaluation.schemas import (
    ClipAttention,
    Exploration,
    Mistake,
    ModalityPoints,
    Point,
    ProjectedClip,
)
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples
from pipeline.heads.layers import mean_token

PROJECTED_CLIPS = 1000  # at most: t-SNE takes minutes for more of them, their pictures megabytes
MISTAKES = 24
ATTENTION_CLIPS = 48  # clips whose attention is kept
MATRIX_SIDE = 32  # rows or columns of an attention matrix at most; in longer clips, neighbours share one
PERPLEXITY = 30.0
Points = dict[str, NDArray[np.float64]]


def explore(
    head: Head, part: Examples, answers: Sequence[Prediction], predictions: Sequence[Prediction], classes: Sequence[str]
) -> Exploration:
    """Return the points and the attention of a run's test part, and the mistakes of its protocol.

    `answers` are the predictions of the run's head for the part's clips, in their order; `predictions` are those of
    all runs.
    """
    shown = evenly_spaced(range(len(answers)), PROJECTED_CLIPS)
    test_clips = len(answers)
    part, answers = part.take(torch.tensor(shown)), [answers[row] for row in shown]
    before, after = features(head, part)
    points = {"before": project(before), "after": project(after)}
    clips = [
        ProjectedClip(
            **_answer_fields(answer, classes), **{when: _points_of(places, row) for when, places in points.items()}
        )
        for row, answer in enumerate(answers)
    ]
    first = answers[0]
    return Exploration(
        protocol=protocol_label(first.protocol, speakers_shared=first.speakers_shared),
        fold=first.fold,
        seed=first.seed,
        test_clips=test_clips,
        clips=clips,
        mistakes=most_confident_mistakes([it for it in predictions if it.protocol == first.protocol], classes),
        attention=list(attention(head, part, answers, classes)),
    )


def _answer_fields(answer: Prediction, classes: Sequence[str]) -> dict[str, Any]:
    predicted = answer.predicted_class("fused")
    return {
        "clip_id": answer.clip_id,
        "truth": classes[answer.truth],
        "predicted": "none" if predicted == NO_ANSWER else classes[predicted],
        "probability": round(answer.confidence, 4),
    }


def most_confident_mistakes(predictions: Sequence[Prediction], classes: Sequence[str]) -> list[Mistake]:
    """Return the wrong answers with the highest probability, each clip once."""
    wrong = [it for it in predictions if it.predicted_class("fused") not in (it.truth, NO_ANSWER)]
    wrong.sort(key=lambda it: (-it.confidence, it.clip_id, it.fold, it.seed))
    first = {it.clip_id: it for it in reversed(wrong)}
    chosen = [it for it in wrong if first[it.clip_id] is it][:MISTAKES]
    return [
        Mistake(
            **_answer_fields(it, classes),
            truth_probability=round((it.probabilities["fused"] or [])[it.truth], 4),
            fold=it.fold,
            seed=it.seed,
        )
        for it in chosen
    ]


@torch.inference_mode()
def features(head: Head, part: Examples) -> tuple[Points, Points]:
    """Return n clips' features before and after alignment, by modality (n, ·); NaN where a clip lacks it.

    Before: the means of the cached tokens. After: the last aligned layer, or the means if the head aligns no layer.
    """
    head.eval()
    befores, afters = zip(*(_chunk_features(head, chunk) for chunk in part.chunks()), strict=True)
    return _joined(befores), _joined(afters)


def _chunk_features(head: Head, part: Examples) -> tuple[Points, Points]:
    output = head(part.visual, part.acoustic)
    tokens = {"visual": part.visual, "acoustic": part.acoustic}
    last = {"visual": output.visual_layers[-1:], "acoustic": output.acoustic_layers[-1:]}

    def masked(name: str, values: Tensor) -> NDArray[np.float64]:
        return values.masked_fill(~tokens[name].present[:, None], torch.nan).double().numpy()

    before = {name: masked(name, mean_token(modality)) for name, modality in tokens.items()}
    return before, {name: masked(name, last[name][0]) if last[name] else before[name] for name in tokens}


def _joined(chunks: Sequence[Points]) -> Points:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def project(values: Mapping[str, NDArray[np.float64]]) -> Points:
    """Return the t-SNE (n, 2) of both modalities' features (n, ·) together; NaN where the features are NaN.

    If the widths differ, the narrower features are padded with zeros: no distance within a modality changes.
    """
    from sklearn.manifold import TSNE  # slow to import

    width = max(rows.shape[1] for rows in values.values())
    padded = {name: np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for name, rows in values.items()}
    present = {name: np.isfinite(rows).all(1) for name, rows in padded.items()}
    together = np.concatenate([padded[name][present[name]] for name in padded])
    perplexity = min(PERPLEXITY, (len(together) - 1) / 3)
    with threadpool_limits(1):  # with one thread the points are the same on any machine
        embedded = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(together)
    parts = np.split(embedded, np.cumsum([rows.sum() for rows in present.values()])[:-1])
    points = {name: np.full((len(rows), 2), np.nan) for name, rows in values.items()}
    for name, part in zip(points, parts, strict=True):
        points[name][present[name]] = part
    return points


def _points_of(points: Points, row: int) -> ModalityPoints:
    """Return the point of one clip in each modality."""
    return ModalityPoints(
        visual=_rounded_point(points["visual"][row]), acoustic=_rounded_point(points["acoustic"][row])
    )


def _rounded_point(values: NDArray[np.float64]) -> Point | None:
    x, y = (round(float(value), 3) for value in values)
    return (x, y) if np.isfinite(values).all() else None


@torch.inference_mode()
def attention(
    head: Head, part: Examples, answers: Sequence[Prediction], classes: Sequence[str]
) -> Iterator[ClipAttention]:
    """Yield the attention between frames and windows of up to `ATTENTION_CLIPS` clips that have both modalities.

    The most confident mistakes come first, then clips at even distances. A head without cross-attention yields none.
    """
    both = (part.visual.present & part.acoustic.present).nonzero()[:, 0].tolist()
    wrong = sorted(
        (row for row in both if answers[row].predicted_class("fused") != answers[row].truth),
        key=lambda row: -answers[row].confidence,
    )
    first = wrong[: ATTENTION_CLIPS // 2]
    rest = [row for row in both if row not in first]
    for row in [*first, *evenly_spaced(rest, ATTENTION_CLIPS - len(first))]:
        clip = [tokens.batches(torch.tensor([row])) for tokens in (part.visual, part.acoustic)]
        frames, windows = (it.times[0, it.mask[0]].numpy() for it in clip)
        shares = head.attention(*clip)
        if shares:
            visual, frames_s = _by_image(shares["visual"][0, : len(frames), : 1 + len(windows)], frames, windows)
            acoustic, windows_s = _by_image(shares["acoustic"][0, : len(windows), : 1 + len(frames)], windows, frames)
            yield ClipAttention(
                **_answer_fields(answers[row], classes),
                frames_s=_rounded(frames_s),
                windows_s=_rounded(windows_s),
                frames_to_windows=_rounded(visual),
                windows_to_frames=_rounded(acoustic.T),
            )


def _by_image(
    shares: Tensor, query_s: NDArray[np.float32], key_s: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shares (T, 1 + S) of tokens at these times as shares of images in images, and the queries' times.

    Tokens of one image share its time. The column of the sink is dropped: it is what a row lacks to 1.
    """
    (query, times), (key, _) = _images(query_s), _images(key_s)
    result = np.zeros((query.max() + 1, key.max() + 1))
    np.add.at(result, (query[:, None], key[None]), shares[:, 1:].double().numpy())
    return result / np.bincount(query)[:, None], times


def _images(times: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the image of each token (n,), of at most `MATRIX_SIDE` images, and their mean times."""
    unique, image = np.unique(times, return_inverse=True)
    if len(unique) > MATRIX_SIDE:
        image = image * MATRIX_SIDE // len(unique)
    return image, np.bincount(image, weights=times) / np.bincount(image)


def _rounded(values: NDArray[np.float64]) -> Any:
    return np.round(values, 4).tolist()
