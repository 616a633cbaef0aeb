"""The networks trained by others that a recipe can build upon, by name; importable without Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IMAGENET = "imagenet"
"""As `network.weights`: what Keras publishes for the backbone."""
NO_FILES = (IMAGENET, "none")
"""Values of `network.weights` that name no file."""

Input = Literal["symmetric", "signed", "imagenet", "caffe"]


@dataclass(frozen=True)
class Backbone:
    """What is known of a backbone before it is built.

    Attributes:
        input: What it expects of a photograph in [0, 255]: `symmetric` [-1, 1], `signed` (over 128,
            less 1), `imagenet` (each channel less its mean, over its deviation) or `caffe`
            (BGR less the channel means).
        smallest: The smallest side of a photograph, in pixels.
        file: Of the ONNX model zoo, with its published weights, where it is built here; else empty.
    """

    input: Input
    smallest: int = 32
    file: str = ""

    @property
    def arrays(self) -> bool:
        """Whether it is built here, from arrays of the ONNX model zoo."""
        return bool(self.file)


def _family(expects: Input, *names: str, smallest: int = 32) -> dict[str, Backbone]:
    return {name: Backbone(expects, smallest) for name in names}


BACKBONES: dict[str, Backbone] = {
    **_family("imagenet", *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge"))),
    **_family("imagenet", "DenseNet121", "DenseNet169", "DenseNet201"),
    **_family("imagenet", *(f"EfficientNetB{size}" for size in range(8))),
    **_family("imagenet", *(f"EfficientNetV2B{size}" for size in range(4))),
    **_family("signed", *(f"EfficientNetV2{size}" for size in "SML")),
    **_family("symmetric", "InceptionResNetV2", "InceptionV3", smallest=75),
    **_family("symmetric", "MobileNet", "MobileNetV2"),
    **_family("symmetric", "MobileNetV3Small", "MobileNetV3Large"),
    **_family("symmetric", "NASNetMobile", "NASNetLarge"),
    **_family("caffe", "ResNet50", "ResNet101", "ResNet152"),
    **_family("symmetric", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    **_family("caffe", "VGG16", "VGG19"),
    **_family("symmetric", "Xception", smallest=71),
    "mobilenetv2-onnx": Backbone("imagenet", file="mobilenetv2-7.onnx"),
    "resnet50v2-onnx-stages3": Backbone("imagenet", file="resnet50-v2-7.onnx"),
}
"""By name: all of `keras.applications`, then the two of the ONNX model zoo."""
