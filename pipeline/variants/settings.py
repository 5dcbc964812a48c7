"""The settings that shape a clip's tokens: those of params.yaml, and those of a row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pipeline.base.params import read_section
from pipeline.embeddings.backbones import BackboneConfig, published_weights
from pipeline.faces import landmarks, networks
from pipeline.faces.crops import FacesConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.variants.rows import EXTRACTION, Overrides, override_section, select_sections
from pipeline.weights.files import WeightFile

Modality = Literal["visual", "acoustic"]
MODALITIES: tuple[Modality, Modality] = ("visual", "acoustic")


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


class WeightsKey(NamedTuple):
    """A key that names the weights of a model."""

    key: str
    path: str  # what it names; empty: the published files
    published: Sequence[WeightFile]

    @property
    def missing(self) -> list[WeightFile]:
        """The published files that will be fetched."""
        return [] if self.path else [file for file in self.published if file.missing_message()]


def weights_of(config: FacesConfig | SpectrogramsConfig | BackboneConfig) -> Iterator[WeightsKey]:
    """Yield the keys of a section that name weights, with what they name; random weights are not in a file."""
    if isinstance(config, FacesConfig):
        yield WeightsKey("weights", config.weights, networks.WEIGHT_FILES.get(config.detector, ()))
        if config.align == "fan":
            yield WeightsKey("landmark_weights", config.landmark_weights, landmarks.WEIGHT_FILES["fan"])
    elif isinstance(config, BackboneConfig) and config.weights != "random":
        published = published_weights().get(config.backbone)
        path = "" if config.weights == "imagenet" else config.weights
        yield WeightsKey("weights", path, (published,) if published else ())


def missing_weights(settings: Settings, base: Settings) -> list[str]:
    """Return the published weights that are not fetched yet, of the steps that differ from those of `base`."""
    sections: list[FacesConfig | SpectrogramsConfig | BackboneConfig] = []
    for modality in MODALITIES:
        images, backbone = settings.images(modality), settings.backbone(modality)
        if images != base.images(modality):
            sections += [images, backbone]
        elif backbone != base.backbone(modality):
            sections.append(backbone)
    return sorted({file.name for section in sections for key in weights_of(section) for file in key.missing})
