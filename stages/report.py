"""Gather the results on one page."""

import json
from pathlib import Path

from pipeline.files import write_text
from pipeline.params import read_params
from pipeline.report import render_report
from stages import run

RESULTS = Path("results")
FIGURES = {
    "confusion": "Confusion matrices on the test parts",
    "tsne": "Features of both modalities after alignment",
    "ablation": "What each part contributes",
    "faces": "Faces, those with the fewest first",
    "spectrograms": "Spectrogram windows",
}


def main() -> None:
    """Write `results/report.html`."""
    metrics = json.loads((RESULTS / "metrics.json").read_text(encoding="utf-8"))
    ablation = json.loads((RESULTS / "ablation.json").read_text(encoding="utf-8"))
    figures = {title: (RESULTS / f"figures/{name}.png").read_bytes() for name, title in FIGURES.items()}
    tracked = {name: values for name, values in read_params().items() if name != "run"}
    write_text(RESULTS / "report.html", render_report(metrics, ablation, figures, tracked))


if __name__ == "__main__":
    run(main)
