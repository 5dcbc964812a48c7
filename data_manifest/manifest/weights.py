"""The published weights that the stages after the manifest will read, fetched before any of them starts."""

from collections.abc import Iterable
from typing import Any

from data_manifest.manifest.clips import Clip
from pipeline.base.params import read_section
from pipeline.weights.published import section_weights


def fetch_weights(clips: Iterable[Clip]) -> None:
    """Fetch and verify the weights that the modalities of the clips need, those of ablation rows too.

    Raise `WeightsError` if one is missing. Otherwise, a stage would find out after minutes of extraction. A corpus of
    audio alone needs no detector.
    """
    modalities = {name for clip in clips for name in clip.modalities.split("+")}
    sections: dict[str, dict[str, Any]] = {}
    if "visual" in modalities:
        sections["faces"] = read_section("faces", dict[str, Any])
        sections["embed_faces"] = read_section("embed_faces", dict[str, Any])
    if "acoustic" in modalities:
        sections["embed_mels"] = read_section("embed_mels", dict[str, Any])
    rows = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
    for section, values in sections.items():
        required = [*section_weights(section, values)]
        for row, changes in rows.items():
            if section in changes:
                required += section_weights(section, values | changes[section], row=row)
        for weights in required:
            weights.fetch()
