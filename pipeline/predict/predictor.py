"""Predictions on new clips: they are extracted with the settings that the head was trained with."""

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data_manifest.corpora.contract import is_utf8
from data_manifest.corpora.probing import probe_files, unreadable_reason
from data_manifest.manifest.media_table import MediaRow
from pipeline.base.digests import cached_sha256
from pipeline.base.errors import ParameterError, PipelineError
from pipeline.base.params import check
from pipeline.base.tables import table_text
from pipeline.base.text import one_line
from pipeline.embeddings.backbones import BackboneConfig, describe_weights
from pipeline.embeddings.engines import choose_convolution
from pipeline.embeddings.int8 import find_quantised_model
from pipeline.embeddings.step import write_tokens
from pipeline.embeddings.tokens import SOURCES, Source
from pipeline.evaluation.schemas import HeadlineRow
from pipeline.faces.crops import FacesConfig
from pipeline.faces.step import write_faces
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples
from pipeline.media.files import ClipFiles
from pipeline.media.probe import MediaInfo
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.features import FeatureStore
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.training.answers import predict
from pipeline.training.checkpoints import MEDIA_DIGITS, Card, load_head
from pipeline.training.head_file import HeadFile
from pipeline.training.speakers import normalise_speakers
from pipeline.training.temperature import apply_temperatures

