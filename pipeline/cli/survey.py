"""Pointing `params.yaml` at a corpus: a survey of the corpus, and suitable parameters."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from data_manifest.corpora.adapters import CorpusConfig, scan, speaker_namespace
from data_manifest.corpora.contract import VIDEO_SUFFIXES, Candidate, file_suffix
from data_manifest.corpora.probing import exclusion_check, use_fallback_files
from data_manifest.manifest.clips import ALL_EMOTIONS, ManifestConfig
from data_manifest.splits.protocols import MIN_SPEAKERS, RAVDESS_GROUPS
from pipeline.base.errors import CorpusError
from pipeline.base.files import atomic_write
from pipeline.base.params import PARAMS_FILE, read_params, read_section
from pipeline.base.selection import count_noun, shorten
from pipeline.evaluation.randomisation import minimum_p_value
from pipeline.media.truncation import is_cut_short

PUBLISHED = {"ravdess": "ravdess_6"}  # groups of speakers that publications use
MOST_SPEAKERS = 12  # for which each speaker is a fold
SPEAKER_FOLDS = 10  # for more speakers: a comparison counts folds, and of 5 it can conclude nothing
RANDOM_FOLDS = 5
OTHER_FILE = re.compile(r"^(the same [\w ]+?) as .*|^(the audio is taken) from .*")  # reasons that name another file


@dataclass(frozen=True)
class Survey:
    """The content of a corpus, according to file names and tables."""

    counts: dict[str, Counter[str]]  # clips by emotion, by modality, and by official part
    speakers: list[str]
    sentences: int
    clips: int
    notes: list[str]  # warnings, one line each

    @property
    def has_videos(self) -> bool:
        """Whether any clip has a video file."""
        return any(name.startswith("video") for name in self.counts["modalities"])


def survey_corpus(name: str, config: CorpusConfig, manifest: ManifestConfig) -> Survey:
    """Survey a corpus without decoding any media; raise `CorpusError` if it has no usable clip."""
    findings = scan(name, config)
    root = Path(config.root)
    reason_of = exclusion_check(root, follow_links=config.follow_links)
    candidates = [use_fallback_files(it, reason_of) for it in findings.candidates]
    candidate_files = {path for it in (*findings.candidates, *candidates) for path in it.files}
    unreadable = {path: reason for path in sorted(candidate_files) if (reason := reason_of(path))}
    readable = sorted({path for it in candidates for path in it.files} - unreadable.keys())
    clips = [it for it in candidates if set(it.files) - unreadable.keys()]
    if not clips:
        reasons = shorten(_count_reasons(unreadable))
        raise CorpusError(f"corpora.{name}.root: no file of {config.root} can be used; {reasons}")
    unused_files = {path: why for path, why in findings.left_out.items() if path not in candidate_files} | unreadable
    emotions = Counter(manifest.merge.get(it.emotion, it.emotion) for it in clips)
    if not emotions.keys() & set(ALL_EMOTIONS):
        raise CorpusError(
            f"corpora.{name}.root: none of the {len(clips)} clips in {config.root} has a known emotion: "
            f"they are labelled {shorten(sorted(emotions))}; rename labels with manifest.merge"
        )
    label_notes = [
        f"{count} clips have the unknown emotion {emotion!r}: they will be left out unless manifest.merge renames it"
        for emotion, count in sorted(emotions.items())
        if emotion not in ALL_EMOTIONS
    ]
    unused_labels = sorted(manifest.merge.keys() - {it.emotion for it in clips} - set(ALL_EMOTIONS))
    label_notes += [
        f"manifest.merge renames {label!r}, which no clip of this corpus has; delete it unless another corpus needs it"
        for label in unused_labels
    ]
    merged = Counter(it.emotion for it in clips if it.emotion in manifest.merge)
    label_notes += [
        f"{emotion!r} ({count_noun(count, 'clip')}) becomes {manifest.merge[emotion]!r}, by manifest.merge"
        for emotion, count in sorted(merged.items())
    ]
    return Survey(
        counts={
            "emotions": emotions,
            "modalities": Counter(_modalities(it, unreadable) for it in clips),
            "official parts": Counter(it.split for it in clips if it.split),
        },
        speakers=sorted({it.speaker for it in clips}),
        sentences=len({it.sentence for it in clips} - {""}),
        clips=len(clips),
        notes=[*findings.notes, *label_notes, *_count_reasons(unused_files), *_cut_short_notes(root, readable)],
    )


def _cut_short_notes(root: Path, paths: Sequence[str]) -> list[str]:
    """Return a line about the files that are cut short by their own headers, or none."""
    cut_short = [path for path in paths if is_cut_short(root / path)]
    verb = "is" if len(cut_short) == 1 else "are"
    return [f"{count_noun(len(cut_short), 'file')} {verb} cut short: {shorten(cut_short)}"] if cut_short else []


def _count_reasons(reasons: Mapping[str, str]) -> list[str]:
    """Return one line per reason with the number of files; the names of other files in a reason are dropped."""
    counts = Counter(OTHER_FILE.sub(r"\1\2", reason) for reason in reasons.values())
    return [f"{count_noun(count, 'file')} left out: {reason}" for reason, count in counts.most_common()]


def _modalities(candidate: Candidate, unreadable: Mapping[str, str]) -> str:
    """Return the modalities by the file names; only decoding can tell whether a video has audio."""
    readable = [path for path in candidate.files if path not in unreadable]
    videos = [path for path in readable if file_suffix(path) in VIDEO_SUFFIXES]
    return "video" + " and audio file" * (len(readable) > 1) if videos else "audio file"


def protocols_for(adapter: str, survey: Survey) -> dict[str, dict[str, Any]]:
    """Return the protocols for a corpus: official or speaker-independent ones if it allows them, and a random split.

    Published folds come second, for comparison with others: they are few, and comparisons count folds.
    """
    protocols: dict[str, dict[str, Any]] = {}
    speakers = len(survey.speakers)
    if {"train", "test"} <= survey.counts["official parts"].keys():
        protocols["official"] = {"kind": "official"}
    elif speakers >= MIN_SPEAKERS:
        how = {"groups": "each_speaker"} if speakers <= MOST_SPEAKERS else {"folds": SPEAKER_FOLDS}
        protocols["speaker_folds"] = {"kind": "speaker_folds", **how}
    if adapter in PUBLISHED and speakers > MOST_SPEAKERS:
        protocols["published_folds"] = {"kind": "speaker_folds", "groups": PUBLISHED[adapter]}
    return protocols | {"random": {"kind": "random", "folds": RANDOM_FOLDS}}


def describe_protocol(name: str, config: Mapping[str, Any], speakers: int) -> str:
    """Return a line on what comparisons on a protocol can show, if its number of folds is known."""
    published = RAVDESS_GROUPS.get(str(config.get("groups")))
    folds = len(published) if published else speakers if config.get("groups") else config.get("folds")
    if folds is None:
        return f"{name}: one training set; a comparison counts dialogues or speakers"
    return f"{name}: {folds} folds; p of a comparison is at least {minimum_p_value(folds):.2g}"


def write_params(entry: Mapping[str, Any], name: str, protocols: Mapping[str, Any], *, add: bool) -> list[str]:
    """Change `params.yaml` and keep its comments; return the changes, one line each.

    Unless `add`, the corpus replaces all others, including the sample.
    """
    read_params()
    yaml = YAML()
    yaml.width = 120
    yaml.representer.add_representer(type(None), _null)
    params = yaml.load(PARAMS_FILE)
    changes = [f"corpora.{name}: {entry['adapter']} at {entry['root']}"]
    if add:
        changes += _add_protocols(params, name, entry["adapter"], protocols)
    else:
        changes += _use_published_weights(params)
        for other in [it for it in params["corpora"] if it != name]:
            del params["corpora"][other]
            changes.append(f"corpora.{other}: removed")
        if params.get("render"):
            params["render"] = {}
            changes.append("render: sample corpus removed")
        params["protocols"] = {key: _flow(value) for key, value in protocols.items()}
        changes.append(f"protocols: {', '.join(protocols)}")
    params["corpora"][name] = dict(entry)
    # ruamel.yaml stores a blank line with the value before it, which was replaced.
    for section in ("corpora", "manifest", "ablations"):
        if not add:
            params.yaml_set_comment_before_after_key(section, before="\n")
    with atomic_write(PARAMS_FILE) as temporary:
        yaml.dump(params, temporary)
    read_section("corpora", dict[str, CorpusConfig])
    return changes


def _use_published_weights(params: Any) -> list[str]:
    """Replace the random weights that the sample comes with; elsewhere, they are somebody's choice."""
    if not params.get("render"):
        return []
    sections = [it for it in ("embed_faces", "embed_mels") if params[it].get("weights") == "random"]
    for section in sections:
        params[section]["weights"] = "imagenet"
    return [f"{section}.weights: imagenet instead of random" for section in sections]


