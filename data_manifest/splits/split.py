"""Which clips train, validate and test: a `Split` that cannot leak, because it is checked when it is made.

Splits are made of whole clips before anything is cut into frames or windows. How the parts are chosen is the
matter of `protocols`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_manifest.manifest.clips import Clip
from pipeline.base.errors import CorpusError
from pipeline.base.selection import shorten

Clips = tuple[Clip, ...]
Key = Callable[[Clip], str]
ALWAYS_APART: dict[str, Key] = {
    "clips": lambda clip: clip.clip_id,
    "media": lambda clip: clip.sha256,
    "performances": lambda clip: clip.performance,
}


@dataclass(frozen=True)
class Split:
    """Three disjoint parts: no clip, no recording and no performance is in two of them.

    Neither is a speaker, unless `speakers_shared`; and the test part's sentences are in no other part, unless
    `sentences_shared`.
    """

    protocol: str
    fold: int
    train: Clips
    validation: Clips
    test: Clips
    speakers_shared: bool = False
    sentences_shared: bool = True

    def __post_init__(self) -> None:
        """Refuse to exist with a leak, or with a class that training never sees."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for name, part in parts.items():
            if not part:
                raise CorpusError(f"fold {self.fold}: the {name} part is empty; too few clips or speakers")
        for what, key in ALWAYS_APART.items():
            self._demand_apart(what, key)
        if not self.speakers_shared:
            self._demand_apart("speakers", lambda clip: clip.speaker)
        if not self.sentences_shared:
            self._demand_apart(
                "sentences", lambda clip: clip.sentence, pairs=(("train", "test"), ("validation", "test"))
            )
        unseen = {clip.emotion for clip in self.test + self.validation} - {clip.emotion for clip in self.train}
        if unseen:
            raise CorpusError(f"fold {self.fold}: {self._why_unseen(sorted(unseen))}")

    def _demand_apart(
        self,
        what: str,
        key: Key,
        *,
        pairs: Sequence[tuple[str, str]] = (("train", "validation"), ("train", "test"), ("validation", "test")),
    ) -> None:
        parts: dict[str, Clips] = {name: getattr(self, name) for name in ("train", "validation", "test")}
        keys = {name: {key(clip) for clip in part} for name, part in parts.items()}
        for one, other in pairs:
            common = keys[one] & keys[other]
            if common:
                twice = [clip for clip in parts[one] + parts[other] if key(clip) in common]
                offenders = dict.fromkeys(it.clip_id for it in sorted(twice, key=lambda it: (key(it), it.clip_id)))
                raise CorpusError(f"fold {self.fold}: the same {what} in {one} and {other}: {shorten([*offenders])}")

    def _why_unseen(self, emotions: Sequence[str]) -> str:
        """Return what can be done about emotions that training never sees."""
        everything = self.train + self.validation + self.test
        speakers = {clip.speaker for clip in everything if clip.emotion in emotions}
        never = f"training never sees {', '.join(emotions)}"
        if len(speakers) == 1:
            return f"{never}: {speakers.pop()} alone shows it; manifest.merge can join it with another emotion"
        return f"{never}; another seed or protocol may, or manifest.merge can join it with another emotion"
