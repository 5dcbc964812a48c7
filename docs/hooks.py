"""Hooks of mkdocs: the graph of stages is an image.

Code hosts draw Mermaid. The theme would fetch a script for it, and built pages fetch nothing.
"""

import re
from typing import Any

MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
IMAGE = "![The graph of stages](images/graph.svg)"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the image of the graph."""
    return MERMAID.sub(IMAGE, markdown)
