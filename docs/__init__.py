"""Builds the documentation: generated pages, and hooks of mkdocs."""
