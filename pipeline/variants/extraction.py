"""Embeddings with the settings of rows: which files they need, and the extraction of those that are not made yet.

A file is named by its settings and the code of the plugins that they name, so rows share what they have in common.
What equals `params.yaml` is not extracted: the row uses the files of the stages `faces`, `spectrograms`, `embed_faces`
and `embed_mels`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from data_manifest.manifest.clips import MANIFEST, Clip, read_rows
from data_manifest.manifest.jobs import clip_jobs
from pipeline.base.errors import StoreError
from pipeline.base.files import cache_folder
from pipeline.base.params import Config
from pipeline.base.provenance import code_version, digest
from pipeline.base.registry import Table, lookup
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig
from pipeline.embeddings.engines import choose_convolution
from pipeline.embeddings.step import embed_file, tokens_step
from pipeline.embeddings.tokens import SOURCES, Source
from pipeline.faces.crops import FacesConfig
from pipeline.faces.detectors import DETECTORS
from pipeline.faces.step import faces_step, write_faces
from pipeline.memo.extraction import Step
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.step import windows_step, write_windows
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.store.reader import Reader
from pipeline.variants.index import VARIANTS
from pipeline.variants.plan import Media, Plan, Task
from pipeline.variants.rows import Overrides
from pipeline.variants.settings import (
    MODALITIES,
    Modality,
    Settings,
    missing_weights,
    override_settings,
    read_settings,
)

DIGITS = 16  # of a digest, in a file's name


class Branch(NamedTuple):
    """How the images of one modality are made."""

    source: Source  # of the backbone
    folder: str
    step: Callable[[Any, Pool], Step]
    write: Callable[..., object]


BRANCHES: dict[Modality, Branch] = {
    "visual": Branch(SOURCES["faces"], "faces", faces_step, write_faces),
    "acoustic": Branch(SOURCES["mels"], "spectrograms", windows_step, write_windows),
}
BUILDERS: dict[type[Config], tuple[str, Table]] = {  # the key that names what is built, and its short names
    FacesConfig: ("detector", DETECTORS),
    SpectrogramsConfig: ("kind", SPECTROGRAMS),
    BackboneConfig: ("backbone", BACKBONES),
}

Identity = Callable[[], object]  # returns all that shapes a file's content


class Shelf(Protocol):
    """Where files are: in which folder, under which name, and whether a file can be used as it is."""

    def __call__(self, folder: str, settings: object, identity: Identity) -> tuple[Path, bool]:
        """Return the path of the file with these settings, and whether it need not be extracted."""


def stage_shelf(folder: str, settings: object, identity: Identity) -> tuple[Path, bool]:
    """Return the path below `data/variants`; the stage extracts all files, and the memo holds what has not changed."""
    return VARIANTS / folder / f"{digest(settings)[:DIGITS]}.h5", False


def cache_shelf(folder: str, settings: object, identity: Identity) -> tuple[Path, bool]:
    """Return the file of the stage if there is one, else the path below `$FDAN_CACHE/variants`.

    A file in the cache is named by all that shapes it, so it is current. It is extracted again if a clip failed.
    """
    made, _ = stage_shelf(folder, settings, identity)
    if made.is_file():
        return made, True
    path = cache_folder().absolute() / "variants" / folder / f"{digest(identity())[:DIGITS]}.h5"
    try:
        return path, path.is_file() and not Reader(path, schema=None).attributes["failures"]
    except StoreError:  # it is damaged
        return path, False


def plan_rows(rows: Mapping[str, Overrides], run: ExecutionConfig, shelf: Shelf, *, fetch: bool = True) -> Plan:
    """Return the embeddings of rows, and what must be extracted for them; an unknown key or value raises.

    Without `fetch`, no weights are fetched: rows that need some are left out, as `unknown`.
    """
    base = read_settings()
    settings = {row: override_settings(base, overrides, row=row) for row, overrides in rows.items()}
    unknown = {row: names for row, it in settings.items() if not fetch and (names := missing_weights(it, base))}
    with Pool(run) as cpu, Pool(run, device=run.device) as pool:
        planner = _Planner(base, shelf, cpu, pool)
        files = {row: planner.plan_row(row, it) for row, it in settings.items() if row not in unknown}
        return Plan(files, list(planner.tasks.values()), unknown)


@dataclass(frozen=True)
class _Images:
    """A file of faces or spectrograms, and what makes it if it must be extracted."""

    path: Path
    task: Task | None
    version: Callable[[], object]  # besides its fingerprint, what shapes its content; the same before it is extracted

    @property
    def fingerprint(self) -> str:
        if self.task:
            return self.task.step().fingerprint
        fingerprint: str = Reader(self.path, schema=None).attributes["fingerprint"]
        return fingerprint

    def media(self) -> Media:
        """Return the clips that have images; of a file that is not extracted yet, those that may have some."""
        return self.task.media() if self.task else Reader(self.path, schema=None).media_sha256


@dataclass(frozen=True)
class _Planner:
    base: Settings
    shelf: Shelf
    cpu: Pool  # for faces and spectrograms
    pool: Pool  # for backbones
    tasks: dict[Path, Task] = field(default_factory=dict)

    def plan_row(self, row: str, settings: Settings) -> EmbeddingFiles:
        """Return the embeddings of a row, and add what they need to the tasks."""
        return EmbeddingFiles(*(self._plan_tokens(row, modality, settings) for modality in MODALITIES))

    def _add(self, task: Task, row: str) -> None:
        self.tasks.setdefault(task.target, task).rows.append(row)

    def _plan_tokens(self, row: str, modality: Modality, settings: Settings) -> Path:
        made_by = settings.images(modality), settings.backbone(modality)
        if made_by == (self.base.images(modality), self.base.backbone(modality)):
            default: Path = getattr(EmbeddingFiles(), modality)
            return default
        source, run = BRANCHES[modality].source, self.pool.run
        images = cache(partial(self._plan_images, modality, made_by[0]))

        @cache
        def step() -> Step:
            config = choose_convolution(made_by[1], device=run.device)
            # The int8 model follows from these ingredients, so they identify the file in that precision, too.
            return tokens_step(source, config, self.pool, model="", upstream=images().fingerprint)

        path, is_ready = self.shelf(
            modality, [_identify(it) for it in made_by], lambda: [step().version, images().version()]
        )
        if not is_ready:
            if task := images().task:
                self._add(task, row)
            write = partial(embed_file, path, images().path, source=source, config=made_by[1], run=run)
            self._add(Task(path, write, step, images().media, images().task is not None), row)
        return path

    def _plan_images(self, modality: Modality, config: Config) -> _Images:
        branch = BRANCHES[modality]
        if config == self.base.images(modality):
            reader = Reader[Any](branch.source.path, schema=None)
            if reader.attributes["config"] != _dump(config):
                raise StoreError(
                    f"{reader.path} was made with other settings than params.yaml has; run: dvc repro {branch.folder}"
                )
            return _Images(reader.path, None, lambda: reader.version)
        step = cache(partial(branch.step, config, self.cpu))
        media = cache(partial(_manifest_media, modality))
        path, is_ready = self.shelf(branch.folder, _identify(config), lambda: [step().version, media()])

        def write() -> object:
            return branch.write(path, clip_jobs(modality), config, run=self.cpu.run)

        return _Images(path, None if is_ready else Task(path, write, step, media), media)


def _dump(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _identify(config: Config) -> dict[str, Any]:
    """Return the settings with the code of the plugin that they name: a file of an earlier version is not used."""
    key, table = BUILDERS[type(config)]
    name = getattr(config, key)
    code = {"code": code_version(lookup(table, name, key))} if ":" in name else {}
    return _dump(config) | code


def _manifest_media(modality: Modality) -> Media:
    return {clip.clip_id: clip.sha256 for clip in read_rows(MANIFEST, Clip) if modality in clip.modalities}
