"""The settings that shape a clip's tokens: those of params.yaml, and those of a row."""

from dataclasses import dataclass, replace
from typing import Literal

from pipeline.base.params import read_section
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.faces.crops import FacesConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.variants.rows import EXTRACTION, Overrides, override_section, select_sections
from pipeline.weights.published import section_weights

Modality = Literal["visual", "acoustic"]
MODALITIES: tuple[Modality, Modality] = ("visual", "acoustic")
BACKBONE_OF = {"faces": "embed_faces", "spectrograms": "embed_mels"}  # what must be computed again with the images


@dataclass(frozen=True)
class Settings:
    """The sections that shape tokens."""

    faces: FacesConfig
    spectrograms: SpectrogramsConfig
    embed_faces: BackboneConfig
    embed_mels: BackboneConfig

    def images(self, modality: Modality) -> FacesConfig | SpectrogramsConfig:
        """Return the settings of what the backbone of a modality sees."""
        return self.faces if modality == "visual" else self.spectrograms

    def backbone(self, modality: Modality) -> BackboneConfig:
        """Return the settings of the backbone of a modality."""
        return self.embed_faces if modality == "visual" else self.embed_mels


def read_settings() -> Settings:
    """Return the settings in `params.yaml`."""
    return Settings(
        read_section("faces", FacesConfig),
        read_section("spectrograms", SpectrogramsConfig),
        read_section("embed_faces", BackboneConfig),
        read_section("embed_mels", BackboneConfig),
    )


def override_settings(settings: Settings, overrides: Overrides, *, row: str) -> Settings:
    """Return the settings with what a row changes in them; an unknown key or value raises."""
    changes = {
        section: override_section(getattr(settings, section), values, where=f"ablations.{row}.{section}")
        for section, values in select_sections(overrides, EXTRACTION).items()
    }
    return replace(settings, **changes)


def missing_weights(settings: Settings, base: Settings) -> list[str]:
    """Return the published weights that are not fetched yet, of the steps that differ from those of `base`."""
    sections = {name for name in EXTRACTION if getattr(settings, name) != getattr(base, name)}
    sections |= {backbone for images, backbone in BACKBONE_OF.items() if images in sections}
    required = [
        weights
        for section in sections - {"spectrograms"}  # which need none
        for weights in section_weights(section, getattr(settings, section).model_dump())
    ]
    files = [file for it in required if not it.given for file in it.published]
    return sorted({file.name for file in files if not file.path.exists()})
