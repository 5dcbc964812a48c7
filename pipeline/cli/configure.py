"""Pointing `params.yaml` at a corpus: what it holds, and the parameters that suit it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from data_manifest.corpora.adapters import CorpusConfig, scan
from data_manifest.corpora.contract import VIDEO_SUFFIXES, Candidate, file_suffix
from data_manifest.corpora.probing import unreadable_reason, use_fallback_files
from data_manifest.manifest.clips import ALL_EMOTIONS, ManifestConfig
from pipeline.base.errors import CorpusError
from pipeline.base.files import atomic_write
from pipeline.base.params import PARAMS_FILE, read_params, read_section
from pipeline.base.selection import shorten

SPEAKER_INDEPENDENT = {"savee": {"groups": "each_speaker"}, "ravdess": {"groups": "ravdess_6"}}
MOST_FOLDS = 5
OTHER_FILE = re.compile(r"^(the same [\w ]+?) as .*|^(the audio is taken) from .*")


@dataclass(frozen=True)
class Survey:
    """What an adapter finds, before any media is opened."""

    counts: dict[str, Counter[str]]  # emotions, parts, modalities
    speakers: list[str]
    sentences: int
    clips: int
    oddities: list[str]  # one line each


def survey(name: str, config: CorpusConfig, manifest: ManifestConfig) -> Survey:
    """Look at a corpus: its clips by name, its files by size; nothing is decoded."""
    findings = scan(name, config)
    root = Path(config.root)
    candidates = [use_fallback_files(root, it) for it in findings.candidates]
    named = {path for it in (*findings.candidates, *candidates) for path in it.files}
    spoilt = {path: reason for path in sorted(named) if (reason := unreadable_reason(root / path))}
    clips = [it for it in candidates if set(it.files) - spoilt.keys()]
    if not clips:
        raise CorpusError(f"corpora.{name}.root: no file of {config.root} can be used; {shorten(_by_reason(spoilt))}")
    unused_files = {path: why for path, why in findings.left_out.items() if path not in named} | spoilt
    emotions = Counter(manifest.merge.get(it.emotion, it.emotion) for it in clips)
    if not emotions.keys() & set(ALL_EMOTIONS):
        raise CorpusError(
            f"corpora.{name}.root: {config.root} holds {len(clips)} clips, and none has an emotion of the pipeline: "
            f"they are labelled {shorten(sorted(emotions))}; manifest.merge can rename labels"
        )
    strange = [
        f"{count} clips are labelled {emotion!r}, which is no emotion of the pipeline: manifest.merge can rename it"
        for emotion, count in sorted(emotions.items())
        if emotion not in ALL_EMOTIONS
    ]
    unused = sorted(manifest.merge.keys() - {it.emotion for it in clips} - set(ALL_EMOTIONS))
    strange += [
        f"manifest.merge renames {label!r}, and no clip here is labelled so: if none elsewhere is, take it out"
        for label in unused
    ]
    return Survey(
        counts={
            "emotions": emotions,
            "modalities": Counter(_modalities(it, spoilt) for it in clips),
            "official parts": Counter(it.split for it in clips if it.split),
        },
        speakers=sorted({it.speaker for it in clips}),
        sentences=len({it.sentence for it in clips} - {""}),
        clips=len(clips),
        oddities=[*findings.notes, *strange, *_by_reason(unused_files)],
    )


def _by_reason(reasons: Mapping[str, str]) -> list[str]:
    """Return how many files are left out for each reason; which other file they equal does not matter here."""
    counts = Counter(OTHER_FILE.sub(r"\1\2", reason) for reason in reasons.values())
    return [f"{count} files left out: {reason}" for reason, count in counts.most_common()]


def _modalities(candidate: Candidate, spoilt: Mapping[str, str]) -> str:
    """Return what the names of its files promise; whether a film has sound, only decoding can tell."""
    there = [path for path in candidate.files if path not in spoilt]
    films = [path for path in there if file_suffix(path) in VIDEO_SUFFIXES]
    return "film" + " and sound file" * (len(there) > 1) if films else "sound file"


def protocols_for(adapter: str, found: Survey) -> dict[str, dict[str, Any]]:
    """Return the honest protocol for the corpus, and a random split beside it."""
    protocols: dict[str, dict[str, Any]] = {}
    folds = min(MOST_FOLDS, len(found.speakers))
    if {"train", "test"} <= found.counts["official parts"].keys():
        protocols["official"] = {"kind": "official"}
    elif adapter in SPEAKER_INDEPENDENT:
        protocols["speaker_folds"] = {"kind": "speaker_folds", **SPEAKER_INDEPENDENT[adapter]}
    elif folds > 2:
        protocols["speaker_folds"] = {"kind": "speaker_folds", "folds": folds}
    return protocols | {"random": {"kind": "random", "folds": MOST_FOLDS}}


def write_params(entry: Mapping[str, Any], name: str, protocols: Mapping[str, Any], *, add: bool) -> list[str]:
    """Change `params.yaml`, comments kept; return what changed, one line each.

    Unless `add`, the corpus takes the place of all others, the sample among them.
    """
    read_params()
    yaml = YAML()
    yaml.width = 120
    yaml.representer.add_representer(type(None), _null)
    params = yaml.load(PARAMS_FILE)
    changes = [f"corpora.{name}: {entry['adapter']} at {entry['root']}"]
    if not add:
        for other in [it for it in params["corpora"] if it != name]:
            del params["corpora"][other]
            changes.append(f"corpora.{other}: taken out")
        if params.get("render"):
            params["render"] = {}
            changes.append("render: no sample corpus")
        params["protocols"] = {key: _flow(value) for key, value in protocols.items()}
        changes.append(f"protocols: {', '.join(protocols)}")
    params["corpora"][name] = dict(entry)
    for section in ("embed_faces", "embed_mels"):
        if params[section].get("weights") == "random":
            params[section]["weights"] = "imagenet"
            changes.append(f"{section}.weights: imagenet, instead of random")
    for section in ("corpora", "manifest", "ablations"):  # the blank lines before these went with what stood there
        if not add:
            params.yaml_set_comment_before_after_key(section, before="\n")
    with atomic_write(PARAMS_FILE) as temporary:
        yaml.dump(params, temporary)
    read_section("corpora", dict[str, CorpusConfig])
    return changes


def _null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    """Write `null`, not nothing: a key without a value looks like a mistake."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _flow(values: Mapping[str, Any]) -> Any:
    """Return a mapping that is written on one line."""
    flowing = CommentedMap(values)
    flowing.fa.set_flow_style()
    return flowing


def describe_counts(counts: Mapping[str, int]) -> Sequence[str]:
    """Return the counts in words, the largest first."""
    return [f"{name} {count}" for name, count in Counter(counts).most_common()]
