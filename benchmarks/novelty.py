"""Methods of novelty beside each other on a trained model, each kind of stranger on its own, and the modality.

    python -m benchmarks.novelty --bundle FILE --table TABLE [--set NAME=FOLDER[,LESIONS.csv]] [--images FOLDER]
        [--count 120] [--draws 2000] [--json FILE]

Methods are fitted on the table's part `train`. The method is chosen on the part `tune` against one half of the
strangers; what is reported is `calibrate` and `test` against the other half. A run that has no `tune` of its own gives
every other lesion of `calibrate` for it. Intervals are bootstraps of lesions (of
whole source pictures, for crops). `outside` is the share called outside at the threshold that `calibrate` sets. The
rule: the largest of the methods' worst AUROC, over the kinds of `RULE`.

Photographs that are no dermoscopy are those that installed packages bring: most are scikit-image's, which Melascope
does not need and which has to be installed for this.

A held-out diagnosis is left out of the fit of novelty and of a linear probe that takes the place of the network's last
layer. The network itself had seen it, which flatters every method.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import novelty_kinds as kinds
from melascope.bundle import Predictor, modality
from melascope.images import decode, read_file, resize, strangers
from melascope.statistics import Estimate, auc, bootstrap, count_units, interval, novelty, proportion

RULE = ("photographs", "textures", "documents", "clinical (simulated)", "spoilt", "held-out diagnosis")
"""Kinds over which the worst AUROC is taken; of the last two, the mean of the AUROCs of each way and each diagnosis."""


@dataclass(frozen=True)
class Seen:
    """What the network gave for some pictures: embeddings `(n, d)`, logits `(n, c)`, groups and halves `(n,)`."""

    x: np.ndarray
    logits: np.ndarray
    groups: np.ndarray
    chooses: np.ndarray

    def part(self, rows: np.ndarray) -> Seen:
        return Seen(self.x[rows], self.logits[rows], self.groups[rows], self.chooses[rows])


def look(predictor: Predictor, pictures: Iterable[kinds.Picture]) -> Seen:
    """Run pictures; only a few are in memory at a time."""
    x, logits, groups, chooses = [], [], [], []
    for picture in pictures:
        out = predictor.run(resize(picture.pixels, predictor.bundle.geometry)[None])
        x.append(out.embedding[0])
        logits.append(out.logits[0])
        groups.append(picture.group)
        chooses.append(picture.chooses)
    return Seen(np.array(x), np.array(logits), np.array(groups, dtype=object), np.array(chooses, bool))


def known_table(path: Path, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a run's rows that have a part and a diagnosis of the model's; `unit` is what is drawn as one."""
    table = pd.read_parquet(path)
    table = table[table["part"].notna() & table["diagnosis"].isin(classes)].copy()
    table["unit"] = table["group" if "group" in table else "lesion_id"].fillna(table["image_id"])
    return with_tune(table)


