"""Embeddings in pandas and scikit-learn: a linear classifier on mean tokens, one speaker left out at a time.

Run it after `dvc repro`, from the repository's root: `python -m examples.embeddings`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fdan import FeatureStore

console = Console(highlight=False)


def read(modality: str) -> pd.DataFrame:
    """Return a row for each clip that has the modality, by clip id: the mean of its tokens."""
    store = FeatureStore(Path("data/embeddings") / f"{modality}.h5")
    if store.attributes["weights"]["name"] == "random":
        console.print(f"{modality}: random backbone weights, so the scores say nothing about emotion")
    return pd.DataFrame({clip_id: store[clip_id].tokens.mean(0) for clip_id in store.clips_with_tokens()}).T


def main() -> None:
    """Print the UAR of each modality and of both concatenated, with each speaker left out once."""
    clips = pd.read_csv("data/manifest.csv", index_col="clip_id")
    visual, acoustic = read("visual").add_prefix("v"), read("acoustic").add_prefix("a")
    tables = {"visual": visual, "acoustic": acoustic, "both": visual.join(acoustic, how="inner")}
    for name, features in tables.items():
        labels = clips.loc[features.index]
        # The scaler is part of the model, so it is fitted on the training speakers only.
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        folds = LeaveOneGroupOut().split(features, groups=labels.speaker)
        predicted = cross_val_predict(model, features.to_numpy(np.float64), labels.emotion, cv=list(folds))
        score = balanced_accuracy_score(labels.emotion, predicted)
        console.print(
            f"{name}: UAR {100 * score:.1f} % on {len(features)} clips of {labels.speaker.nunique()} speakers"
        )


if __name__ == "__main__":
    main()
