"""Published results on the same corpus and the same folds, to show next to ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EMOBOX = "EmoBox, table 4 (Ma et al., Interspeech 2024)"
CAVEATS = {
    "ravdess": (
        "audio only, a frozen encoder with a head of two layers",
        "their recipe scores the checkpoint of every epoch on the test part, so the figures are optimistic",
        "8 classes: comparable only if manifest.merge keeps calm apart from neutral",
    ),
    "savee": (
        "audio only, a frozen encoder with a head of two layers",
        "their recipe scores the checkpoint of every epoch on the test part, so the figures are optimistic",
        "four speakers: intervals are wide",
    ),
}
ANCHORS: dict[tuple[str, str], dict[str, float]] = {  # adapter and groups of speakers: UAR in %, by encoder
    ("ravdess", "ravdess_6"): {
        "wav2vec 2.0 base": 54.3,
        "WavLM base": 61.6,
        "WavLM large": 72.0,
        "HuBERT base": 65.4,
        "HuBERT large": 70.0,
        "Whisper large v3": 75.3,
    },
    ("savee", "each_speaker"): {
        "wav2vec 2.0 base": 44.9,
        "WavLM base": 63.6,
        "WavLM large": 66.7,
        "HuBERT base": 58.9,
        "HuBERT large": 71.9,
        "Whisper large v3": 74.1,
    },
}


@dataclass(frozen=True)
class Anchors:
    """Published figures for one of our protocols: UAR in %, by encoder."""

    protocol: str
    source: str
    uar: Mapping[str, float]
    caveats: tuple[str, ...]


def anchors_for(params: Mapping[str, Any]) -> list[Anchors]:
    """Return the published figures for each protocol whose corpus and folds are those of a publication.

    They are comparable if that corpus is the only one, with the adapter's default options.
    """
    corpora = [(it["adapter"], it.get("options")) for it in params["corpora"].values()]
    if len(corpora) != 1 or corpora[0][1]:
        return []
    adapter = corpora[0][0]
    keys = {name: (adapter, config.get("groups")) for name, config in params.get("protocols", {}).items()}
    return [
        Anchors(name, EMOBOX, ANCHORS[key], CAVEATS[adapter])
        for name, key in keys.items()
        if isinstance(key[1], str) and key in ANCHORS
    ]
