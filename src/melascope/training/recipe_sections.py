"""The sections of a recipe, each checked on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from melascope.training.backbone_names import BACKBONES, IMAGENET
from melascope.training.recipe_base import Pair, Positive, Section, Several, Share, Side, nearest

OF_CNN = (
    "widths", "convolutions", "kernel", "stem", "separable", "residual", "padding", "input_range", "pool_last",
    "batch_norm", "batch_norm_momentum", "stage_dropout",
)  # fmt: skip
Monitor = Literal["tune_loss", "tune_accuracy", "tune_balanced_accuracy", "tune_melanoma_auc"]


class Data(Section):
    """How photographs become the network's input.

    Attributes:
        size: Side in pixels, or [height, width].
        geometry: `crop`, `squash` or `pad`.
        batch_size: Photographs in a step.
    """

    size: Side | Pair[Side]
    geometry: Literal["crop", "squash", "pad"] = "squash"
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 32

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class Network(Section):
    """The network; see `melascope.training.networks` for what each name builds.

    Attributes:
        name: A registered network: `cnn`, `backbone`, or one of another package.
        backbone: Of `backbone`: a name in `melascope.training.backbones`, such as `EfficientNetV2B0`.
        widths: Channels of each stage.
        convolutions: How many convolutions a stage has, one number or one per stage.
        kernel: Side of the convolutions' kernel.
        stem: Channels of a first convolution with stride 2; 0 leaves it out.
        separable: Depthwise separable convolutions in place of dense ones.
        residual: A shortcut around the convolutions of each stage.
        padding: `same` or `valid`.
        input_range: To which pixels are rescaled: `unit` [0, 1] or `symmetric` [-1, 1].
        pool_last: Whether the last stage too ends in a pooling.
        batch_norm: Batch normalisation after each convolution.
        batch_norm_momentum: Of its running statistics.
        head: `pooled` (global average, gives a heat map) or `flatten`.
        dense: Widths of the dense layers between the features and the head.
        dropout: Before the head's first dense layer.
        stage_dropout: After each stage.
        dense_dropout: After each dense layer.
        l2: Penalty on all kernels.
        weights: Of `backbone`: `imagenet`, or a file of its ImageNet weights. `none` is the same as leaving it out.
            Weights of a training are refused here; `--from RUN` goes on from them.
        colour_constancy: Whether a photograph is first brought to one colour and strength of light, by itself: see
            `melascope.training.layers.OneLight`. For photographs of other cameras and clinics.
        views: Mirror images of a photograph (itself, across, both ways, down) whose outputs are averaged when it is
            served; two or four cost as many times the arithmetic. Training sees single ones.
        options: For networks of other packages.
    """

    name: str = "cnn"
    backbone: str | None = None
    widths: Annotated[Several[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=1)] = (32, 64, 128)
    convolutions: Positive | Several[Positive] = 1
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    stem: Annotated[int, Field(ge=0, le=4096)] = 0
    separable: bool = False
    residual: bool = False
    padding: Literal["same", "valid"] = "same"
    input_range: Literal["unit", "symmetric"] = "unit"
    pool_last: bool = True
    batch_norm: bool = False
    batch_norm_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    head: Literal["pooled", "flatten"] = "pooled"
    dense: Several[Annotated[int, Field(ge=1, le=65536)]] = ()
    dropout: Share = 0.0
    stage_dropout: Share = 0.0
    dense_dropout: Share = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    weights: str | None = None
    colour_constancy: bool = False
    views: Literal[1, 2, 4] = 1
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def depths(self) -> tuple[int, ...]:
        """Convolutions of each stage."""
        if isinstance(self.convolutions, int):
            return (self.convolutions,) * len(self.widths)
        return self.convolutions

    @property
    def weights_file(self) -> Path | None:
        """The file to start from, None when there is none or Keras fetches it."""
        return None if self.weights in (None, IMAGENET) else Path(str(self.weights))

    @field_validator("weights")
    @classmethod
    def _absent(cls, value: str | None) -> str | None:
        return None if value == "none" else value

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str | None) -> str | None:
        if value is not None and value not in BACKBONES:
            raise ValueError(f'"{value}" is no backbone{nearest(value, BACKBONES)}; there are: {", ".join(BACKBONES)}')
        return value

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        from melascope.training.networks import NETWORKS

        if value not in NETWORKS:
            raise ValueError(f'"{value}" is no network{nearest(value, NETWORKS)}; there are: {", ".join(NETWORKS)}')
        return value

    @model_validator(mode="after")
    def _fits(self) -> Network:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"convolutions has {len(self.depths)} stages, but widths has {len(self.widths)}")
        if self.residual and self.padding == "valid":
            raise ValueError('residual = true needs padding = "same", so that the shortcut fits')
        if (self.name == "backbone") != (self.backbone is not None):
            missing = f'name = "backbone", not "{self.name}"' if self.backbone else 'backbone = "EfficientNetV2B0"'
            raise ValueError(
                f'name = "backbone" and backbone = "NAME", such as "EfficientNetV2B0", go together; write {missing}'
            )
        if self.name == "backbone":
            of_cnn = [key for key in OF_CNN if getattr(self, key) != Network.model_fields[key].default]
            if of_cnn:
                raise ValueError(
                    f"{', '.join(of_cnn)} shape the network cnn; a backbone has its own shape, so drop them, or "
                    'write extends = "small-cnn" and leave the backbone out'
                )
        if self.weights == IMAGENET and (self.backbone is None or BACKBONES[self.backbone].arrays):
            raise ValueError(
                f'weights = "{IMAGENET}" is for the backbones of Keras; name the file of the weights instead'
            )
        return self


class Augmentation(Section):
    """Random changes of each training photograph; all off by default.

    Attributes:
        flip: `none`, `horizontal`, `vertical` or `both`.
        rotation: Largest turn to either side, as a share of a full turn.
        zoom: Largest change of size, or [lowest, highest]; positive shows more (zooms out), negative shows less.
        shift: Largest shift, as a share of the side.
        fill: What stands outside the photograph: `reflect`, `nearest` or `constant` (black).
        brightness: Largest change, as a share of the full range.
        contrast: Largest change around the photograph's mean, as a share.
        white_balance: Largest change of each channel's gain, as a share.
        saturation: Largest change of the colours' strength, as a share.
        hue: Largest turn of the colours to either side, as a share of a full turn.
        gamma: Largest change of the exponent of light, as a share.
        blur: How far a photograph may be taken to its blurred version; as far again the other way sharpens it.
        noise: Largest standard deviation of grain, as a share of the full range.
        aspect: Largest change of width against height, as a share.
        randaugment: How many changes of RandAugment each photograph gets; 0 is off.
        randaugment_magnitude: Their strength, as a share of the strongest.
        mixup: Alpha of mixup, which blends photographs and their diagnoses; 0 is off.
        cutmix: Alpha of CutMix, which pastes a rectangle of another photograph; 0 is off.
    """

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    rotation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    zoom: Share | Pair[Annotated[float, Field(gt=-1, le=4)]] = 0.0
    shift: Share = 0.0
    fill: Literal["reflect", "nearest", "constant"] = "reflect"
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Share = 0.0
    white_balance: Share = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gamma: Share = 0.0
    blur: Annotated[float, Field(ge=0, le=1)] = 0.0
    noise: Share = 0.0
    aspect: Share = 0.0
    randaugment: Annotated[int, Field(ge=0, le=12)] = 0
    randaugment_magnitude: Annotated[float, Field(ge=0, le=1)] = 0.3
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=100)] = 0.0

    @property
    def mixes(self) -> bool:
        """Whether photographs are mixed, so that labels are shares of classes."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def zoom_range(self) -> tuple[float, float]:
        """Lowest and highest change of size."""
        return (-self.zoom, self.zoom) if isinstance(self.zoom, float | int) else self.zoom

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        low, high = self.zoom_range
        if low > high:
            raise ValueError(f"zoom = [{low}, {high}] has its lower end above the upper one")
        return self


