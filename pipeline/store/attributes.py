"""The attributes of the HDF5 files: which there are, and what each of them may be."""

from typing import Any, Literal

from pydantic import Field, Json

from pipeline.base.params import Config

CHECKSUM = "checksum"  # the sha256 of all other attributes


class Winograd(Config):
    """The convolutions of a backbone that were computed by Winograd's method."""

    layers: int
    direct: list[str]  # the names of the others that it suits, whose error would be too large


class Weights(Config):
    """The weights that made embeddings."""

    name: str
    sha256: str  # of every number in the backbone as it ran
    int8: dict[str, int | float] | None = None  # the measured fidelity
    winograd: Winograd | None = None


class Upstream(Config):
    """The file of faces or spectrograms that embeddings were made from."""

    config: dict[str, Any]
    fingerprint: str
    version: str


class StoreAttributes(Config):
    """The attributes of a file. Those that are no text are stored as JSON; a file of another stage lacks some."""

    schema_id: str = Field(alias="schema")
    modality: Literal["visual", "acoustic"] | None = None
    config: Json[dict[str, Any]] | None = None
    weights: Json[Weights] | None = None
    upstream: Json[Upstream] | None = None
    fingerprint: str | None = None
    failures: Json[dict[str, str]] | None = None
    absent: Json[dict[str, str]] | None = None
    excluded: Json[dict[str, str]] | None = None


ATTRIBUTES = {field.alias or name for name, field in StoreAttributes.model_fields.items()} | {CHECKSUM}
