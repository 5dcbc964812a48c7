"""The answers of a trained head for the clips that chose its epoch."""

from torch import Tensor

from data_manifest.splits.split import Split
from pipeline.training.answers import predict
from pipeline.training.corpus import Corpus
from pipeline.training.recipe import Trained


def predict_validation(corpus: Corpus, trained: Trained, split: Split) -> tuple[dict[str, Tensor], Tensor]:
    """Return probabilities (n, C) by answer for the clips of the validation part, and their labels (n,)."""
    part = corpus.part(split.validation)
    return predict(trained.head, part), part.labels
