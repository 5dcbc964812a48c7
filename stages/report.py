"""Gather the results on one page, and draw what it shows beside the figures of other stages."""

import json
from pathlib import Path

from pipeline.base.files import write_text
from pipeline.base.params import read_params
from pipeline.report.extraction_summary import summarise_extraction
from pipeline.report.figures import draw_attention, draw_curves, draw_extraction, draw_mistakes
from pipeline.report.page import Results, render_report
from pipeline.report.thumbnails import Thumbnails
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.training.curves import Curves
from stages import run_stage

RESULTS = Path("results")
FIGURES = RESULTS / "figures"
OWN = FIGURES / "report"
SHOWN = {  # figure: the stage that draws it
    "ablation": "ablate",
    "attention": "report",
    "curves": "report",
    "extraction": "report",
    "faces": "faces",
    "reliability": "evaluate",
    "spectrograms": "spectrograms",
    "spread": "evaluate",
    "tsne": "evaluate",
}


def main() -> None:
    """Write `results/report.html`, and the figures of curves, attention, mistakes and extraction."""
    metrics, ablation, explored = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("evaluation", "ablation", "explore")
    )
    faces = Reader("data/faces.h5", schema=FACES)
    windows = Reader("data/spectrograms.h5", schema=WINDOWS)
    for modality, pictures in (("visual", faces), ("acoustic", windows)):
        pictures.require_match(metrics["embeddings"][modality]["upstream"]["version"])
    thumbnails = Thumbnails(faces, windows)
    found = summarise_extraction(faces, metrics)
    curves = Curves.read(RESULTS / "curves/runs.csv", next(iter(metrics["protocols"])))
    draw_curves(curves, OWN / "curves.png")
    draw_attention(explored["attention"], OWN / "attention.png")
    draw_mistakes(explored["mistakes"], thumbnails, OWN / "mistakes.png")
    draw_extraction(found, OWN / "extraction.png")
    figures = {name: (FIGURES / stage / f"{name}.png").read_bytes() for name, stage in SHOWN.items()}
    tracked = {name: values for name, values in read_params().items() if name != "run"}
    results = Results(metrics, ablation, explored, found, curves, figures, tracked)
    write_text(RESULTS / "report.html", render_report(results, thumbnails))


if __name__ == "__main__":
    run_stage(main)
