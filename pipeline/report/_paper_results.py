"""Results of the paper, WAR and UAR in %. Li et al., arXiv 2410.22023; the protocol is not published."""

from collections.abc import Mapping
from typing import Any

PAPER_RESULTS: dict[str, dict[str, tuple[float, float]]] = {  # by the adapter of the corpus
    "savee": {
        "VGG-16": (64.58, 63.33),
        "VGG-19": (67.70, 66.41),
        "ResNet-18": (59.37, 59.01),
        "ResNet-34": (69.79, 70.33),
        "ResNet-50": (68.75, 68.31),
        "best earlier system (GM-TCNet)": (84.79, 83.33),
        "FDAN": (86.66, 86.19),
    },
    "meld": {
        "VGG-16": (50.31, 49.51),
        "VGG-19": (54.53, 54.08),
        "ResNet-18": (58.68, 59.80),
        "ResNet-34": (63.82, 63.10),
        "ResNet-50": (61.02, 60.31),
        "best earlier system (TRIN)": (79.60, 70.52),
        "FDAN": (81.16, 75.91),
    },
}


def paper_results_for(params: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the paper's results if the parameters name one of its corpora and no other corpus; else nothing."""
    adapters = [corpus["adapter"] for corpus in params["corpora"].values()]
    return PAPER_RESULTS.get(adapters[0], {}) if len(adapters) == 1 else {}