def with_tune(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that has a part `tune`: where there is none, every other lesion of `calibrate` becomes it."""
    if (table["part"] == "tune").any():
        return table
    calibrate = table["part"] == "calibrate"
    lesions = np.sort(table.loc[calibrate, "unit"].unique())
    np.random.default_rng(0).shuffle(lesions)
    half = calibrate & table["unit"].isin(lesions[::2])
    print(f"no part tune: {half.sum()} photographs of calibrate take its place", file=sys.stderr)
    return table.assign(part=table["part"].mask(half, "tune"))


def photographs(rows: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    return [(str(row.unit), decode(read_file(row.path))) for row in rows.itertuples()]


def of_table(predictor: Predictor, rows: pd.DataFrame) -> Seen:
    return look(predictor, (kinds.Picture(decode(read_file(row.path)), str(row.unit)) for row in rows.itertuples()))


def area(inside: np.ndarray, outside: np.ndarray, groups: np.ndarray, draws: int) -> Estimate:
    """Return the AUROC of strangers against known photographs, lesions drawn within either."""
    s, y = np.r_[inside, outside], np.r_[np.zeros(len(inside), bool), np.ones(len(outside), bool)]
    fewest = min(count_units(groups, y), count_units(groups, ~y))
    return interval(bootstrap(lambda w: auc(s, y, w), groups, y, draws), auc(s, y), len(outside), fewest)


def told(estimate: Estimate) -> str:
    if not np.isfinite(estimate.value):
        return "none"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}), n {estimate.n}"


def gather(args: argparse.Namespace, predictor: Predictor, table: pd.DataFrame) -> dict[str, Seen]:
    """Return what the network says of each kind of stranger."""
    some = table[table["part"].isin(["tune", "calibrate", "test"])]
    # Those of `tune` choose, those of `calibrate` and `test` report: the strangers made of them keep to that.
    made = pd.concat([part.sample(min(len(part), args.count), random_state=0) for part in (
        some[some["part"] == "tune"], some[some["part"] != "tune"])])  # fmt: skip
    originals = photographs(made)
    tune = (made["part"] == "tune").to_numpy()
    seen = {
        "photographs": look(predictor, kinds.packaged(args.images)),
        "textures": look(predictor, kinds.drawn("texture", 2 * args.count)),
        "documents": look(predictor, kinds.drawn("document", 2 * args.count)),
    }
    from_known = {"clinical (simulated)": kinds.clinical(originals)}
    from_known |= {f"spoilt: {way}": kinds.spoilt(originals, way) for way in strangers.SPOILT}
    for name, pictures in from_known.items():
        found = look(predictor, pictures)
        seen[name] = Seen(found.x, found.logits, found.groups, tune)
    for text in args.set:
        name, _, place = text.partition("=")
        folder, _, lesions = place.partition(",")
        listed = kinds.other_set(Path(folder), Path(lesions) if lesions else None, table, args.count)
        found = look(predictor, (kinds.Picture(decode(read_file(file)), lesion) for lesion, file in listed))
        seen[f"other set: {name}"] = Seen(found.x, found.logits, found.groups, np.zeros(len(found.x), bool))
    return seen


def compare(parts: dict[str, Seen], labels: np.ndarray, strange: dict[str, Seen], draws: int) -> dict[str, Any]:
    """Return for each method and kind: AUROC where it is chosen and reported, and the share called outside."""
    train, calibrate = parts["train"], parts["calibrate"]
    report = joined(calibrate, parts["test"])
    found: dict[str, Any] = {}
    for method in novelty.METHODS:
        fitted = novelty.fit(method, train.x, labels, train.logits)
        limit = novelty.threshold(novelty.score(method, fitted, calibrate.x, calibrate.logits), groups=calibrate.groups)
        known = {name: novelty.score(method, fitted, part.x, part.logits)
                 for name, part in (("tune", parts["tune"]), ("report", report), ("test", parts["test"]))}  # fmt: skip
        rows: dict[str, Any] = {"test, known": {"outside": proportion(known["test"] > limit, parts["test"].groups)}}
        for name, kind in strange.items():
            s = novelty.score(method, fitted, kind.x, kind.logits)
            a, b = kind.chooses, ~kind.chooses
            chosen = np.concatenate([parts["tune"].groups, kind.groups[a]])
            reported = np.concatenate([report.groups, kind.groups[b]])
            rows[name] = {
                "chosen": area(known["tune"], s[a], chosen, draws) if a.any() else None,
                "reported": area(known["report"], s[b], reported, draws),
                "outside": proportion(s[b] > limit, kind.groups[b]),
            }
        found[method] = rows
    return found


def held_out(parts: dict[str, Seen], labels: dict[str, np.ndarray], classes: tuple[str, ...], draws: int) -> Any:
    """Return for each method and diagnosis the AUROC of that diagnosis against the rest, fitted without it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, tune = parts["train"], parts["tune"]
    report = joined(parts["calibrate"], parts["test"])
    truth = {"tune": labels["tune"], "report": np.r_[labels["calibrate"], labels["test"]]}
    found: dict[str, Any] = {method: {} for method in novelty.METHODS}
    for number, code in enumerate(classes):
        keep = labels["train"] != number
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        probe.fit(train.x[keep], labels["train"][keep])

        def logits(x: np.ndarray, probe: Any = probe) -> np.ndarray:
            return np.asarray(probe.decision_function(x))

        for method in novelty.METHODS:
            fitted = novelty.fit(method, train.x[keep], labels["train"][keep], logits(train.x[keep]))
            result = {}
            for name, part in (("tune", tune), ("report", report)):
                s, strange = novelty.score(method, fitted, part.x, logits(part.x)), truth[name] == number
                # Rows in the order that `area` makes: known first.
                groups = np.concatenate([part.groups[~strange], part.groups[strange]])
                result[name] = area(s[~strange], s[strange], groups, draws)
            found[method][code] = {"chosen": result["tune"], "reported": result["report"]}
    return found


def joined(*parts: Seen) -> Seen:
    return Seen(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "logits", "groups", "chooses"))
    )


def by_rule(compared: dict[str, Any], without: dict[str, Any], which: str) -> dict[str, dict[str, float]]:
    """Return each method's AUROC for each kind of `RULE`."""
    result = {}
    for method, rows in compared.items():
        spoilt = [rows[f"spoilt: {way}"][which].value for way in strangers.SPOILT]
        classes = [row[which].value for row in without[method].values() if np.isfinite(row[which].value)]
        means = {"spoilt": float(np.mean(spoilt)), "held-out diagnosis": float(np.mean(classes))}
        result[method] = {name: means[name] if name in means else rows[name][which].value for name in RULE}
    return result


