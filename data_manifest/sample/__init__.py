"""The sample corpus: synthetic speakers act seven emotions; code renders their faces and voices.

It replaces corpora whose licences forbid redistribution, so that everything works out of the box.
"""

from data_manifest.sample._plan import EMOTIONS, SampleConfig, Utterance, plan
from data_manifest.sample._rendering import render

__all__ = ["EMOTIONS", "SampleConfig", "Utterance", "plan", "render"]
