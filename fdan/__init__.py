"""The public face of the project: everything that a user's own code imports.

A name is loaded from its module when it is first used, so `import fdan` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_manifest.corpora.adapters import CORPORA, Adapter
    from data_manifest.corpora.contract import Candidate, Findings, media_files
    from data_manifest.manifest.clips import Clip, read_rows
    from data_manifest.splits.overlap import count_shared_speakers
    from data_manifest.splits.split import Split
    from pipeline.alignments.contract import Alignment, AlignmentConfig
    from pipeline.alignments.lmmd import lmmd
    from pipeline.alignments.table import ALIGNMENTS
    from pipeline.base.errors import ClipError, ContractError, CorpusError, ParameterError, PipelineError
    from pipeline.base.options import takes_options
    from pipeline.base.params import Config
    from pipeline.embeddings.backbones import BACKBONES, BackboneConfig
    from pipeline.evaluation.schemas import Evaluation
    from pipeline.faces.contract import Boxes, BoxSource, Detector, DetectorConfig, Frames
    from pipeline.faces.crops import FacesConfig
    from pipeline.faces.detectors import DETECTORS
    from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
    from pipeline.heads.examples import Examples
    from pipeline.heads.layers import Dropout, Standardise, masked_mean
    from pipeline.heads.table import HEADS
    from pipeline.parallel.pool import ExecutionConfig
    from pipeline.predict.predictor import ClipPrediction, Predictor
    from pipeline.spectrograms.kinds import SPECTROGRAMS, Audio, Spectrogram, SpectrogramsConfig
    from pipeline.store.clips import ClipTokens
    from pipeline.store.features import FeatureStore
    from pipeline.store.tokens import Tokens, TokenSource

__all__ = [
    "ALIGNMENTS",
    "BACKBONES",
    "CORPORA",
    "DETECTORS",
    "HEADS",
    "SPECTROGRAMS",
    "Adapter",
    "Alignment",
    "AlignmentConfig",
    "Audio",
    "BackboneConfig",
    "BoxSource",
    "Boxes",
    "Candidate",
    "Clip",
    "ClipError",
    "ClipPrediction",
    "ClipTokens",
    "Config",
    "ContractError",
    "CorpusError",
    "Detector",
    "DetectorConfig",
    "Dropout",
    "Evaluation",
    "Examples",
    "ExecutionConfig",
    "FacesConfig",
    "FeatureStore",
    "Findings",
    "Frames",
    "Head",
    "HeadConfig",
    "HeadOutput",
    "ParameterError",
    "PipelineError",
    "Predictor",
    "Shapes",
    "Spectrogram",
    "SpectrogramsConfig",
    "Split",
    "Standardise",
    "TokenSource",
    "Tokens",
    "count_shared_speakers",
    "lmmd",
    "masked_mean",
    "media_files",
    "read_rows",
    "takes_options",
]

_MODULES = {  # name: where it is defined, as in the imports above
    "ALIGNMENTS": "pipeline.alignments.table",
    "Adapter": "data_manifest.corpora.adapters",
    "Alignment": "pipeline.alignments.contract",
    "AlignmentConfig": "pipeline.alignments.contract",
    "Audio": "pipeline.spectrograms.kinds",
    "BACKBONES": "pipeline.embeddings.backbones",
    "BackboneConfig": "pipeline.embeddings.backbones",
    "BoxSource": "pipeline.faces.contract",
    "Boxes": "pipeline.faces.contract",
    "CORPORA": "data_manifest.corpora.adapters",
    "Candidate": "data_manifest.corpora.contract",
    "Clip": "data_manifest.manifest.clips",
    "ClipError": "pipeline.base.errors",
    "ClipPrediction": "pipeline.predict.predictor",
    "ClipTokens": "pipeline.store.clips",
    "Config": "pipeline.base.params",
    "ContractError": "pipeline.base.errors",
    "CorpusError": "pipeline.base.errors",
    "DETECTORS": "pipeline.faces.detectors",
    "Detector": "pipeline.faces.contract",
    "DetectorConfig": "pipeline.faces.contract",
    "Dropout": "pipeline.heads.layers",
    "Evaluation": "pipeline.evaluation.schemas",
    "Examples": "pipeline.heads.examples",
    "ExecutionConfig": "pipeline.parallel.pool",
    "FacesConfig": "pipeline.faces.crops",
    "FeatureStore": "pipeline.store.features",
    "Findings": "data_manifest.corpora.contract",
    "Frames": "pipeline.faces.contract",
    "HEADS": "pipeline.heads.table",
    "Head": "pipeline.heads.contract",
    "HeadConfig": "pipeline.heads.contract",
    "HeadOutput": "pipeline.heads.contract",
    "ParameterError": "pipeline.base.errors",
    "PipelineError": "pipeline.base.errors",
    "Predictor": "pipeline.predict.predictor",
    "SPECTROGRAMS": "pipeline.spectrograms.kinds",
    "Shapes": "pipeline.heads.contract",
    "Spectrogram": "pipeline.spectrograms.kinds",
    "SpectrogramsConfig": "pipeline.spectrograms.kinds",
    "Split": "data_manifest.splits.split",
    "Standardise": "pipeline.heads.layers",
    "TokenSource": "pipeline.store.tokens",
    "Tokens": "pipeline.store.tokens",
    "count_shared_speakers": "data_manifest.splits.overlap",
    "lmmd": "pipeline.alignments.lmmd",
    "masked_mean": "pipeline.heads.layers",
    "media_files": "data_manifest.corpora.contract",
    "read_rows": "data_manifest.manifest.clips",
    "takes_options": "pipeline.base.options",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'fdan' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted(__all__)