def _add_protocols(params: Any, name: str, adapter: str, protocols: Mapping[str, Any]) -> list[str]:
    """Keep each protocol to the corpora that it was made for, and add those of another corpus; return the changes."""
    changes = []
    others = [it for it in params["corpora"] if it != name]
    for label, values in params["protocols"].items():
        if not values.get("corpora") and values.get("kind") != "cross_corpus":
            params["protocols"][label] = _flow({**values, "corpora": others})
            changes.append(f"protocols.{label}: of {shorten(others)} only, as before")
    for label, values in protocols.items():
        added = f"{name}_{label}"
        params["protocols"][added] = _flow({**values, "corpora": [name]})
        changes.append(f"protocols.{added}: of {name} only")
    namespaces = {speaker_namespace(it, params["corpora"][it]["adapter"]) for it in others}
    if others and speaker_namespace(name, adapter) not in namespaces:  # else they share their speakers
        added = f"{name}_from_others"
        params["protocols"][added] = _flow({"kind": "cross_corpus", "train": others, "test": [name]})
        changes.append(f"protocols.{added}: trains on {shorten(others)}, tests on {name}")
    return changes


def _null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    """Write `null`, because a key without a value looks like a mistake."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _flow(values: Mapping[str, Any]) -> Any:
    """Return a copy of the mapping that YAML writes on one line, without anchors for lists that others share."""
    mapping = CommentedMap(deepcopy(dict(values)))
    mapping.fa.set_flow_style()
    return mapping


def describe_counts(counts: Mapping[str, int]) -> Sequence[str]:
    """Return each name with its count, the largest first."""
    return [f"{name} {count}" for name, count in Counter(counts).most_common()]