MODEL = Path("models/head.safetensors")
FILES = {"weights": ("", "imagenet", "random"), "boxes": ("",), "landmark_weights": ("",)}  # settings that are paths
SYNCHRONOUS = ExecutionConfig(scheduler="synchronous")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipPrediction:
    """The prediction for one clip: probabilities by modality (`visual`, `acoustic`, `fused`) and emotion.

    A modality that the clip lacks is absent. Without probabilities, the notes give the reason.
    """

    path: Path
    probabilities: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)  # what the clip lacks, and why
    modalities: tuple[str, ...] = ()  # that the fused answer comes from

    @property
    def emotion(self) -> str:
        """The most probable emotion; empty without probabilities."""
        fused = self.probabilities.get("fused", {})
        return max(fused, key=lambda emotion: fused[emotion], default="")

    @property
    def name(self) -> str:
        """The path as text; bytes of it that are not UTF-8 are escaped."""
        return str(self.path).encode(errors="backslashreplace").decode()

    def as_json(self) -> dict[str, Any]:
        """Return the prediction as JSON-like data."""
        return {
            "clip": self.name,
            "emotion": self.emotion,
            "probabilities": self.probabilities,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class ClipInputs:
    """The head's inputs for some clips, and the faces and windows they come from; valid inside `Predictor.extract`."""

    paths: list[Path]
    faces: Reader[ClipFaces]
    windows: Reader[ClipWindows]
    examples: Examples  # in the order of the paths; the labels are meaningless, and so are the speakers
    notes: dict[Path, list[str]]


class Predictor:
    """A trained head with the extraction that it was trained on: `Predictor()(["clip.mp4"])`."""

    def __init__(
        self, model: Path | str = MODEL, *, run: ExecutionConfig = SYNCHRONOUS, allow: Collection[str] = ()
    ) -> None:
        """Load the head; `run` configures where clips are extracted.

        The head may be a stranger's. What it names besides built-in parts and published weights is used only if
        `allow` lists it: plugins as `package.module:function`, and files as the head writes them.
        """
        self.model, self.run, self.allow = Path(model), run, frozenset(allow)
        self.head: Head
        self.card: Card
        self.head, self.card = load_head(self.model, allow=self.allow)
        self.seen = self.card.trained.media_digits
        self.faces = self._settings("visual", "upstream", FacesConfig)
        self.windows = self._settings("acoustic", "upstream", SpectrogramsConfig)
        self.backbones = {modality: self._settings(modality, "", BackboneConfig) for modality in ("visual", "acoustic")}

    def _settings(self, modality: str, part: str, model: type[Any]) -> Any:
        trained_on = self.card.embeddings[modality]
        values = trained_on.upstream.config if part else trained_on.config
        config = check(values, model, where=f"{self.model}, {modality}", allow=self.allow)
        for key, built_in in FILES.items():
            value = getattr(config, key, "")
            if value not in built_in and value not in self.allow:
                raise ParameterError(
                    f"{self.model}, {modality}.{key} = {one_line(repr(value))} is a file that the head asks to read; "
                    "if you trust that: fdan predict --allow-file, or Predictor(allow=[…]), with this path"
                )
        return config

    @property
    def expected_results(self) -> list[HeadlineRow]:
        """The cross-validated results on other speakers, from the file next to the head; empty without it."""
        path = self.model.with_suffix(".json")
        rows = HeadFile.read(path).expected if path.is_file() else []
        return [row for row in rows if not row.speakers_shared]

    @property
    def has_random_weights(self) -> bool:
        """Whether a backbone has random weights, so that predictions are meaningless."""
        return any(trained_on.weights.name == "random" for trained_on in self.card.embeddings.values())

    def __call__(self, paths: Sequence[Path | str]) -> list[ClipPrediction]:
        """Return a prediction for each file; one that cannot be read has no probabilities, and a note that says why."""
        with self.extract(paths) as inputs:
            return self.predict(inputs)

    def predict(self, inputs: ClipInputs) -> list[ClipPrediction]:
        """Return a prediction for each extracted clip."""
        present = {"visual": inputs.examples.visual.present, "acoustic": inputs.examples.acoustic.present}
        probabilities = apply_temperatures(
            predict(self.head, inputs.examples, trained=self.card.trained.modalities), self.card.temperatures
        )
        return [
            ClipPrediction(
                path,
                {
                    modality: dict(zip(self.card.classes, probabilities[modality][row].tolist(), strict=True))
                    for modality in ("visual", "acoustic", "fused")
                    if not torch.isnan(probabilities[modality][row]).any()
                },
                inputs.notes[path],
                tuple(name for name in self.card.trained.modalities if present[name][row]),
            )
            for row, path in enumerate(inputs.paths)
        ]

    @contextmanager
    def extract(self, paths: Sequence[Path | str]) -> Iterator[ClipInputs]:
        """Extract the head's inputs with the steps of training and their memo."""
        clips = [Path(path) for path in dict.fromkeys(map(Path, paths))]
        notes: dict[Path, list[str]] = {path: [] for path in clips}
        media, sha256 = self._probe(clips, notes)
        for path, info in media.items():
            file = MediaRow(info.decoded_s, info.promised_s)
            notes[path] += [file.lengths] if file.complete < 1 else []
            if sha256[str(path)][:MEDIA_DIGITS] in self.seen:
                notes[path].append("the head was trained on this recording")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stores = self._extract(folder, media, sha256, notes)
            visual, acoustic = (stores[modality].load([*map(str, clips)]) for modality in ("visual", "acoustic"))
            zeros = torch.zeros(len(clips), dtype=torch.int64)
            examples = Examples(visual, acoustic, zeros, zeros)
            for row, path in enumerate(clips):
                notes[path] += _missing_modalities(media.get(path), examples, row, is_explained=bool(notes[path]))
            if self.card.train.speaker_normalisation != "none":
                examples = _normalise_as_one_speaker(examples, self.card, [notes[path] for path in clips])
            faces = Reader(folder / SOURCES["faces"].path.name, schema=FACES)
            windows = Reader(folder / SOURCES["mels"].path.name, schema=WINDOWS)
            yield ClipInputs(clips, faces, windows, examples, notes)

    def _probe(
        self, clips: Sequence[Path], notes: Mapping[Path, list[str]]
    ) -> tuple[dict[Path, MediaInfo], dict[str, str]]:
        """Return what each file holds, and its sha256 by name; note why others cannot be read."""
        reasons = {path: _reason_not_to_read(path) or unreadable_reason(path) for path in clips}
        readable = [path for path, reason in reasons.items() if not reason]
        sha256 = dict(zip(map(str, readable), cached_sha256(readable), strict=True))
        jobs = [ClipJob(str(path), sha256[str(path)], path.absolute) for path in readable]
        media, failures = probe_files(jobs, self.run, title="probe", quiet=True)
        for path in clips:
            if reason := reasons[path] or failures.get(str(path)):
                notes[path].append(reason)
        return {path: media[str(path)] for path in readable if str(path) in media}, sha256

    def _extract(
        self,
        folder: Path,
        media: Mapping[Path, MediaInfo],
        sha256: Mapping[str, str],
        notes: Mapping[Path, list[str]],
    ) -> dict[str, FeatureStore]:
        """Write faces, spectrograms and tokens into the folder; add failures to the notes."""
        jobs = {path: ClipJob(str(path), sha256[str(path)], path.absolute) for path in media}
        videos = [replace(job, load=partial(_own_files, path)) for path, job in jobs.items() if media[path].has_video]
        audio_jobs = [job for path, job in jobs.items() if media[path].has_audio]
        for modality, unused in (("visual", videos), ("acoustic", audio_jobs)):
            if modality not in self.card.trained.modalities:
                for job in unused:
                    name = "video" if modality == "visual" else "audio"
                    notes[Path(job.clip_id)].append(f"its {name} is not used: the head was trained on none")
                unused.clear()
        summaries = [
            write_faces(folder / SOURCES["faces"].path.name, videos, self.faces, run=self.run, quiet=True),
            write_windows(folder / SOURCES["mels"].path.name, audio_jobs, self.windows, run=self.run, quiet=True),
        ]
        for summary in summaries:
            for clip_id, reason in {**summary.failures, **summary.excluded}.items():
                notes[Path(clip_id)].append(f"{summary.title}: {reason}")
            for clip_id, reason in summary.absent.items():
                notes[Path(clip_id)].append(reason)
        return {source.modality: self._embed(folder, source) for source in SOURCES.values()}

    def _embed(self, folder: Path, source: Source) -> FeatureStore:
        """Write and return the tokens of one modality."""
        modality = source.modality
        reader = Reader(folder / source.path.name, schema=source.schema)
        config = choose_convolution(self.backbones[modality], device=self.run.device)
        trained_on = self.card.embeddings[modality]
        model, weights = "", trained_on.weights.model_dump(exclude_none=True)
        if config.precision == "int8":
            model = find_quantised_model(trained_on.weights.sha256)
        elif len(reader):
            weights = describe_weights(config)
        if weights["sha256"] != trained_on.weights.sha256:
            raise PipelineError(
                f"the weights {config.weights!r} of the {modality} backbone are not those of {self.model}'s training"
            )
        target = folder / f"{modality}.h5"
        write_tokens(
            target,
            reader,
            source=source,
            config=config,
            weights=weights,
            model=model,
            run=self.run,
            quiet=True,
        )
        store = FeatureStore(target)
        if len(reader) and store.attributes["fingerprint"] != trained_on.fingerprint:
            log.warning(
                "%s: its %s embeddings were made by other code, libraries or hardware; predictions may differ slightly",
                self.model,
                modality,
            )
        return store


def to_csv(predictions: Sequence[ClipPrediction], classes: Sequence[str]) -> str:
    """Return a CSV table: a line for every clip and modality, and one for every clip without probabilities."""
    rows = (
        [it.name, it.emotion, modality]
        + [f"{values[name]:.6f}" if values else "" for name in classes]
        + ["; ".join(it.notes)]
        for it in predictions
        for modality, values in (it.probabilities or {"": {}}).items()
    )
    return table_text(["clip", "emotion", "modality", *(f"p_{name}" for name in classes), "notes"], rows)


def _reason_not_to_read(path: Path) -> str:
    return "" if is_utf8(str(path)) else "its name is not UTF-8; rename it"


def _normalise_as_one_speaker(examples: Examples, card: Card, notes: Sequence[list[str]]) -> Examples:
    """Return the clips of a call as a head with speaker normalisation takes them, and note it for each clip."""
    with_tokens = examples.visual.present | examples.acoustic.present
    count = int(with_tokens.sum())
    if count < 2:
        raise ParameterError(
            "the head was trained with train.speaker_normalisation: it needs several clips of one speaker in a call"
        )
    for row in with_tokens.nonzero()[:, 0].tolist():
        notes[row].append(f"its tokens are standardised by the {count} clips of this call, as those of one speaker")
    return normalise_speakers(examples, card.train)


def _own_files(path: Path) -> ClipFiles:
    """Return the files of a clip that is one file."""
    return ClipFiles(path.absolute(), path.absolute())


def _missing_modalities(media: MediaInfo | None, examples: Examples, row: int, *, is_explained: bool) -> list[str]:
    """Return notes on the modalities that a clip lacks; `is_explained`: earlier notes say why it has none."""
    if media is None:
        return []
    has_visual, has_acoustic = (bool(tokens.present[row]) for tokens in (examples.visual, examples.acoustic))
    if has_visual and has_acoustic:
        return []
    if not has_visual and not has_acoustic:
        return [] if is_explained else ["neither a face nor audio was found in it"]
    if has_acoustic:
        return [("" if media.has_video else "has no video: ") + "predicted from the audio alone"]
    return [("" if media.has_audio else "has no audio: ") + "predicted from the face alone"]
