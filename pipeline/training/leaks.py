"""What could let a test part be known from training: copies of a recording, and speakers under two names."""

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from data_manifest.manifest.speakers import similar_names
from data_manifest.splits.split import Split
from pipeline.base.selection import count_noun, shorten
from pipeline.heads.examples import Examples
from pipeline.heads.layers import mean_token
from pipeline.training.corpus import Corpus

log = logging.getLogger(__name__)
SAME_LENGTH_S = 0.04
# Cosines of standardised mean tokens above which two clips count as copies, for one modality and for each of two. Of
# re-encoded clips of the sample, 0.98 finds those of usual quality and no others, even with a random network.
COPY = {1: 0.995, 2: 0.98}
ROWS = 64  # clips that are compared at once with all others of their length, in half a kilobyte for each of these


def leak_notes(corpus: Corpus, splits: Sequence[Split]) -> list[str]:
    """Return, and log, one line about each kind of leak that the splits may have."""
    notes = [
        f"the speakers {shorten(names)} may be one person; if they are, merge them: corpora.*.speakers"
        for names in similar_names(clip.speaker for clip in corpus.clips)
    ]
    copies = list(near_copies(corpus))
    for protocol in dict.fromkeys(split.protocol for split in splits):
        parts = [_parts(split) for split in splits if split.protocol == protocol]
        apart = [f"{one} and {other}" for one, other in copies if any(_are_apart(it, one, other) for it in parts)]
        if apart:
            notes.append(
                f"{protocol}: {count_noun(len(apart), 'pair')} of clips in different parts look like copies of one "
                f"recording; leave one of each out: {shorten(apart)}"
            )
    for note in notes:
        log.warning("%s", note)
    return notes


def _parts(split: Split) -> dict[str, int]:
    """Return the number of the part that each clip is in."""
    return {
        clip.clip_id: number for number, part in enumerate((split.train, split.validation, split.test)) for clip in part
    }


def _are_apart(parts: dict[str, int], one: str, other: str) -> bool:
    return one in parts and other in parts and parts[one] != parts[other]


def near_copies(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Yield pairs of clips of one length, within 40 ms, whose embeddings are nearly equal in all their modalities."""
    durations = np.asarray([clip.duration_s for clip in corpus.clips])
    order = np.argsort(durations, kind="stable")
    tokens = [_standardised(values[order]) for values in _mean_tokens(corpus.examples)]
    durations = durations[order]
    for start in range(0, len(order), ROWS):
        rows = slice(start, start + ROWS)
        end = int(np.searchsorted(durations, durations[rows][-1] + SAME_LENGTH_S, side="right"))
        modalities = np.zeros((len(durations[rows]), end - start), np.int64)
        cosines = []
        for values in tokens:
            present = np.asarray(values.any(axis=1, keepdims=True))
            has_both = present[rows] & present[start:end].T
            modalities += has_both
            cosines.append(np.where(has_both, values[rows] @ values[start:end].T, 1.0))
        limit = np.choose(modalities == 2, (COPY[1], COPY[2]))
        has_same_length = np.abs(durations[rows, None] - durations[start:end]) <= SAME_LENGTH_S
        is_copy = has_same_length & (modalities > 0) & (np.minimum(*cosines) > limit)
        for row, column in np.argwhere(np.triu(is_copy, 1)).tolist():
            one, other = (corpus.clips[order[start + it]].clip_id for it in (row, column))
            yield min(one, other), max(one, other)


def _mean_tokens(examples: Examples) -> Iterable[NDArray[np.float32]]:
    """Return the mean token of each clip, NaN for one without, for both modalities: (n, D) each."""
    chunks = [
        [
            torch.where(tokens.present[:, None], mean_token(tokens), torch.nan)
            for tokens in (chunk.visual, chunk.acoustic)
        ]
        for chunk in examples.chunks()
    ]
    return [torch.cat(parts).numpy() for parts in zip(*chunks, strict=True)]


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (n, D) of length 1, relative to the mean and the spread of all; zeros for a row of NaN.

    All tokens of a random network point in nearly the same direction.
    """
    known = values[np.isfinite(values).all(1)]
    if not len(known):
        return np.zeros_like(values)
    spread = known.std(0)
    relative = np.nan_to_num((values - known.mean(0)) / np.where(spread > 0, spread, 1))
    return np.asarray(relative / np.maximum(np.linalg.norm(relative, axis=1, keepdims=True), 1e-12), np.float32)
