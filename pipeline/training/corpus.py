"""The corpus of a training: the manifest's clips that have tokens, with their embeddings and labels."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, read_rows
from pipeline.base.errors import StoreError
from pipeline.base.memory import available_bytes
from pipeline.base.provenance import digest
from pipeline.heads.examples import Examples
from pipeline.store.features import FeatureStore
from pipeline.training.recipe import TrainConfig
from pipeline.training.speakers import normalise_speakers

log = logging.getLogger(__name__)


def load_examples(
    clips: Sequence[Clip],
    classes: Sequence[str],
    visual: FeatureStore,
    acoustic: FeatureStore,
    *,
    memory_bytes: float = math.inf,
) -> Examples:
    """Return the clips in the given order as examples; tokens stay in their files if they need more memory."""
    clip_ids = [clip.clip_id for clip in clips]
    labels = torch.tensor([classes.index(clip.emotion) for clip in clips])
    names = sorted({clip.speaker for clip in clips})
    speakers = torch.tensor([names.index(clip.speaker) for clip in clips])
    needed = visual.padded_bytes(clip_ids) + acoustic.padded_bytes(clip_ids)
    if needed <= memory_bytes:
        return Examples(visual.load(clip_ids), acoustic.load(clip_ids), labels, speakers)
    log.info("%.2f GB of embeddings stay on disk: the memory has room for %.2f GB", needed / 1e9, memory_bytes / 1e9)
    return Examples(visual.open_tokens(clip_ids), acoustic.open_tokens(clip_ids), labels, speakers)


def select_usable(
    clips: Sequence[Clip], visual: FeatureStore, acoustic: FeatureStore
) -> tuple[list[Clip], list[Exclusion]]:
    """Return the clips with at least one token, and the others with the reason."""
    for store in (visual, acoustic):
        for clip in clips:
            if store.reader.media_sha256.get(clip.clip_id, clip.sha256) != clip.sha256:
                raise StoreError(f"{store.reader.path} holds an earlier version of {clip.clip_id}; run: dvc repro")
    stores = (visual, acoustic)
    excluded = {clip_id: reason for store in stores for clip_id, reason in store.attributes["excluded"].items()}
    with_tokens = {clip_id for store in stores for clip_id in store.clips_with_tokens()} - excluded.keys()
    lost = [lost_clips(store) for store in stores]

    def reason_of(clip_id: str) -> str:
        reasons = [it[clip_id] for it in lost if clip_id in it]
        return excluded.get(clip_id) or "; ".join(reasons) or "neither a face nor audio was found in it"

    left_out = [
        Exclusion(clip.clip_id, clip.path, "train", reason_of(clip.clip_id))
        for clip in clips
        if clip.clip_id not in with_tokens
    ]
    return [clip for clip in clips if clip.clip_id in with_tokens], left_out


def lost_clips(store: FeatureStore) -> dict[str, str]:
    """Return the clips without this modality that are not excluded, with the reason."""
    return dict(store.attributes["failures"]) | dict(store.attributes["absent"])


VISUAL = Path("data/embeddings/visual.h5")
ACOUSTIC = Path("data/embeddings/acoustic.h5")


@dataclass(frozen=True)
class Corpus:
    """The clips that have tokens, with these, in the order of the manifest."""

    clips: list[Clip]
    classes: list[str]
    examples: Examples
    left_out: list[Exclusion]  # by this stage and those before
    provenance: dict[str, Any]  # by modality: settings, weights and code that made the embeddings
    folder: Path | None = None  # of its files, if it was read from files

    @property
    def version(self) -> str:
        """The digest of clips, labels and embeddings."""
        data = {modality: origin["version"] for modality, origin in self.provenance.items()}
        return digest([data, [[clip.clip_id, clip.emotion] for clip in self.clips]])

    def part(self, clips: Sequence[Clip], config: TrainConfig) -> Examples:
        """Return the examples of the given clips as a head with this configuration takes them."""
        position = {clip.clip_id: index for index, clip in enumerate(self.clips)}
        return normalise_speakers(self.examples, config).take(torch.tensor([position[clip.clip_id] for clip in clips]))


def open_corpus(folder: Path = Path(), *, processes: int = 1) -> Corpus:
    """Read the manifest and both stores of a repository.

    Embeddings are kept in memory if they fit into half of what is available; the machine runs so many `processes` that
    keep their own.
    """
    memory_bytes = available_bytes() / (2 * processes)
    stores = {"visual": FeatureStore(folder / VISUAL), "acoustic": FeatureStore(folder / ACOUSTIC)}
    clips, left_out = select_usable(read_rows(folder / MANIFEST, Clip), stores["visual"], stores["acoustic"])
    left_out = [*read_rows(folder / EXCLUSIONS, Exclusion), *left_out]
    classes = sorted({clip.emotion for clip in clips})
    names = ("config", "weights", "upstream", "fingerprint")
    provenance = {
        modality: {name: store.attributes[name] for name in names}
        | {"failures": lost_clips(store), "version": store.reader.version}
        for modality, store in stores.items()
    }
    return Corpus(
        clips,
        classes,
        load_examples(clips, classes, stores["visual"], stores["acoustic"], memory_bytes=memory_bytes),
        left_out,
        provenance,
        folder.resolve(),
    )