def modalities(
    predictor: Predictor, parts: dict[str, Seen], strange: dict[str, Seen], train: pd.DataFrame, draws: int
) -> dict[str, Any]:
    """Return the modality's recall on each kind; on each of `neither` also that of a model fitted without its like.

    The bundle's own modality is asked where it has one; otherwise one is made as training makes it.
    """
    views = [pixels for _, pixels in photographs(train.sample(min(len(train), 240), random_state=1))]
    names, shown_to = [], []
    for number, (name, pixels) in enumerate(strangers.examples(views)):
        names.append((name, "clinical" if name == "clinical" else "photographs" if number >= 480 else "drawn"))
        shown_to.append(kinds.Picture(pixels, str(number)))
    learnt = look(predictor, shown_to)

    def fitted(without: str | None) -> modality.Modality:
        keep = np.array([kind != without for _, kind in names])
        x = np.concatenate([parts["train"].x, learnt.x[keep]])
        said = ["dermoscopic"] * len(parts["train"].x) + [n for (n, _), k in zip(names, keep, strict=True) if k]
        return modality.Modality.of(modality.make(x, said, parts["calibrate"].x, parts["calibrate"].groups))

    whole = predictor.bundle.modality or fitted(None)
    # Only of packages from which it did not learn.
    natural = strange["photographs"]
    unseen = np.array([not str(group).startswith(strangers.INSTALLED) for group in natural.groups])
    shown = {"test": (parts["test"], "dermoscopic")}
    shown |= {name: (kind, "dermoscopic") for name, kind in strange.items() if name.startswith("other set")}
    shown["clinical (simulated)"] = strange["clinical (simulated)"], "clinical"
    shown["photographs"] = natural.part(unseen), "neither"
    shown |= {name: (strange[name], "neither") for name in ("textures", "documents")}
    found: dict[str, Any] = {}
    known = whole.probabilities(parts["test"].x)[:, 0]
    for name, (seen, right) in shown.items():
        p = whole.probabilities(seen.x)
        called = np.array(modality.MODALITIES)[p.argmax(axis=1)]
        row: dict[str, Any] = {
            "recall": proportion(called == right, seen.groups),
            "not dermoscopic": proportion(called != "dermoscopic", seen.groups),
        }
        if right != "dermoscopic":
            groups = np.concatenate([parts["test"].groups, seen.groups])
            row["AUROC against test"] = area(-known, -p[:, 0], groups, draws)
        if right == "neither":
            without = fitted("photographs" if name == "photographs" else "drawn").probabilities(seen.x)
            row["not dermoscopic, its like unseen"] = proportion(without.argmax(axis=1) != 0, seen.groups)
        found[name] = row
    return found


def shipped(predictor: Predictor, parts: dict[str, Seen], strange: dict[str, Seen]) -> dict[str, Estimate]:
    """Return the share that the bundle's own novelty calls outside, of `test` and each kind; nothing without one."""
    asked = predictor.bundle.novelty
    if asked is None:
        return {}
    sets = {"test, known": parts["test"]} | {name: kind.part(~kind.chooses) for name, kind in strange.items()}
    return {
        name: proportion([asked.judge(x, z)["outside"] for x, z in zip(seen.x, seen.logits, strict=True)], seen.groups)
        for name, seen in sets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, help="the run's table.parquet")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=FOLDER[,LESIONS.csv]")
    parser.add_argument("--images", action="append", default=[], type=Path, help="more pictures that are no dermoscopy")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    predictor = Predictor(args.bundle)
    classes = predictor.classes
    table = known_table(args.table, classes)
    parts, labels = {}, {}
    for name in ("train", "tune", "calibrate", "test"):
        rows = table[table["part"] == name]
        parts[name] = of_table(predictor, rows)
        labels[name] = rows["diagnosis"].map(classes.index).to_numpy().astype(int)
        print(f"{name}: {len(rows)} photographs", file=sys.stderr)
    strange = gather(args, predictor, table)
    compared = compare(parts, labels["train"], strange, args.draws)
    without = held_out(parts, labels, classes, args.draws)
    chosen, reported = (by_rule(compared, without, which) for which in ("chosen", "reported"))
    for method in novelty.METHODS:
        print(f"\n{method}: worst AUROC {min(chosen[method].values()):.3f} where it is chosen, "
              f"{min(reported[method].values()):.3f} reported")  # fmt: skip
        for name, row in compared[method].items():
            print(f"  {name:28}", f"AUROC {told(row['reported']):38}" if "reported" in row else " " * 44,
                  "outside", told(row["outside"]))  # fmt: skip
        for code, row in without[method].items():
            print(f"  held out: {code:18} AUROC {told(row['reported'])}")
    best = max(chosen, key=lambda method: min(chosen[method].values()))
    print(f"\nChosen by the rule: {best}")
    own = shipped(predictor, parts, strange)
    for name, share in own.items():
        print(f"  the bundle's own, {name:28} outside {told(share)}")
    print("\nModality" + ("" if predictor.bundle.modality else " (made here; the bundle has none)"))
    named = modalities(predictor, parts, strange, table[table["part"] == "train"], args.draws)
    for name, row in named.items():
        print(f"  {name:24}", "; ".join(f"{key} {told(value)}" for key, value in row.items()))
    if args.json:
        result = {
            "bundle": predictor.bundle.identity, "best": best, "chosen": chosen, "reported": reported,
            "methods": compared, "held_out": without, "modality": named, "shipped": own,
        }  # fmt: skip
        args.json.write_text(json.dumps(result, indent=1, default=lambda value: value.to_json()))


if __name__ == "__main__":
    main()
