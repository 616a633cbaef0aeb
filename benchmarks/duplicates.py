"""The same photograph twice: recall by kind of change, beside imagehash and cleanvision; time and memory of the search.

    python -m benchmarks.duplicates --data IMAGES [--metadata CSV] [--planted 1000] [--peers-python PYTHON]
                                    [--reach full|near|whole] [--json FILE] [--plot FILE]
    python -m benchmarks.duplicates --match A B
    python -m benchmarks.duplicates --scale [--most 1000000] [--reach near] [--json FILE] [--plot FILE]

Plants changed copies (every kind of change, and every two at once) of a sample among the photographs, and looks for
them. A pair of an original and its copy counts for recall; of all other pairs, those of different lesions count
against precision (the table of metadata needs `image_id` and `lesion_id`). Without --data lesions are generated.

The peers live in an environment of their own: `python -m venv PEERS; PEERS/bin/pip install imagehash cleanvision`,
then --peers-python PEERS/bin/python. imagehash: 64-bit hashes, up to 10 bits apart (Krawetz, "Looks Like It", 2011:
more than 10 is likely another picture; also the default of imagededup). cleanvision: its near and exact duplicates.

--match counts, of the ids that two folders share, how many are found as the same photograph. --scale times the exact
search (all eight symmetries) on made fingerprints, every hundredth of which has a near copy: of whole photographs
(--reach whole, the default there), or of slight crops too (--reach near).
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.duplicate_peers import peers
from melascope.datasets.fingerprint import coefficients_of, fingerprint
from melascope.datasets.identity import sha256
from melascope.datasets.same import find_same
from melascope.datasets.same_index import REACHES, apply_symmetry, descriptors, search
from melascope.datasets.same_pairs import turned
from melascope.images import decode, synthetic

KINDS = ("resize", "squash", "jpeg", "crop", "brightness", "symmetry")
TARGET = 0.99


def changed(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a copy with one change; JPEG quality is applied when it is written."""
    width, height = image.size
    if kind == "resize":
        factor = rng.uniform(0.5, 1.5)
        return image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    if kind == "squash":
        return image.resize((round(width * rng.uniform(0.6, 1)), round(height * rng.uniform(0.6, 1))))
    if kind == "crop":
        share = rng.uniform(0.9, 0.97)
        w, h = round(width * share), round(height * share)
        centre = rng.random() < 0.5
        x = (width - w) // 2 if centre else int(rng.integers(width - w + 1))
        y = (height - h) // 2 if centre else int(rng.integers(height - h + 1))
        return image.crop((x, y, x + w, y + h))
    if kind == "brightness":
        pixels = np.asarray(image).astype(np.float32) * rng.uniform(0.85, 1.15)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if kind == "symmetry":
        planes = apply_symmetry(np.moveaxis(np.asarray(image), -1, 0), int(rng.integers(1, 8)))
        return Image.fromarray(np.ascontiguousarray(np.moveaxis(planes, 0, -1)))
    return image


def plant(paths: list[Path], count: int, folder: Path, rng: np.random.Generator) -> pd.DataFrame:
    """Write changed copies of a sample; return `path`, `original` (position) and `kind`, each kind equally often."""
    kinds = [(kind,) for kind in KINDS] + list(itertools.combinations(KINDS, 2))
    rows = []
    for number, original in enumerate(rng.choice(len(paths), min(count, len(paths)), replace=False)):
        kind = kinds[number % len(kinds)]
        image = Image.open(paths[original]).convert("RGB")
        for change in kind:
            image = changed(image, change, rng)
        quality = int(rng.integers(30, 96)) if "jpeg" in kind else 90
        path = folder / f"planted_{number:05d}.jpg"
        image.save(path, quality=quality)
        rows.append({"path": path, "original": int(original), "kind": " + ".join(kind)})
    return pd.DataFrame(rows)


