"""The sections of `params.yaml`, and the model that checks each."""

from typing import Any

from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.manifest.clips import ManifestConfig
from data_manifest.sample import SampleConfig
from data_manifest.splits.protocols import ProtocolConfig
from pipeline.alignments.contract import AlignmentConfig
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.faces.crops import FacesConfig
from pipeline.heads.contract import HeadConfig
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.training.recipe import TrainConfig

MODELS: dict[str, Any] = {
    "render": dict[str, SampleConfig],
    "corpora": dict[str, CorpusConfig],
    "manifest": ManifestConfig,
    "faces": FacesConfig,
    "spectrograms": SpectrogramsConfig,
    "embed_faces": BackboneConfig,
    "embed_mels": BackboneConfig,
    "head": HeadConfig,
    "alignment": AlignmentConfig,
    "train": TrainConfig,
    "protocols": dict[str, ProtocolConfig],
    "ablations": dict[str, dict[str, dict[str, Any]]],
    "run": ExecutionConfig,
}
