"""The corpus of a training: the manifest's clips that have tokens, with their embeddings and labels."""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, read_rows
from pipeline.base.errors import StoreError
from pipeline.base.memory import available_bytes
from pipeline.base.provenance import digest
from pipeline.heads.examples import Examples
from pipeline.store.embedding_files import EmbeddingFiles
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
    lost: Collection[str] = (),
    memory_bytes: float = math.inf,
) -> Examples:
    """Return the clips in the given order as examples; tokens stay in their files if they need more memory.

    The clips whose ids are in `lost` have no tokens, whatever the files hold.
    """
    clip_ids = [NO_CLIP if clip.clip_id in lost else clip.clip_id for clip in clips]
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


STANDARD = EmbeddingFiles()
VISUAL, ACOUSTIC = STANDARD
NO_CLIP = ""  # the id of no clip


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus. Paths of embeddings are relative to the folder, or absolute.

    If its embeddings are compared with others, the clips are those that have a token in any of these.
    """

    folder: Path
    embeddings: EmbeddingFiles = STANDARD
    compared: tuple[EmbeddingFiles, ...] = ()

    def stores(self, files: EmbeddingFiles) -> tuple[FeatureStore, FeatureStore]:
        """Return the embeddings in these files."""
        return FeatureStore(self.folder / files.visual), FeatureStore(self.folder / files.acoustic)


@dataclass(frozen=True)
class Corpus:
    """The clips that have tokens, with these, in the order of the manifest.

    Of embeddings that are compared with others, a clip may have no token: it is lost.
    """

    clips: list[Clip]
    classes: list[str]
    examples: Examples
    left_out: list[Exclusion]  # by this stage and those before
    provenance: dict[str, Any]  # by modality: settings, weights and code that made the embeddings
    files: CorpusFiles | None = None  # if it was read from files

    @property
    def version(self) -> str:
        """The digest of clips, labels and embeddings."""
        data = {modality: origin["version"] for modality, origin in self.provenance.items()}
        return digest([data, [[clip.clip_id, clip.emotion] for clip in self.clips]])

    @property
    def modalities(self) -> dict[str, Tensor]:
        """Whether each clip has any token of each modality, (clips,) by modality."""
        return {"visual": self.examples.visual.present, "acoustic": self.examples.acoustic.present}

    def part(self, clips: Sequence[Clip], config: TrainConfig) -> Examples:
        """Return the examples of the given clips as a head with this configuration takes them."""
        position = {clip.clip_id: index for index, clip in enumerate(self.clips)}
        return normalise_speakers(self.examples, config).take(torch.tensor([position[clip.clip_id] for clip in clips]))


def open_corpus(
    folder: Path = Path(),
    *,
    embeddings: EmbeddingFiles = STANDARD,
    compared: tuple[EmbeddingFiles, ...] = (),
    processes: int = 1,
) -> Corpus:
    """Read the manifest and both stores of a repository; see `CorpusFiles` for `compared`.

    Embeddings are kept in memory if they fit into half of what is available; the machine runs so many `processes` that
    keep their own.
    """
    memory_bytes = available_bytes() / (2 * processes * max(1, len(compared)))
    files = CorpusFiles(folder, embeddings, compared)
    visual, acoustic = files.stores(embeddings)
    listed = read_rows(folder / MANIFEST, Clip)
    usable, left_out = select_usable(listed, visual, acoustic)
    kept = {clip.clip_id for clip in usable}
    lost: set[str] = set()
    for other in compared:
        lost |= {clip.clip_id for clip in select_usable(listed, *files.stores(other))[0]} - kept
    kept |= lost
    clips = [clip for clip in listed if clip.clip_id in kept]
    left_out = [it for it in left_out if it.clip_id not in lost]
    classes = sorted({clip.emotion for clip in clips})
    names = ("config", "weights", "upstream", "fingerprint")
    provenance = {
        modality: {name: store.attributes[name] for name in names}
        | {"failures": lost_clips(store), "version": store.reader.version}
        for modality, store in (("visual", visual), ("acoustic", acoustic))
    }
    return Corpus(
        clips,
        classes,
        load_examples(clips, classes, visual, acoustic, lost=lost, memory_bytes=memory_bytes),
        [*read_rows(folder / EXCLUSIONS, Exclusion), *left_out],
        provenance,
        replace(files, folder=folder.resolve()),  # workers have other current folders
    )
