"""What every result says of its data: how much there is, what was left out, whose weights."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.evaluation.schemas import DataSummary
from pipeline.training.corpus import Corpus
from pipeline.training.leaks import leak_notes
from pipeline.training.recipe import Recipe
from pipeline.training.runs import FoldRun
from pipeline.training.speakers import TRANSDUCTIVE


def summarise_data(corpus: Corpus, recipes: Iterable[Recipe], runs: Sequence[FoldRun]) -> DataSummary:
    """Return the summary of a corpus, and of leaks that the splits of the runs may have.

    It warns of a backbone with random weights, and of a recipe that learns from the test speakers.
    """
    weights = {modality: origin["weights"]["name"] for modality, origin in corpus.provenance.items()}
    transductive = any(it.train.speaker_normalisation != "none" for it in recipes)
    clip_ids = {clip.clip_id for clip in corpus.clips}  # a clip that lost both modalities is left out, and no more
    lost = {
        modality: {clip_id: reason for clip_id, reason in origin["failures"].items() if clip_id in clip_ids}
        for modality, origin in corpus.provenance.items()
    }
    warnings = [RANDOM_WEIGHTS] * ("random" in weights.values()) + [TRANSDUCTIVE] * transductive
    return DataSummary.model_validate(
        {
            "warning": "; ".join(warnings) or None,
            "notes": leak_notes(corpus, [run.split for run in runs]),
            "clips": len(corpus.clips),
            "left_out": [asdict(row) for row in corpus.left_out],
            "lost_modalities": lost,
            "classes": corpus.classes,
            "weights": weights,
            "embeddings": {
                modality: {name: origin[name] for name in ("weights", "config", "upstream", "fingerprint")}
                for modality, origin in corpus.provenance.items()
            },
        }
    )
