"""Training speed beside its peers, in one process, as ratios.

    python benchmarks/training.py [--data FOLDER] [--images 1392] [--rounds 3] [--threads 2] [--json FILE]

Peers take turns, in another order each round; a ratio is the median over rounds of
ours to theirs within the round, so that a slow spell of the machine hits all alike.
Without --data the photographs are generated. Every round is told on stderr as it ends.
A round is an epoch of 1,392 photographs, isic9's training part; each opens `fit` anew, which a training does once
and which costs an epoch of ten steps some 5 %.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from melascope.training import backend, recipe

CLASSES = ("MEL", "NV", "BCC", "AK", "PBK", "SK", "DF", "VASC", "SCC")
STEPS = 5
NORMALISED = ("small-cnn", "batchnorm-cnn", "mobilenetv2-finetuned")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TARGETS = {
    "ours float32 / plain Keras": 1.0,
    "ours bfloat16 / plain Keras": 1.25,
    "ours float32 / no input pipeline": 0.95,
}


def generated(folder: Path, count: int, size: int) -> None:
    """Write a class folder of smooth coloured noise as JPEG."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        target = folder / CLASSES[number % len(CLASSES)]
        target.mkdir(parents=True, exist_ok=True)
        small = rng.integers(60, 220, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(small).resize((size, size)).save(target / f"{number:05d}.jpg", quality=90)


def plain_keras(folder: Path, size: int, batch: int) -> Callable[[], None]:
    """The course projects' way: decoded floats cached in memory, shuffled, prefetched; rescaling in the model."""
    import keras
    import tensorflow as tf

    data = keras.utils.image_dataset_from_directory(
        folder, label_mode="int", image_size=(size, size), batch_size=batch, seed=123, verbose=False
    )
    data = data.cache().shuffle(1000).prefetch(tf.data.AUTOTUNE)
    layers = keras.layers
    model = keras.Sequential([keras.Input((size, size, 3)), layers.Rescaling(1 / 255)])
    for width in (32, 64, 128):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(len(CLASSES)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    # shuffle=False only silences Keras's remark that the data set shuffles by itself.
    return lambda: model.fit(data, epochs=1, shuffle=False, verbose=0)


def ours(made: recipe.Recipe, images: Any, labels: Any) -> Callable[[], None]:
    """What `fit` runs between two checkpoints."""
    from melascope.training.fit import assemble

    trained, _, batches = assemble(made, images, labels, np.arange(len(images)), CLASSES)
    return lambda: trained.fit(batches, steps_per_epoch=batches.steps, epochs=1, shuffle=False, verbose=0)


def no_pipeline(made: recipe.Recipe, images: Any, labels: Any) -> Callable[[], None]:
    """The same network stepping over one batch that already lies in memory."""
    from melascope.training.fit import assemble

    trained, _, _ = assemble(made, images, labels, np.arange(len(images)), CLASSES)
    size = made.data.batch_size
    resident = images[:size].copy(), labels[:size].copy()
    left = len(images) % size
    last = images[:left].copy(), labels[:left].copy()

    def run() -> None:
        for _ in range(len(images) // size):
            trained.train_on_batch(*resident)
        if left:
            trained.train_on_batch(*last)

    return run


def mobilenet(augmented: bool, batch: int = 32, size: int = 192) -> Callable[[], None]:
    """Steps of a MobileNetV2 over one resident batch, with or without the default recipe's augmentation."""
    import keras

    from melascope.training.augmentation import augment

    made = recipe.load("small-cnn").replace(data={"size": size}, schedule={"precision": "float32"})
    image = keras.Input((size, size, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1.0, dtype="float32")(image)
    pixels = augment(made, pixels) if augmented else pixels
    body = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None, pooling="avg")
    logits = keras.layers.Dense(8)(body(keras.layers.Rescaling(1 / 127.5, -1)(pixels)))
    model = keras.Model(image, logits)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    resident = rng.integers(0, 255, (batch, size, size, 3), dtype=np.uint8), rng.integers(0, 8, batch)

    def run() -> None:
        for _ in range(STEPS):
            model.train_on_batch(*resident)

    return run


def normalised(name: str, own: bool) -> Callable[[], None]:
    """Steps of a recipe's network, whole of it trained, with our batch normalisation or with Keras's."""
    from melascope.training import batch_norm
    from melascope.training.fit import assemble

    made = recipe.load(name)
    if made.schedule.frozen_epochs:
        thawed = {"frozen_epochs": 0, "finetune_learning_rate": None, "finetune_norms": False}
        made = made.replace(schedule=thawed, network={"weights": None})
    height, width = made.data.shape
    rng = np.random.default_rng(0)
    count = STEPS * made.data.batch_size
    images = rng.integers(0, 255, (count, height, width, 3), dtype=np.uint8)
    possible = batch_norm._possible
    try:
        batch_norm._possible = possible if own else lambda: False  # what is traced now stays so
        trained, _, batches = assemble(made, images, rng.integers(0, 8, count), np.arange(count), CLASSES)
        trained.fit(batches, steps_per_epoch=1, epochs=1, shuffle=False, verbose=0)
    finally:
        batch_norm._possible = possible
    return lambda: trained.fit(batches, steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)


def rounds(peers: dict[str, Callable[[], None]], count: int, clock: str = "wall") -> dict[str, list[float]]:
    """Return the seconds of each peer in each round, after one round to warm up; each is told as it ends."""
    taken: dict[str, list[float]] = {name: [] for name in peers}
    order = list(peers)
    for number in range(count + 1):
        random.Random(number).shuffle(order)
        for name in order:
            begun = CLOCKS[clock]()
            peers[name]()
            seconds = CLOCKS[clock]() - begun
            if number:
                taken[name].append(seconds)
            print(
                f"  {f'round {number}' if number else 'warm-up'}: {name} {seconds:.2f} s", file=sys.stderr, flush=True
            )
    return taken


def ratio(taken: dict[str, list[float]], fast: str, slow: str) -> float:
    """Return the median over rounds of how many times faster `fast` was."""
    return statistics.median(b / a for a, b in zip(taken[fast], taken[slow], strict=True))


def folder_images(folder: Path, size: int) -> tuple[Any, Any]:
    from PIL import Image

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    names = sorted({path.parent.name for path in files})
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in files])
    return images, np.array([names.index(path.parent.name) for path in files], dtype=np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of class folders, such as isic9/Test")
    parser.add_argument("--images", type=int, default=1392, help="generated photographs, if no --data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of all threads, for a shared machine"
    )
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()
    backend.load(options.threads).utils.set_random_seed(0)  # deterministic ops make TensorFlow ask for a seed
    made = recipe.load("plain-cnn")
    size = made.data.shape[0]
    with tempfile.TemporaryDirectory() as place:
        folder = options.data or Path(place)
        if options.data is None:
            generated(folder, options.images, size)
        images, labels = folder_images(folder, size)
        half = made.replace(schedule={"precision": "bfloat16"})
        taken = rounds(
            {
                "plain Keras": plain_keras(folder, size, made.data.batch_size),
                "no input pipeline": no_pipeline(made, images, labels),
                "ours float32": ours(made, images, labels),
                "ours bfloat16": ours(half, images, labels),
            },
            options.rounds,
            options.clock,
        )
    rates = {name: len(images) / statistics.median(seconds) for name, seconds in taken.items()}
    print(f"plain-cnn, {size} px, batch {made.data.batch_size}, {len(images)} photographs, {options.threads} threads")
    for name, rate in rates.items():
        print(f"  {name:<22}{rate:8.1f} images/s" + (" of CPU" if options.clock == "cpu" else ""))
    ratios = {name: ratio(taken, *name.split(" / ")) for name in TARGETS}
    for name, target in TARGETS.items():
        print(f"  {name:<34}{ratios[name]:6.2f}   target {target} {'met' if ratios[name] >= target else 'MISSED'}")
    steps = rounds({"plain": mobilenet(False), "augmented": mobilenet(True)}, options.rounds, options.clock)
    share = ratio(steps, "plain", "augmented") - 1
    print(f"augmentation / MobileNetV2 step, 192 px: {share:.1%}   target 10 % {'met' if share <= 0.1 else 'MISSED'}")
    norms = {}
    for name in NORMALISED:
        taken = rounds(
            {own: normalised(name, own == "ours") for own in ("ours", "Keras's")}, options.rounds, options.clock
        )
        norms[name] = ratio(taken, "ours", "Keras's")
        print(f"our batch normalisation / Keras's, a step of {name} in float32: {norms[name]:.2f}")
    if options.json:
        found = {"images_per_second": rates, "ratios": ratios, "augmentation_share": share, "normalisation": norms}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
