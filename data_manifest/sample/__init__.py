"""The sample corpus: invented people who act seven emotions, drawn, voiced and filmed by code.

It stands in for corpora whose licences forbid shipping them, so that everything works out of the box.
"""

from data_manifest.sample._recording import render
from data_manifest.sample._script import EMOTIONS, SampleConfig, Utterance, plan

__all__ = ["EMOTIONS", "SampleConfig", "Utterance", "plan", "render"]
