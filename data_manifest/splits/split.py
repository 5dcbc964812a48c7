"""Training, validation and test clips: a `Split` cannot leak, because it is checked on construction.

Splits consist of whole clips, before anything is cut into frames or windows. `protocols` chooses the parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_manifest.manifest.clips import Clip
from pipeline.base.errors import CorpusError
from pipeline.base.selection import shorten

Clips = tuple[Clip, ...]
Key = Callable[[Clip], str]
ALWAYS_DISJOINT: dict[str, Key] = {
    "clips": lambda clip: clip.clip_id,
    "media": lambda clip: clip.sha256,
    "performances": lambda clip: clip.performance,
}


@dataclass(frozen=True)
class Split:
    """Three disjoint parts: no clip, recording or performance is in two of them.

    Unless `speakers_shared`, no speaker is in two parts. Unless `sentences_shared`, no sentence of the test part is in
    another part.
    """

    protocol: str
    fold: int
    train: Clips
    validation: Clips
    test: Clips
    speakers_shared: bool = False
    sentences_shared: bool = True

    def __post_init__(self) -> None:
        """Raise if a part is empty, if two parts overlap, or if a class is missing from training."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for name, part in parts.items():
            if not part:
                raise CorpusError(f"fold {self.fold}: the {name} part is empty: there are too few clips or speakers")
        for what, key in ALWAYS_DISJOINT.items():
            self._require_disjoint(what, key)
        if not self.speakers_shared:
            self._require_disjoint("speakers", lambda clip: clip.speaker)
        if not self.sentences_shared:
            self._require_disjoint(
                "sentences", lambda clip: clip.sentence, pairs=(("train", "test"), ("validation", "test"))
            )
        unseen = {clip.emotion for clip in self.test + self.validation} - {clip.emotion for clip in self.train}
        if unseen:
            raise CorpusError(f"fold {self.fold}: {self._describe_unseen(sorted(unseen))}")

    def _require_disjoint(
        self,
        what: str,
        key: Key,
        *,
        pairs: Sequence[tuple[str, str]] = (("train", "validation"), ("train", "test"), ("validation", "test")),
    ) -> None:
        parts: dict[str, Clips] = {name: getattr(self, name) for name in ("train", "validation", "test")}
        keys = {name: {key(clip) for clip in part} for name, part in parts.items()}
        for first, second in pairs:
            common = keys[first] & keys[second]
            if common:
                shared = [clip for clip in parts[first] + parts[second] if key(clip) in common]
                clip_ids = dict.fromkeys(it.clip_id for it in sorted(shared, key=lambda it: (key(it), it.clip_id)))
                raise CorpusError(f"fold {self.fold}: the same {what} in {first} and {second}: {shorten([*clip_ids])}")

    def _describe_unseen(self, emotions: Sequence[str]) -> str:
        """Return which emotions are missing from training, and what the user can do about it."""
        speakers = {clip.speaker for clip in self.train + self.validation + self.test if clip.emotion in emotions}
        problem = f"no training clip is labelled {', '.join(emotions)}"
        if len(speakers) == 1:
            return f"{problem}: only {speakers.pop()} shows it; merge it into another emotion with manifest.merge"
        return f"{problem}; try another seed or protocol, or merge it into another emotion with manifest.merge"