class Balance(Section):
    """What is done about rare diagnoses, on the fly and on the training part only.

    Attributes:
        sampling: `none`; `balanced` (each class equally often) or `sqrt` (by the root of its count).
        class_weights: `none`, or `balanced` (the loss weighs each class by the inverse of its count).
    """

    sampling: Literal["none", "balanced", "sqrt"] = "none"
    class_weights: Literal["none", "balanced"] = "none"


class Optimiser(Section):
    """How weights move.

    Attributes:
        name: `adam`, `adamw`, `sgd` or `rmsprop`.
        learning_rate: The highest rate.
        momentum: Of `sgd` and `rmsprop`.
        weight_decay: Decoupled decay of kernels, not of biases and normalisation.
        clip_norm: Largest norm of the whole gradient; 0 does not clip.
        ema: Momentum of the moving average of weights that is judged and kept, lower in a training too short for it
            (`schedule.averaging`); 0 keeps the weights themselves.
        label_smoothing: Share of the target spread over all classes.
        loss: `cross_entropy`, or `focal`, which turns to what is not yet learnt.
        focal_gamma: How strongly `focal` does so; 0 would be the cross-entropy.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    momentum: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    ema: Share = 0.0
    label_smoothing: Share = 0.0
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: Annotated[float, Field(gt=0, le=10)] = 2.0

    @model_validator(mode="after")
    def _meant(self) -> Optimiser:
        if self.momentum and self.name not in ("sgd", "rmsprop"):
            raise ValueError(f"momentum belongs to sgd and rmsprop, not to {self.name}")
        return self


class Schedule(Section):
    """How long, at which rate, and which epoch's weights are kept.

    Attributes:
        epochs: At most so many.
        kind: Of the learning rate: `constant`; `cosine` (down to zero); `plateau` (divided when `monitor` stalls).
        warmup_epochs: Over which the rate rises from zero; not with `plateau`.
        plateau_factor: By which `plateau` multiplies the rate.
        plateau_patience: Epochs without progress before it does.
        early_stopping_patience: Epochs without progress before training stops; 0 never stops early.
        monitor: The score on the tune part that means progress.
        keep: `best` (by `monitor`) or `last`.
        precision: `float32`, or `bfloat16` arithmetic on float32 weights.
        frozen_epochs: For so many epochs a backbone and its batch normalisation stay as they are; then the optimiser
            starts anew and the backbone is trained too.
        finetune_learning_rate: The highest rate after that; a tenth of the optimiser's when it is left out.
        frozen_share: Share of the backbone's layers, from the photograph on, that stay frozen for good.
        finetune_norms: Whether the batch normalisation of a backbone that was frozen follows the data afterwards.
    """

    epochs: Annotated[int, Field(ge=1, le=100000)] = 20
    kind: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    plateau_patience: Positive = 5
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    monitor: Monitor = "tune_loss"
    keep: Literal["best", "last"] = "last"
    precision: Literal["float32", "bfloat16"] = "float32"
    frozen_epochs: Annotated[int, Field(ge=0)] = 0
    finetune_learning_rate: Annotated[float, Field(gt=0, le=100)] | None = None
    frozen_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    finetune_norms: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        if self.warmup_epochs and self.kind == "plateau":
            raise ValueError('warmup_epochs goes with kind = "constant" or "cosine", not with "plateau"')
        if self.warmup_epochs >= self.epochs and self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs:g} leaves nothing of epochs = {self.epochs}; set warmup_epochs "
                f"in [schedule] too, to 0 or any number below {self.epochs}, such as {self.epochs / 4:g}"
            )
        told = [key for key in ("finetune_learning_rate", "frozen_share", "finetune_norms") if getattr(self, key)]
        if told and not self.frozen_epochs:
            raise ValueError(f"{told[0]} has a meaning after frozen_epochs only; set frozen_epochs to 1 or more")
        return self


class Expected(Section):
    """What the recipe reached when it was last reproduced."""

    data: str | None = None
    protocol: str | None = None
    balanced_accuracy: float | None = None
    melanoma_auc: float | None = None
    seconds: float | None = None
    machine: str | None = None
    date: str | None = None


__all__ = ["Augmentation", "Balance", "Data", "Expected", "Network", "Optimiser", "Schedule", "Section", "nearest"]
