"""The contract of heads: their configuration, the shapes they are built for, and their output."""

from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from pipeline.base.options import NO_OPTIONS, FrozenMapping, Options, OptionsConfig, check_options
from pipeline.base.registry import check_name
from pipeline.heads.examples import Examples
from pipeline.heads.layers import attention_as_in_training
from pipeline.store.tokens import Tokens


class HeadConfig(OptionsConfig):
    """The section `head`."""

    name: str = "fdan"
    """The architecture."""
    width: int = Field(64, ge=4, le=8192)
    """Width of the hidden layers; a multiple of `attention_heads`."""
    attention_heads: int = Field(4, ge=1, le=8192)
    """Heads of the cross-attention."""
    attention_depth: int = Field(1, ge=0, le=100)
    """Layers of cross-attention; 0: none."""
    ffn_layers: int = Field(2, ge=1, le=100)
    """Layers of the feed-forward network. Each of them is aligned."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of activations set to 0 in training."""
    token_dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a clip's tokens that are hidden in training; at least one is left."""
    shared_classifier: bool = True
    """One classifier for both modalities, instead of one each."""
    standardise: bool = False
    """Whether the head `official` standardises tokens, as its authors' code does not. All other heads do."""
    fusion: Literal["mean", "learned"] = "mean"
    """How the log-probabilities of the two modalities are averaged: equally, or with learned weights."""
    options: Options = NO_OPTIONS
    """Parameters of a head of your own; see [Options](swap.md#options)."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        from pipeline.heads.table import HEADS

        return check_name(HEADS, value, "head")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: FrozenMapping, info: ValidationInfo) -> FrozenMapping:
        from pipeline.heads.table import HEADS

        return check_options(value, HEADS, info.data.get("name"), "head")

    @model_validator(mode="after")
    def _check_width(self) -> "HeadConfig":
        if self.width % self.attention_heads:
            raise ValueError(
                f"width {self.width} cannot be shared by {self.attention_heads} attention_heads; "
                f"make it a multiple, such as {self.attention_heads * (self.width // self.attention_heads + 1)}"
            )
        return self


class Shapes(NamedTuple):
    """The data that a head is built for: the token widths D of both modalities, and the number of classes."""

    visual: int
    acoustic: int
    classes: int


class HeadOutput(NamedTuple):
    """Logits (B, C) of each modality, None for one that the head ignores; features (B, width) of each aligned layer.

    A head that fuses the modalities itself returns the logits `fused`, too. In training, a head may add the logits that
    it would give without the other modality, `video_only` and `audio_only`: it learns them from clips with both.
    """

    visual: Tensor | None
    acoustic: Tensor | None
    visual_layers: list[Tensor]
    acoustic_layers: list[Tensor]
    fused: Tensor | None = None
    video_only: Tensor | None = None
    audio_only: Tensor | None = None


class Head(nn.Module):
    """A module from both modalities' padded tokens, with masks, to `HeadOutput`.

    Replicas of a head train together as one program (`torch.func.vmap`), or one by one if a layer cannot be vectorised,
    such as an LSTM, batch norm or `torch.nn.Dropout`. Results are those of a replica that is trained alone.
    """

    vectorise: bool | None = None
    """None: train replicas together if it is possible. False: one by one. True: together, or raise ParameterError."""

    uses_batch: ClassVar[bool] = False
    """Whether, in training, a clip's logits depend on the other clips of the batch. In evaluation they never may."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`; layers of torch compute the same in training and in prediction."""
        with attention_as_in_training():
            return super().__call__(*args, **kwargs)

    def fit(self, examples: Examples) -> None:
        """Fit what is not learned by gradient. It is only called with the training part."""

    def attention(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        """Return the attention of each modality's tokens to the other's; empty for a head without any.

        `visual` is (B, T, 1 + S) and `acoustic` (B, S, 1 + T); the first column is what attends to no token.
        """
        return {}
