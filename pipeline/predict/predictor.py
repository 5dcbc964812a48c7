"""What a trained head says of new clips: the steps of training, with the settings that the head was trained with."""

import csv
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from data_manifest.corpora.findings import MEDIA_SUFFIXES, file_suffix
from pipeline.base.digests import cached_sha256
from pipeline.base.errors import ClipError, ParameterError, PipelineError
from pipeline.base.params import check
from pipeline.embeddings.backbones import BackboneConfig, describe_weights
from pipeline.embeddings.int8 import find_quantised_model
from pipeline.embeddings.step import write_tokens
from pipeline.embeddings.tokens import SOURCES, Source
from pipeline.evaluation.schemas import HeadlineRow
from pipeline.faces.crops import FacesConfig
from pipeline.faces.step import write_faces
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples, load_tokens
from pipeline.media.probe import MediaInfo, probe
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.store.features import FeatureStore
from pipeline.store.reader import Reader
from pipeline.store.schemas import PICTURES
from pipeline.training.answers import predict
from pipeline.training.checkpoints import Card, load_head
from pipeline.training.head_file import HeadFile

MODEL = Path("models/head.safetensors")
ALONE = ExecutionConfig(scheduler="synchronous")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What is said of one clip: probabilities by emotion, of `visual`, `acoustic` and `fused`, where they are known."""

    path: Path
    probabilities: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)  # what is missing, and why; without any probabilities: the reason

    @property
    def emotion(self) -> str:
        """The most probable emotion; nothing where there is no answer."""
        fused = self.probabilities.get("fused", {})
        return max(fused, key=lambda emotion: fused[emotion], default="")

    def as_json(self) -> dict[str, Any]:
        """Return the answer as JSON-like data."""
        return {
            "clip": str(self.path),
            "emotion": self.emotion,
            "probabilities": self.probabilities,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Evidence:
    """All that the answers of some clips rest on; its files are there as long as the block that made it."""

    paths: list[Path]
    faces: Reader
    windows: Reader
    examples: Examples  # in the order of the paths; labels mean nothing
    notes: dict[Path, list[str]]


class Predictor:
    """A trained head with the extraction that it was trained on: `Predictor()(["clip.mp4"])`."""

    def __init__(self, model: Path | str = MODEL, *, run: ExecutionConfig = ALONE) -> None:
        """Load the head; `run` says where clips are computed."""
        self.model, self.run = Path(model), run
        self.head: Head
        self.card: Card
        self.head, self.card = load_head(self.model)
        self.faces = self._settings("visual", "upstream", FacesConfig)
        self.windows = self._settings("acoustic", "upstream", SpectrogramsConfig)
        self.backbones = {kind: self._settings(kind, "", BackboneConfig) for kind in ("visual", "acoustic")}

    def _settings(self, modality: str, part: str, model: type[Any]) -> Any:
        made = self.card.embeddings[modality]
        return check((made[part] if part else made)["config"], model, where=f"{self.model}, {modality}")

    @property
    def expected(self) -> list[HeadlineRow]:
        """The cross-validated scores of the head's recipe, by protocol and answer; empty without a file beside it."""
        path = self.model.with_suffix(".json")
        return HeadFile.read(path).expected if path.is_file() else []

    @property
    def random(self) -> bool:
        """Whether a backbone has random weights, so that no answer means anything."""
        return any(made["weights"]["name"] == "random" for made in self.card.embeddings.values())

    def __call__(self, paths: Sequence[Path | str]) -> list[Answer]:
        """Return an answer for each file; one that cannot be read has none, and the reason."""
        with self.evidence(paths) as evidence:
            return self.answer(evidence)

    def answer(self, evidence: Evidence) -> list[Answer]:
        """Return what the head says."""
        said = predict(self.head, evidence.examples)
        return [
            Answer(
                path,
                {
                    kind: dict(zip(self.card.classes, said[kind][row].tolist(), strict=True))
                    for kind in ("visual", "acoustic", "fused")
                    if not torch.isnan(said[kind][row]).any()
                },
                evidence.notes[path],
            )
            for row, path in enumerate(evidence.paths)
        ]

    @contextmanager
    def evidence(self, paths: Sequence[Path | str]) -> Iterator[Evidence]:
        """Extract what the head needs, by the steps of training and with their memo."""
        clips = [Path(path) for path in dict.fromkeys(map(Path, paths))]
        notes: dict[Path, list[str]] = {path: [] for path in clips}
        media = {path: info for path in clips if (info := _probed(path, notes[path]))}
        contents = {str(path): content for path, content in zip(media, cached_sha256(list(media)), strict=True)}
        with tempfile.TemporaryDirectory() as name:
            stores = self._extract(Path(name), media, contents, notes)
            visual, acoustic = (load_tokens(stores[kind], [*map(str, clips)]) for kind in ("visual", "acoustic"))
            examples = Examples(visual, acoustic, torch.zeros(len(clips), dtype=torch.int64))
            for row, path in enumerate(clips):
                notes[path] += _missing(media.get(path), examples, row)
            faces, windows = (_pictures(Path(name), source) for source in SOURCES.values())
            yield Evidence(clips, faces, windows, examples, notes)

    def _extract(
        self,
        folder: Path,
        media: Mapping[Path, MediaInfo],
        contents: Mapping[str, str],
        notes: Mapping[Path, list[str]],
    ) -> dict[str, FeatureStore]:
        """Write faces, spectrograms and tokens below the folder; what fails goes to the notes."""
        jobs = {path: ClipJob(str(path), contents[str(path)], path.absolute) for path in media}
        films = [job for path, job in jobs.items() if media[path].has_video]
        sounds = [job for path, job in jobs.items() if media[path].has_audio]
        tallies = [
            write_faces(folder / SOURCES["faces"].path.name, films, self.faces, run=self.run, quiet=True),
            write_windows(folder / SOURCES["mels"].path.name, sounds, self.windows, run=self.run, quiet=True),
        ]
        for tally in tallies:
            for clip_id, reason in {**tally.failures, **tally.excluded}.items():
                notes[Path(clip_id)].append(f"{tally.title}: {reason}")
        return {source.modality: self._embed(folder, source) for source in SOURCES.values()}

    def _embed(self, folder: Path, source: Source) -> FeatureStore:
        """Write and return the tokens of one modality."""
        modality = source.modality
        reader = _pictures(folder, source)
        config, made = self.backbones[modality], self.card.embeddings[modality]
        model, weights = "", describe_weights(config)
        if config.precision == "int8":
            weights = made["weights"]
            model = find_quantised_model(weights["sha256"])
        if weights["sha256"] != made["weights"]["sha256"]:
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
        if store.attributes["fingerprint"] != made["fingerprint"]:
            log.warning(
                "%s: its %s embeddings were made by other code, libraries or hardware: answers may differ a little",
                self.model,
                modality,
            )
        return store


