"""Gather the results on one page, and draw what it shows beside the figures of other stages."""

import json
from pathlib import Path

from pipeline.curve_table import Curves
from pipeline.figures.evidence import draw_attention, draw_curves, draw_extraction, draw_mistakes
from pipeline.files import write_text
from pipeline.health import health
from pipeline.params import read_params
from pipeline.report import Results, render_report
from pipeline.store import PICTURES, Reader
from pipeline.thumbnails import Thumbnails
from stages import run

RESULTS = Path("results")
FIGURES = RESULTS / "figures"
SHOWN = (
    "ablation",
    "attention",
    "curves",
    "extraction",
    "faces",
    "reliability",
    "spectrograms",
    "spread",
    "tsne",
)


def main() -> None:
    """Write `results/report.html`, and the figures of curves, attention, mistakes and extraction."""
    metrics, ablation, explored = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("evaluation", "ablation", "explore")
    )
    faces = Reader("data/faces.h5", schema=PICTURES["visual"])
    windows = Reader("data/spectrograms.h5", schema=PICTURES["acoustic"])
    for modality, pictures in (("visual", faces), ("acoustic", windows)):
        pictures.demand(metrics["embeddings"][modality]["upstream"]["version"])
    thumbnails = Thumbnails(faces, windows)
    found = health(faces, metrics)
    curves = Curves.read(RESULTS / "curves/runs.csv", next(iter(metrics["protocols"])))
    draw_curves(curves, FIGURES / "curves.png")
    draw_attention(explored["attention"], FIGURES / "attention.png")
    draw_mistakes(explored["mistakes"], thumbnails, FIGURES / "mistakes.png")
    draw_extraction(found, FIGURES / "extraction.png")
    figures = {name: (FIGURES / f"{name}.png").read_bytes() for name in SHOWN}
    tracked = {name: values for name, values in read_params().items() if name != "run"}
    results = Results(metrics, ablation, explored, found, curves, figures, tracked)
    write_text(RESULTS / "report.html", render_report(results, thumbnails))


if __name__ == "__main__":
    run(main)
