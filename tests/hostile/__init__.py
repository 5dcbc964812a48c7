"""Attacks on the pipeline: hostile media, kills, damaged stores and heads, fuzzed names, tables, parameters and cards.

`make hostile` runs all of them and writes docs/reliability.md; `test_hostile.py` runs a small sample of each.
"""
