"""What every result says of its data: how much there is, what was left out, whose weights."""

from dataclasses import asdict

from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.evaluation.schemas import DataSummary
from pipeline.training.corpus import Corpus


def summarise_data(corpus: Corpus) -> DataSummary:
    """Return the summary of a corpus, with a warning if a backbone has random weights."""
    weights = {modality: origin["weights"]["name"] for modality, origin in corpus.provenance.items()}
    return DataSummary.model_validate(
        {
            "warning": RANDOM_WEIGHTS if "random" in weights.values() else None,
            "clips": len(corpus.clips),
            "left_out": [asdict(row) for row in corpus.left_out],
            "lost_modalities": {modality: origin["failures"] for modality, origin in corpus.provenance.items()},
            "classes": corpus.classes,
            "weights": weights,
            "embeddings": {
                modality: {name: origin[name] for name in ("weights", "config", "upstream", "fingerprint")}
                for modality, origin in corpus.provenance.items()
            },
        }
    )
