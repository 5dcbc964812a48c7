"""Dialogues: clips that were cut from one scene, and so resemble one another."""

import re

from data_manifest.manifest.clips import Clip

MELD_NAME = re.compile(r"(dia\d+)_utt\d+$")


def dialogue_of(clip: Clip) -> str:
    """Return the dialogue of a clip, `meld/test/dia3`; "" if its corpus names none."""
    match = MELD_NAME.search(clip.clip_id)
    return "/".join(part for part in (clip.corpus, clip.split, match[1]) if part) if match else ""