def as_csv(answers: Sequence[Answer], classes: Sequence[str]) -> str:
    """Return a line for every clip and modality, and one for every clip without an answer."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["clip", "emotion", "modality", *(f"p_{name}" for name in classes), "notes"])
    for answer in answers:
        for kind, values in (answer.probabilities or {"": {}}).items():
            probabilities = [f"{values[name]:.6f}" if values else "" for name in classes]
            table.writerow([answer.path, answer.emotion, kind, *probabilities, "; ".join(answer.notes)])
    return text.getvalue()


def media_files(named: Sequence[str]) -> list[Path]:
    """Return the files that names, folders and patterns mean, each once, folders and patterns in order of name."""
    found: list[Path] = []
    for name in named:
        path = Path(name)
        if path.is_dir():
            inside = sorted(it for it in path.rglob("*") if it.is_file() and file_suffix(it.name) in MEDIA_SUFFIXES)
            if not inside:
                raise ParameterError(f"{name}: no media file is in this folder")
        else:
            inside = sorted(it for it in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if it.is_file())
            if not inside:
                raise ParameterError(f"{name}: no such file")
        found += inside
    return list(dict.fromkeys(found))


def _pictures(folder: Path, source: Source) -> Reader:
    return Reader(folder / source.path.name, schema=PICTURES[source.modality])


def _probed(path: Path, notes: list[str]) -> MediaInfo | None:
    try:
        return probe(path)
    except ClipError as error:
        notes.append(str(error))
        return None


def _missing(media: MediaInfo | None, examples: Examples, row: int) -> list[str]:
    """Return what a clip lacks, in words."""
    if media is None:
        return []
    seen, heard = (bool(tokens.present[row]) for tokens in (examples.visual, examples.acoustic))
    if seen and heard:
        return []
    if not seen and not heard:
        return ["neither a face nor sound was found in it"]
    if heard:
        return [f"{'no face was found' if media.has_video else 'has no picture'}: answered from the sound alone"]
    return ["has no sound: answered from the picture alone"]
