"""Predicting on folders of JPEG files, decoding included, beside Keras with the same network, as ratios.

    python -m benchmarks.predict [--data FOLDER] [--originals FOLDER] [--images 256] [--rounds 5] [--json FILE]

The peer is what one would write: `image_dataset_from_directory` and `Model.predict` in batches of 32, of the logits
alone. Ours is `Predictor.predict` on the exported bundle: it also hashes each file, and gives embeddings, heat maps
and whole findings. Both take turns in one process. The time to the first finding is that of a new process,
interpreter start included. Without --data photographs are generated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training import CLOCKS, ratio, rounds
from melascope import diagnosis
from melascope.bundle import Predictor, write_bundle
from melascope.training import backend, networks, recipe
from melascope.training.export import export_model

CLASSES = diagnosis.ISIC_FOLDERS
TARGETS = {
    ("EfficientNetV2-B0", "f32"): 1.3,
    ("EfficientNetV2-B0", "bf16"): 2.3,
    ("small-cnn", "f32"): 3.0,
    ("originals", "f32"): 4.0,
}
FIRST_IMAGE_SECONDS = 2.0


def efficientnet(size: int = 224) -> tuple[Any, Any]:
    """Return (network to export, the peer's: float pixels to logits), with random weights."""
    keras = backend.load()
    body = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None, include_preprocessing=False, input_shape=(size, size, 3)
    )
    scale = keras.layers.Rescaling(1 / 127.5, -1)
    pool, head = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(len(CLASSES))
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    embedding = pool(body(scale(image)))
    pixels = keras.Input((size, size, 3))
    return (
        keras.Model(image, {"logits": head(embedding), "embedding": embedding}),
        keras.Model(pixels, head(pool(body(scale(pixels))))),
    )


def small_cnn(size: int | None = None) -> tuple[Any, Any]:
    """Return the same two for the default recipe, at its own input size unless told."""
    keras = backend.load()
    made = recipe.load("small-cnn").replace(schedule={"precision": "float32"})
    made = made if size is None else made.replace(data={"size": size})
    served = networks.build(made, len(CLASSES))
    pixels = keras.Input((*made.data.shape, 3))
    return served, keras.Model(pixels, served.get_layer("network")(pixels)["logits"])


def keras_predicting(model: Any, folder: Path) -> Callable[[], None]:
    keras = backend.load()
    height, width = model.input_shape[1:3]

    def run() -> None:
        data = keras.utils.image_dataset_from_directory(
            folder, labels=None, shuffle=False, image_size=(height, width), batch_size=32, verbose=False
        )
        model.predict(data, verbose=0)

    return run


def ours(bundle: Path, files: list[Path], threads: int, precision: Any) -> Callable[[], None]:
    predictor = Predictor(bundle, threads, precision, quality=False)

    def run() -> None:
        refused = sum(finding.status != "ok" for finding in predictor.predict(files))
        assert not refused, f"{refused} photographs were refused"

    return run


def generated(folder: Path, count: int, height: int, width: int) -> None:
    """Write drawn lesions as JPEG, enlarged where asked for."""
    from PIL import Image

    from melascope.images.synthetic import lesion

    folder.mkdir(parents=True, exist_ok=True)
    drawn = [Image.fromarray(lesion(seed, CLASSES[seed % len(CLASSES)], size=180)) for seed in range(min(count, 32))]
    for number in range(count):
        drawn[number % len(drawn)].resize((width, height)).save(folder / f"{number:05d}.jpg", quality=90)


def linked(files: list[Path], folder: Path, count: int) -> list[Path]:
    """Return `count` names for some files, repeated as often as needed."""
    folder.mkdir()
    made = []
    for number in range(count):
        source = files[number % len(files)]
        made.append(folder / f"{number:05d}{source.suffix.lower()}")
        made[-1].symlink_to(source.resolve())
    return made


