"""The parts that a user's code can replace: their keys in `params.yaml`, and the example of each."""

from typing import NamedTuple


class Part(NamedTuple):
    """A part of the pipeline that a name in `params.yaml` swaps."""

    kind: str  # as messages call it
    section: str
    key: str
    example: str  # the name of the function in examples/, in the module of the word that `fdan new` takes


DETECTOR = Part("detector", "faces", "detector", "build")
SPECTROGRAM = Part("spectrogram", "spectrograms", "kind", "build")
FACE_BACKBONE = Part("backbone", "embed_faces", "backbone", "Patches")
MEL_BACKBONE = Part("backbone", "embed_mels", "backbone", "Patches")
HEAD = Part("head", "head", "name", "Shallow")
ALIGNMENT = Part("alignment", "alignment", "name", "build")
ADAPTER = Part("corpus adapter", "corpora", "adapter", "find")

PARTS = (DETECTOR, SPECTROGRAM, FACE_BACKBONE, MEL_BACKBONE, HEAD, ALIGNMENT, ADAPTER)
EXAMPLES = {  # the words that `fdan new` takes; each is the name of a module in examples/
    "detector": DETECTOR,
    "spectrogram": SPECTROGRAM,
    "backbone": FACE_BACKBONE,
    "head": HEAD,
    "alignment": ALIGNMENT,
    "adapter": ADAPTER,
}