def scanned(paths: list[Path]) -> pd.DataFrame:
    """Return `path`, `sha256` and `fingerprint`, as a scan finds them."""

    def look(path: Path) -> tuple[str, str]:
        data = path.read_bytes()
        return sha256(data), fingerprint(decode(data, at_least=(64, 64))).hex()

    with ThreadPoolExecutor() as pool:
        looked = list(pool.map(look, paths))
    table = pd.DataFrame(looked, columns=["sha256", "fingerprint"], dtype="string")
    return table.assign(path=pd.array([str(path) for path in paths], dtype="string"))


def generated(folder: Path, count: int = 600) -> list[Path]:
    """Write generated lesions, 200 x 150 pixels."""
    paths = [folder / f"generated_{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(synthetic.lesion(number, "MEL" if number % 2 else "NV", (150, 200))).save(path, quality=92)
    return paths


def judged(pairs: set[tuple[int, int]], planted: pd.DataFrame, first: int, lesions: np.ndarray) -> dict[str, Any]:
    """Return recall by kind of change, and precision, which other pairs of different lesions lower."""
    found = np.array([(original, first + row) in pairs for row, original in enumerate(planted["original"])])
    ends = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    wrong = int((lesions[ends[:, 0]] != lesions[ends[:, 1]]).sum())
    return {
        "recall": float(found.mean()),
        "by_kind": planted.assign(found=found).groupby("kind", sort=False)["found"].mean().to_dict(),
        "pairs": len(pairs),
        "pairs_of_different_lesions": wrong,
        "precision": 1 - wrong / max(1, len(pairs)),
        "missed": [str(kind) for kind in planted["kind"][~found]],
    }


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Plant copies, search them with ours and the peers."""
    rng = np.random.default_rng(arguments.seed)
    paths = sorted(Path(arguments.data).glob("*.jpg")) if arguments.data else generated(folder)
    copies = plant(paths, arguments.planted, folder, rng)
    together = [*paths, *copies["path"]]
    own = np.array([path.stem for path in paths], dtype=object)
    if arguments.metadata:
        known = pd.read_csv(arguments.metadata).set_index("image_id")["lesion_id"]
        own = np.array([known.get(name, name) for name in own], dtype=object)
    lesions = np.concatenate([own, own[copies["original"]]])
    start = time.perf_counter()
    table = scanned(together)
    middle = time.perf_counter()
    pairs = find_same(table, reach=arguments.reach)
    result: dict[str, Any] = {
        "images": len(together),
        "seconds": {"scan": middle - start, "find_same": time.perf_counter() - middle},
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    same = pairs[pairs["relation"] == "same_photograph"]
    result["finders"] = {"melascope": judged(_ends(same), copies, len(paths), lesions)}
    # Told as a second shot of the lesion: found as a problem all the same, under the other name.
    either = judged(_ends(pairs), copies, len(paths), lesions)
    result["either_relation"] = {name: either[name] for name in ("recall", "pairs_of_different_lesions", "precision")}
    if arguments.peers_python:
        for name, theirs in peers(arguments.peers_python, together, folder).items():
            result["finders"][name] = judged(theirs, copies, len(paths), lesions)
    return result


def _ends(pairs: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(pairs["a"].tolist(), pairs["b"].tolist(), strict=True))


def match(left: Path, right: Path) -> dict[str, Any]:
    """Return how many of the ids that two folders share are found to be the same photograph."""
    ours, theirs = sorted(left.rglob("*.jpg")), sorted(right.rglob("*.jpg"))
    start = time.perf_counter()
    pairs = find_same(scanned(ours), scanned(theirs))
    seconds = time.perf_counter() - start
    ids = {path.stem for path in ours} & {path.stem for path in theirs}
    own = np.array([ours[a].stem == theirs[b].stem for a, b in zip(pairs["a"], pairs["b"], strict=True)], dtype=bool)
    same = (pairs["relation"] == "same_photograph").to_numpy(dtype=bool)
    met = {ours[a].stem for a in pairs["a"][own & same]}
    either = {ours[a].stem for a in pairs["a"][own]}
    return {
        "ids_in_both": len(ids),
        "same_photograph": len(met) / max(1, len(ids)),
        "either_relation": len(either) / max(1, len(ids)),
        "missed": sorted(ids - met)[:20],
        "other_pairs": int((~own).sum()),
        "other_pairs_same": int((~own & same).sum()),
        "seconds": seconds,
    }


def scale(rows: int, reach: str, seed: int = 0) -> dict[str, Any]:
    """Time the search among `rows` made fingerprints, in this process."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    looks = [fingerprint(synthetic.lesion(number, "NV", 64)).hex() for number in range(400)]
    real = coefficients_of(pd.Series(looks, dtype="string"))
    spread = real.std(axis=0)
    coefficients = real[rng.integers(len(real), size=rows)]
    for start in range(0, rows, 100_000):  # in parts: a million normal numbers for each coefficient is 2 GB
        part = coefficients[start : start + 100_000]
        part += 0.6 * spread * rng.standard_normal(part.shape, dtype=np.float32)
    copies = np.arange(0, rows - 1, 100)
    noise = 0.004 * np.linalg.norm(coefficients[copies], axis=(1, 2), keepdims=True)
    symmetries = rng.integers(8, size=len(copies))
    near = coefficients[copies] + noise * rng.standard_normal((len(copies), 16, 16), dtype=np.float32)
    coefficients[copies + 1] = turned(near, symmetries)
    start_s, start_cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        found = search(coefficients, coefficients, itself=True, reach=REACHES[reach], threads=2)
    seconds, cpu = time.perf_counter() - start_s, time.process_time() - start_cpu
    apart = descriptors(coefficients[copies])
    back = descriptors(
        turned(coefficients[copies + 1], np.where(symmetries == 5, 6, np.where(symmetries == 6, 5, symmetries)))
    )
    within = np.linalg.norm(apart - back, axis=1) < REACHES[reach].radius - 1e-4
    pairs = set(
        zip(
            np.minimum(found.whole, found.cropped).tolist(),
            np.maximum(found.whole, found.cropped).tolist(),
            strict=True,
        )
    )
    recall = np.mean([(int(row), int(row) + 1) in pairs for row in copies[within]]) if within.any() else float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {"rows": rows, "reach": reach, "seconds": seconds, "cpu_seconds": cpu, "peak_gb": peak}
    return {**told, "pairs": len(found), "recall": float(recall)}


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    if "scale" in result:
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        for axis, key, label in zip(axes, ("seconds", "peak_gb"), ("seconds", "peak memory, GB"), strict=True):
            axis.loglog([row["rows"] for row in result["scale"]], [row[key] for row in result["scale"]], "o-")
            axis.set(xlabel="photographs", ylabel=label)
    else:
        figure, axis = plt.subplots(figsize=(10, 5.5), layout="constrained")
        kinds = list(next(iter(result["finders"].values()))["by_kind"])
        for name, told in result["finders"].items():
            axis.plot([told["by_kind"][kind] for kind in kinds], range(len(kinds)), "o", label=name)
        axis.set_yticks(range(len(kinds)), kinds)
        axis.axvline(TARGET, color="grey", linewidth=0.8)
        axis.set(xlabel="recall of planted copies", xlim=(-0.02, 1.02))
        axis.invert_yaxis()
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--metadata")
    parser.add_argument("--planted", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers-python")
    parser.add_argument("--match", nargs=2, type=Path, metavar=("A", "B"))
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--reach", choices=sorted(REACHES))
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    if arguments.rows:
        print(json.dumps(scale(arguments.rows, arguments.reach or "whole")))
        return
    if arguments.scale:
        # A process for each size, so that the peak of memory is its own.
        call = [sys.executable, "-m", "benchmarks.duplicates", "--reach", arguments.reach or "whole", "--rows"]
        sizes = [size for size in (1_000, 10_000, 100_000, 300_000, 1_000_000) if size <= arguments.most]
        done = [subprocess.run([*call, str(size)], check=True, capture_output=True, text=True).stdout for size in sizes]
        result: dict[str, Any] = {"scale": [json.loads(line) for line in done]}
    elif arguments.match:
        result = {"match": match(*arguments.match)}
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(arguments, Path(folder))
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    if arguments.plot:
        plot(result, arguments.plot)


if __name__ == "__main__":
    main()
