"""Whether photograph quality is judged rightly: sensitivity by damage, false alarms by set, lesion outlines, skin tone.

    python -m benchmarks.quality --images DIR --metadata CSV --masks DIR [--set NAME=DIR ...] [--lesions 400]
                                 [--half report|tune] [--bundle FILE [--closed]] [--json FILE] [--pictures DIR]

--images, --metadata and --masks are HAM10000's (`lesion_id,image_id,dx`; masks `ID_segmentation.png`); one photograph
of each lesion counts, and lesions of the locked tenth never do. Half of the rest, by a hash of the lesion's id, was
used to set limits (--half tune); numbers are reported on the other. Each --set is a folder of photographs, of which
a sample is judged as it is. --bundle says what quality does to a model's error, on lesions that it was not trained on:
with --closed on those of the locked tenth, for a model that knows all others. Nothing may be chosen by that.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from benchmarks.quality_damage import DAMAGES, fewer_pixels
from benchmarks.quality_error import errors
from melascope.images import decode, quality, skin_tone
from melascope.images.lesion_place import locate
from melascope.statistics import wilson

SEED = 0


def lesions(metadata: Path, half: str) -> pd.DataFrame:
    """Return `lesion_id, image_id, dx`, one photograph a lesion in a random order.

    `half` is `tune`, `report`, both (`all`), or `closed`: the locked tenth and nothing else.
    """
    table = pd.read_csv(metadata, usecols=["lesion_id", "image_id", "dx"])
    ids = table["lesion_id"]
    locked = ids.map(lambda name: hashlib.sha256(name.encode()).digest()[0] % 10 == 0)
    side = ids.map(lambda name: ("tune", "report")[hashlib.sha256(f"quality:{name}".encode()).digest()[0] % 2])
    kept = table[locked if half == "closed" else ~locked & ((side == half) | (half == "all"))]
    return kept.drop_duplicates("lesion_id").sample(frac=1, random_state=SEED).reset_index(drop=True)


def photograph(path: Path) -> np.ndarray:
    return decode(path.read_bytes())


def true_mask(folder: Path, image_id: str) -> np.ndarray:
    # Some of the masks have a palette that turns their values round: read without it, they are their own opposite.
    return np.asarray(Image.open(folder / f"{image_id}_segmentation.png").convert("L")) > 127


def share(hits: list[bool]) -> dict[str, Any]:
    return wilson(sum(hits), len(hits)).to_json()


def outlines(images: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, Any]:
    """Return how well found lesions overlap with the true ones (intersection over union), and cut lesions are told."""
    places = [locate(image) for image in images]
    overlap = []
    for place, mask in zip(places, masks, strict=True):
        found = place.mask(*mask.shape)
        overlap.append((found & mask).sum() / max(1, (found | mask).sum()))
    edge = [bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()) for mask in masks]
    told_cut = [any(p.kind == "cut_off" for p in quality.assess(image).problems) for image in images]
    return {
        "n": len(masks),
        "told_cut_where_true": share([cut for cut, true in zip(told_cut, edge, strict=True) if true]),
        "told_cut_where_not": share([cut for cut, true in zip(told_cut, edge, strict=True) if not true]),
        "median": float(np.median(overlap)),
        "mean": float(np.mean(overlap)),
        "lower_quartile": float(np.quantile(overlap, 0.25)),
        "below_0.3": share([value < 0.3 for value in overlap]),
    }


def damaged(images: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, Any]:
    """Return by kind and strength how many are found, are called too poor, and are blamed for something else."""
    rng = np.random.default_rng(SEED)
    result: dict[str, Any] = {}
    for name, damage in DAMAGES.items():
        for strength in damage.strengths:
            judged = []
            for image, mask in zip(images, masks, strict=True):
                hurt = damage.apply(image, mask, strength, rng)
                if hurt is not None:
                    judged.append(quality.assess(hurt, image.shape[:2] if name == "cut" else None))
            found = [any(problem.kind in damage.found_as for problem in one.problems) for one in judged]
            result.setdefault(name, []).append(
                {
                    "strength": strength,
                    "strong": strength == damage.strong,
                    "found": share(found),
                    "too_poor": share([one.too_poor for one in judged]),
                    "median_score": float(np.median([one.score for one in judged])),
                }
            )
    return result


def undamaged(images: list[np.ndarray]) -> dict[str, Any]:
    """Return how many photographs are blamed for what, and are called too poor."""
    judged = [quality.assess(image) for image in images]
    kinds = {
        kind: share([any(problem.kind == kind for problem in one.problems) for one in judged]) for kind in quality.KINDS
    }
    return {
        "n": len(judged),
        "too_poor": share([one.too_poor for one in judged]),
        "any": share([bool(one.problems) for one in judged]),
        "kinds": kinds,
    }


def reductions(images: list[np.ndarray]) -> dict[str, Any]:
    """Return how many photographs are called blurred after nothing but a reduction, an enlargement or compression."""

    def blurred(changed: list[np.ndarray]) -> dict[str, Any]:
        return share([any(p.kind == "blur" for p in quality.assess(image).problems) for image in changed])

    def resized(image: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize(size, how))

    how = Image.Resampling
    return {
        "as they are": blurred(images),
        "133 x 100, Lanczos": blurred([resized(image, (133, 100), how.LANCZOS) for image in images]),
        "133 x 100, bilinear": blurred([resized(image, (133, 100), how.BILINEAR) for image in images]),
        "180 x 180 squashed, bicubic": blurred([resized(image, (180, 180), how.BICUBIC) for image in images]),
        "224 x 224 squashed, bilinear": blurred([resized(image, (224, 224), how.BILINEAR) for image in images]),
        "600 x 450 enlarged, bicubic": blurred([resized(image, (600, 450), how.BICUBIC) for image in images]),
        "JPEG quality 50": blurred([jpeg(image, 50) for image in images]),
    }


def jpeg(image: np.ndarray, level: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=level)
    return decode(buffer.getvalue())


def tones(images: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, Any]:
    """Return how the angle agrees between true and found lesions, and how far harmless changes move it."""
    true = [skin_tone.estimate(image, mask) for image, mask in zip(images, masks, strict=True)]
    changes = {
        "lesion found, not known": lambda image: image,
        "JPEG quality 50": lambda image: jpeg(image, 50),
        "180 x 180 squashed": lambda image: np.asarray(Image.fromarray(image).resize((180, 180))),
        "blurred by 2 %": lambda image: np.asarray(
            Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.02 * min(image.shape[:2])))
        ),
        "half a short side": lambda image: fewer_pixels(
            image, image, min(image.shape[:2]) / 2, np.random.default_rng()
        ),
        "white balance 5 % bluer": lambda image: balanced(image, 0.95, 1.05),
        "white balance 5 % redder": lambda image: balanced(image, 1.05, 0.95),
        "white balance 10 % bluer": lambda image: balanced(image, 0.9, 1.1),
        "white balance 10 % redder": lambda image: balanced(image, 1.1, 0.9),
        "half a stop darker": lambda image: DAMAGES["dark"].apply(image, image, -0.5, np.random.default_rng()),
    }
    angles = np.array([tone.ita for tone in true])
    result: dict[str, Any] = {
        "n": len(true),
        "none": share([tone.band is None for tone in true]),
        "bands": {name: sum(tone.band == name for tone in true) for _, name in skin_tone.BANDS},
        "quantiles": np.nanquantile(angles, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
    }
    found = [skin_tone.estimate(image) for image in images]
    for name, change in changes.items():
        # The change alone: the lesion is found in both photographs, but for the first line.
        base = true if name == "lesion found, not known" else found
        other = [skin_tone.estimate(change(image)) for image in images]
        apart = np.array([b.ita - a.ita for a, b in zip(base, other, strict=True)])
        both = np.isfinite(apart)
        result[name] = {
            "n": int(both.sum()),
            "mean_absolute": float(np.abs(apart[both]).mean()),
            "p95_absolute": float(np.quantile(np.abs(apart[both]), 0.95)),
            "bias": float(apart[both].mean()),
            "same_band": share([a.band == b.band for a, b, told in zip(base, other, both, strict=True) if told]),
            "told_in_one_only": int(
                sum((a.band is None) != (b.band is None) for a, b in zip(base, other, strict=True))
            ),
        }
    return result


def balanced(image: np.ndarray, red: float, blue: float) -> np.ndarray:
    """Multiply the sRGB values of red and blue, as a wrong white balance does, nearly."""
    return np.clip(np.round(image * np.array([red, 1, blue])), 0, 255).astype(np.uint8)


def speed(images: list[np.ndarray]) -> dict[str, float]:
    """Return CPU milliseconds a photograph, the median of five rounds."""
    result = {}
    for name, size, count in (("200 x 150", (200, 150), 40), ("600 x 450", (600, 450), 40), ("24 MP", (6000, 4000), 2)):
        some = [np.asarray(Image.fromarray(image).resize(size)) for image in images[:count]]
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            for image in some:
                quality.assess(image)
            rounds.append((time.process_time() - begun) / len(some) * 1000)
        result[name] = float(np.median(rounds))
    return result


def pictures(images: list[np.ndarray], folder: Path) -> None:
    """Draw the worst and the best photographs by score, found lesions outlined."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = np.array([quality.assess(image).score for image in images])
    order = np.argsort(scores, kind="stable")
    for name, chosen in (("worst", order[:42]), ("best", order[-42:])):
        sheet = Image.new("RGB", (7 * 204, 6 * 154), "white")
        for place, number in enumerate(chosen):
            drawn = Image.fromarray(outlined(images[number]))
            drawn.thumbnail((200, 150))
            sheet.paste(drawn, (place % 7 * 204, place // 7 * 154))
        sheet.save(folder / f"{name}.png")
        print(f"{folder / name}.png: scores {scores[chosen].round(2).tolist()}")
    for number in order[:42]:
        told = quality.assess(images[number])
        print(f"  {told.score:.2f} " + ", ".join(f"{p.kind} {p.severity:.2f}" for p in told.problems))


def outlined(image: np.ndarray) -> np.ndarray:
    mask = locate(image).mask(*image.shape[:2])
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    drawn = image.copy()
    drawn[mask & ~inner] = (0, 0, 255)
    return drawn


def told(value: dict[str, Any]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def report(found: dict[str, Any]) -> None:
    print("lesion outlines:", {k: v if not isinstance(v, dict) else told(v) for k, v in found["outlines"].items()})
    print("damage          strength   n     found                  too poor               median score")
    for name, rows in found["damage"].items():
        for row in rows:
            mark = "*" if row["strong"] else " "
            n = row["found"]["n"]
            numbers = f"{told(row['found'])}   {told(row['too_poor'])}   {row['median_score']:.2f}"
            print(f"{name:<14}{mark} {row['strength']:>8}  {n:>4}   {numbers}")
    for name, row in found["sets"].items():
        print(f"{name}: n {row['n']}, too poor {told(row['too_poor'])}, any problem {told(row['any'])}")
        print("   " + ", ".join(f"{k} {v['value']:.3f}" for k, v in row["kinds"].items() if v["value"]))
    print("called blurred after:", {name: told(row) for name, row in found["reductions"].items()})
    for name, row in found["skin_tone"].items():
        if isinstance(row, dict) and "same_band" in row:
            print(f"ITA, {name}: mean absolute difference {row['mean_absolute']:.1f}, p95 {row['p95_absolute']:.1f},")
            print(
                f"    bias {row['bias']:+.1f} degrees, same band {told(row['same_band'])}, n {row['n']}, "
                f"told in one only {row['told_in_one_only']}"
            )
        else:
            print(f"ITA, {name}: {told(row) if isinstance(row, dict) and 'value' in row else row}")
    print("CPU milliseconds a photograph:", {name: round(ms, 1) for name, ms in found["milliseconds"].items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="NAME=FOLDER, judged as it is; repeatable")
    parser.add_argument("--lesions", type=int, default=400, help="photographs in a sample")
    parser.add_argument("--half", choices=("report", "tune"), default="report")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--closed", action="store_true", help="judge the bundle on the locked tenth")
    parser.add_argument("--only-bundle", action="store_true", help="leave out what needs no bundle")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--pictures", type=Path, help="folder for sheets of the worst and the best")
    options = parser.parse_args()
    found: dict[str, Any] = {"half": options.half, "limits": [vars(limit) for limit in quality.LIMITS]}
    table = lesions(options.metadata, options.half)
    if not options.only_bundle:
        few = table.head(options.lesions)
        images = [photograph(options.images / f"{name}.jpg") for name in few["image_id"]]
        masks = [true_mask(options.masks, name) for name in few["image_id"]]
        found["outlines"] = outlines(images, masks)
        found["damage"] = damaged(images[: options.lesions // 2], masks[: options.lesions // 2])
        found["sets"] = {"HAM10000": undamaged(images)}
        for given in options.set:
            name, _, folder = given.partition("=")
            files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
            chosen = np.random.default_rng(SEED).permutation(len(files))[: options.lesions]
            found["sets"][name] = undamaged([photograph(files[number]) for number in chosen])
        found["reductions"] = reductions(images[: options.lesions // 2])
        found["skin_tone"] = tones(images, masks)
        found["milliseconds"] = speed(images)
        report(found)
        if options.pictures:
            pictures(images, options.pictures)
    if options.bundle:
        found["error"] = errors(
            options.bundle,
            lesions(options.metadata, "closed" if options.closed else "all"),
            options.images,
            options.masks,
            true_mask,
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