def first_finding(bundle: Path, file: Path, count: int) -> dict[str, float]:
    """Return the median seconds, and those of CPU, of `melascope predict FILE` from start to exit."""
    command = [
        sys.executable,
        "-c",
        "from melascope.cli.main import main; main()",
        "predict",
        str(file),
        "--bundle",
        str(bundle),
    ]
    wall, cpu = [], []
    for _ in range(count):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"seconds": statistics.median(wall), "fastest": min(wall), "cpu_seconds": statistics.median(cpu)}


def bundled(model: Any, name: str, folder: Path) -> Path:
    height, width = model.input_shape[1:3]
    decision = {
        "schema": 1,
        "name": name,
        "version": "benchmark",
        "classes": list(CLASSES),
        "geometry": {"height": height, "width": width, "mode": "squash"},
        "calibration": {"method": "temperature", "temperature": 1.0},
        "operating_points": {"melanoma": {"screening": {"threshold": 0.1}}},
        "prediction_set": None,
        "novelty": None,
        "protocol": "none",
        "audited": False,
    }
    return write_bundle(folder / f"{name}.melascope", export_model(model), decision).path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with JPEG files, such as isic9/Train")
    parser.add_argument("--originals", type=Path, help="folder with multi-megapixel JPEG files")
    parser.add_argument("--images", type=int, default=256, help="photographs in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of all threads, for a shared machine"
    )
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()
    backend.load(options.threads).utils.set_random_seed(0)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        generated(base / "drawn", 0 if options.data else min(options.images, 128), 180, 180)
        generated(base / "large", 0 if options.originals else 8, 2000, 3000)
        small = linked(_jpegs(options.data or base / "drawn"), base / "small-files", options.images)
        large = linked(_jpegs(options.originals or base / "large"), base / "originals", max(16, options.images // 4))
        networks_of = {"EfficientNetV2-B0": (efficientnet(), small), "small-cnn": (small_cnn(), small)}
        networks_of["small-cnn at 180 px"] = (small_cnn(180), small)
        networks_of["originals"] = (networks_of["small-cnn"][0], large)
        for name, ((served, peer), files) in networks_of.items():
            bundle = bundled(served, name.replace(" ", "-"), base)
            taken = rounds(
                {
                    "keras": keras_predicting(peer, files[0].parent),
                    "f32": ours(bundle, files, options.threads, "f32"),
                    "bf16": ours(bundle, files, options.threads, "bf16"),
                },
                options.rounds,
                options.clock,
            )
            rates = {which: len(files) / statistics.median(seconds) for which, seconds in taken.items()}
            ratios = {which: ratio(taken, which, "keras") for which in ("f32", "bf16")}
            found[name] = {"images_per_second": rates, "ratios": ratios, "images": len(files)}
            print(f"{name}: {len(files)} photographs, {options.threads} threads, medians of {options.rounds} rounds")
            for which, rate in rates.items():
                print(f"  {which:<12}{rate:8.1f} images/s" + (" of CPU" if options.clock == "cpu" else ""))
            for which, value in ratios.items():
                target = TARGETS.get((name, which))
                told = "" if target is None else f"   target {target} {'met' if value >= target else 'MISSED'}"
                print(f"  {which + ' / keras':<12}{value:6.2f}{told}", flush=True)
        first = first_finding(base / "small-cnn.melascope", small[0], options.rounds)
    found["first_finding"] = first
    told = "met" if first["seconds"] <= FIRST_IMAGE_SECONDS else "MISSED"
    print(
        f"first finding of a new process: {first['seconds']:.2f} s (fastest {first['fastest']:.2f}, "
        f"CPU {first['cpu_seconds']:.2f})   target {FIRST_IMAGE_SECONDS} s {told}"
    )
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), **found}, indent=1))


def _jpegs(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    if not files:
        raise SystemExit(f"{folder} holds no JPEG files.")
    # Evenly over the classes, which lie one after the other.
    return [files[i] for i in np.random.default_rng(0).permutation(len(files))]


if __name__ == "__main__":
    main()
