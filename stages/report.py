"""Gather the results on one page, and draw the figures of it that no other stage draws."""

from pathlib import Path

from pipeline.base.files import write_text
from pipeline.base.params import read_params
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.figures import draw_attention
from pipeline.evaluation.schemas import Evaluation, Exploration
from pipeline.report.extraction_summary import summarise_extraction
from pipeline.report.figures import draw_extraction, draw_mistakes
from pipeline.report.page import Results, read_figures, render_report
from pipeline.report.thumbnails import Thumbnails
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.training.curves import Curves
from pipeline.training.figures import draw_curves
from stages import run_stage

RESULTS = Path("results")
FIGURES = RESULTS / "figures"
REPORT_FIGURES = FIGURES / "report"


def main() -> None:
    """Write `results/report.html`, and the figures of curves, attention, mistakes and extraction."""
    evaluation = Evaluation.read(RESULTS / "evaluation.json")
    ablation = Ablation.read(RESULTS / "ablation.json")
    exploration = Exploration.read(RESULTS / "explore.json")
    faces = Reader("data/faces.h5", schema=FACES)
    windows = Reader("data/spectrograms.h5", schema=WINDOWS)
    for modality, pictures in (("visual", faces), ("acoustic", windows)):
        pictures.require_match(evaluation.embeddings[modality].upstream["version"])
    thumbnails = Thumbnails(faces, windows)
    extraction = summarise_extraction(faces, evaluation)
    curves = Curves.read(RESULTS / "curves/runs.csv", next(iter(evaluation.protocols)))
    draw_curves(curves, REPORT_FIGURES / "curves.png")
    if len(thumbnails.modalities) == 2:
        draw_attention(exploration.attention, REPORT_FIGURES / "attention.png")
    draw_mistakes(exploration.mistakes, thumbnails, REPORT_FIGURES / "mistakes.png")
    draw_extraction(extraction, REPORT_FIGURES / "extraction.png")
    tracked = {name: values for name, values in read_params().items() if name != "run"}
    figures = read_figures(FIGURES, thumbnails.modalities)
    results = Results(evaluation, ablation, exploration, extraction, curves, figures, tracked)
    write_text(RESULTS / "report.html", render_report(results, thumbnails))


if __name__ == "__main__":
    run_stage(main)
