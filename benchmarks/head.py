"""Tokens of one modality, kept as arrays, as a folder in which `fdan ablate` compares heads.

`python -m benchmarks.head TOKENS.npz NETWORK FOLDER` writes the manifest, both stores (the visual one is empty), and a
copy of `params.yaml`. docs/head.md has the commands that follow.
"""

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, write_rows
from pipeline.base.params import PARAMS_FILE
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.writer import open_writer
from pipeline.training.corpus import ACOUSTIC, VISUAL


def main() -> None:
    """Read the command line, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path, help="clip_id, speaker, emotion, sentence, duration_s, offsets, times")
    parser.add_argument("network", help="the array of tokens (n, D) in this file; those of clip i: offsets[i:i + 2]")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with np.load(arguments.tokens) as arrays:
        write_folder(dict(arrays), arguments.network, arguments.folder)


def write_folder(arrays: dict[str, NDArray[Any]], network: str, folder: Path) -> None:
    """Write the manifest, the stores and the parameters."""
    text = {name: arrays[name].astype(str).tolist() for name in ("clip_id", "speaker", "emotion", "sentence")}
    clips = [
        Clip(
            clip_id=clip_id,
            corpus="tokens",
            path=clip_id,
            audio_path="",
            speaker=f"tokens/{speaker}",
            emotion=emotion,
            split="",
            sentence=sentence,
            modalities="acoustic",
            duration_s=float(duration_s),
            sha256=hashlib.sha256(clip_id.encode()).hexdigest(),
        )
        for clip_id, speaker, emotion, sentence, duration_s in zip(
            *text.values(), arrays["duration_s"].tolist(), strict=True
        )
    ]
    order = np.argsort(text["clip_id"])
    write_rows(folder / MANIFEST, [clips[row] for row in order], Clip)
    write_rows(folder / EXCLUSIONS, [], Exclusion)
    starts, tokens, times = arrays["offsets"], arrays[network].astype(np.float32), arrays["times"].astype(np.float32)
    attributes: dict[str, Any] = {name: {} for name in ("absent", "config", "excluded", "failures")}
    attributes |= {
        "schema": EMBEDDINGS.name,
        "fingerprint": network,
        "weights": {"name": network, "sha256": ""},
        "upstream": {"config": {}, "fingerprint": "", "version": ""},
    }
    like = {"tokens": tokens[:1], "times": times[:1]}
    for path, rows in ((VISUAL, []), (ACOUSTIC, order)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with open_writer(folder / path, like=like, attributes=attributes) as writer:
            for row in rows:
                part = slice(starts[row], starts[row + 1])
                columns = {"tokens": tokens[part], "times": times[part]}
                writer.append(clips[row].clip_id, columns, media_sha256=clips[row].sha256)
    shutil.copy(PARAMS_FILE, folder / PARAMS_FILE)


if __name__ == "__main__":
    main()
