"""Write the report: one page with all results, and the figures that no other stage draws."""

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
REPORT_FIGURES = FIGURES / "report"
STAGE_OF_FIGURE = {
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
    extraction = summarise_extraction(faces, metrics)
    curves = Curves.read(RESULTS / "curves/runs.csv", next(iter(metrics["protocols"])))
    draw_curves(curves, REPORT_FIGURES / "curves.png")
    draw_attention(explored["attention"], REPORT_FIGURES / "attention.png")
    draw_mistakes(explored["mistakes"], thumbnails, REPORT_FIGURES / "mistakes.png")
    draw_extraction(extraction, REPORT_FIGURES / "extraction.png")
    figures = {name: (FIGURES / stage / f"{name}.png").read_bytes() for name, stage in STAGE_OF_FIGURE.items()}
    tracked_params = {name: values for name, values in read_params().items() if name != "run"}
    results = Results(metrics, ablation, explored, extraction, curves, figures, tracked_params)
    write_text(RESULTS / "report.html", render_report(results, thumbnails))


if __name__ == "__main__":
    run_stage(main)
