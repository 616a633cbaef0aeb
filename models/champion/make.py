"""Make the champion: gather, audit, split, train, calibrate, judge, and put it into `models/melascope-champion`.

    python -m models.champion.make DATA --weights mobilenetv2_imagenet.npz --out FOLDER
        [--epochs N] [--no-ship | --keep-closed]

DATA holds the photographs and tables as their publishers give them:

    ham10000/HAM10000_metadata.csv, ham10000/images/                            HAM10000, any size
    isic2017/ISIC-2017_{Training,Validation}_Classes.csv, ISIC-2017_..._Data/   ISIC 2017
    isic9/Train/, isic9/Test/                                                   the nine-class set
    isic2019/ISIC_2019_Training_{GroundTruth,Metadata}.csv                      official labels and lesion ids

Stopped or killed, the same command goes on where it was. Test photographs and the locked tenth of HAM10000's lesions
are judged once, at the end. With `--keep-closed` they are not looked at: the run ends with its bundle, to be compared
with another one by `melascope compare RUN RUN --part calibrate`; the same command without it goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.bundle import load_bundle, write_bundle
from melascope.datasets import table
from melascope.evaluation import card, card_effort
from melascope.training import recipe
from melascope.training.run_folder import RunFolder
from models.champion import beside, gather

PACKAGE = Path(__file__).parents[1] / "melascope-champion"
MADE = "made.json"
LARGEST = 15_000_000
"""Bytes that the bundle may have."""
SHARES = ("train=0.85", "calibrate=0.15")
"""Nothing is chosen on a part of its own: the recipe was designed by cross-validation and keeps its last epoch."""


def melascope(*words: str | Path) -> None:
    """Run a command of Melascope's, shown first."""
    told = [str(word) for word in words]
    print("$ melascope", *told, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "melascope.cli", *told], check=True)


def tables(data: Path) -> tuple[Path, Path]:
    """Return the official labels and the official metadata."""
    folder = data / "isic2019"
    return folder / "ISIC_2019_Training_GroundTruth.csv", folder / "ISIC_2019_Training_Metadata.csv"


def gathered(data: Path, out: Path) -> Path:
    """Return the audited table of all photographs; made where it is not there."""
    clean = out / "audit" / "clean.parquet"
    if clean.exists():
        return clean
    official = [word for table in tables(data) for word in ("--authority", str(table))]
    listed = out / "table.csv"
    ham = data / "ham10000"
    gather.main(
        ["--ham10000", str(ham / "HAM10000_metadata.csv"), str(ham / "images"), "--isic2017", str(data / "isic2017"),
         "--isic9", str(data / "isic9"), *official, "--out", str(listed)]
    )  # fmt: skip
    shutil.rmtree(out / "audit", ignore_errors=True)
    melascope("data", "audit", listed, *official, "--out", out / "audit")
    return clean


def prepared(photographs: Path, weights: Path, out: Path) -> tuple[Path, Path]:
    """Return the file of the recipe, and that of the parts, made where it is not there."""
    parts, own = out / "parts.csv", out / "champion.toml"
    if not parts.exists():
        shares = [word for share in SHARES for word in ("--fraction", share)]
        melascope("data", "split", photographs, *shares, "--out", parts)
    made = recipe.load("champion").replace(network={"weights": str(weights.resolve())})
    own.write_text(made.dumps(), encoding="utf-8")
    return own, parts


def trained(photographs: Path, weights: Path, out: Path, epochs: int | None, closed: bool = False) -> Path:
    """Return the run's folder, trained and judged; or, to keep what is closed so, trained and exported."""
    own, parts = prepared(photographs, weights, out)
    run = out / "run"
    words: list[str | Path] = [photographs, "--recipe", own, "--parts", parts, "--out", run]
    words += ["--epochs", str(epochs)] if epochs else []
    words += ["--resume"] if (run / "run.json").exists() else []
    melascope("train" if closed else "run", *words)
    if closed:
        melascope("export", run)
    return run


def counted(metrics: Mapping[str, Any], gathered_flow: Path) -> dict[str, Any]:
    """Return the metrics with the flow from the sets' photographs on: the run began with each of them once."""
    steps = json.loads(gathered_flow.read_text(encoding="utf-8"))
    flow = list(metrics["flow"])
    if flow[0]["photographs"] != steps[-1]["photographs"]:
        raise SystemExit(f"{gathered_flow} tells of other photographs than the run: gather and audit them again.")
    return {**metrics, "flow": [*steps, *flow[1:]]}


def made(folder: RunFolder) -> dict[str, Any]:
    """Return what making the model took, and where, which the distribution keeps for cards that are written anew."""
    effort = card_effort.effort_of(folder.state, folder.file("history.csv"))
    return {"effort": effort, "environment": folder.read_json("environment.json")}


def ship(run: Path, package: Path = PACKAGE, how: Mapping[str, Any] | None = None) -> Path:
    """Put a run's bundle, its card and their checksums into the distribution; return the bundle's file.

    Args:
        run: The run's folder, judged.
        package: The distribution.
        how: What making the model took, as `made` tells it; that of the run where it is not given.
    """
    folder = RunFolder.open(run)
    found = load_bundle(folder.need("model.melascope"))
    told = dict(how or made(folder))
    metrics = counted(folder.read_json("metrics.json"), run.parent / gather.GATHERED)
    predictions = pd.read_parquet(folder.need("predictions.parquet"))
    facts = card.gathered(table.load(folder.need("table.parquet")), predictions, metrics, folder.state)
    facts["effort"] = told["effort"]
    text = card.model_card(
        metrics, found.decision, folder.settings["recipe"], told["environment"], **facts, beside=beside.told()
    )
    home = package / "src" / "melascope_champion"
    licence = (package / "LICENSE").read_text(encoding="utf-8")
    target = home / "champion.melascope"
    written = write_bundle(
        target, found.onnx, found.decision, evaluation=metrics, card=text, trained_on=found.trained_on,
        licences={**found.licences, "LICENSE": licence}, arrays=found.arrays,
    )  # fmt: skip
    size = target.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{target} has {size:,} bytes; at most {LARGEST:,} are shipped.")
    (home / "card.md").write_text(written.card or "", encoding="utf-8")
    (package / MADE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sums = [f"{hashlib.sha256((home / name).read_bytes()).hexdigest()}  src/melascope_champion/{name}"
            for name in ("champion.melascope", "card.md")]  # fmt: skip
    (package / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")
    print(f"{target}: {size:,} bytes, identity {written.identity}", file=sys.stderr)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="mobilenetv2_imagenet.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for table, audit and run")
    parser.add_argument("--epochs", type=int, help="a try: instead of the recipe's")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--no-ship", dest="ship", action="store_false", help="leave models/melascope-champion as it is")
    way.add_argument("--keep-closed", action="store_true", help="neither judge what is closed, nor ship")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    photographs = gathered(options.data, options.out)
    run = trained(photographs, options.weights, options.out, options.epochs, options.keep_closed)
    if options.keep_closed:
        looked = "an earlier command judged what is closed" if (run / "metrics.json").exists() else "not judged"
        print(f"{run / 'model.melascope'}: {looked}", file=sys.stderr)
        return
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    print(json.dumps({"melanoma": metrics["parts"]["test"]["groups"]["melanoma"]["auc"]}), file=sys.stderr)
    parts = pd.read_parquet(run / "table.parquet")["part"].value_counts().to_dict()
    print(", ".join(f"{part} {count:,}" for part, count in parts.items()), file=sys.stderr)
    if options.ship:
        ship(run)


if __name__ == "__main__":
    main()
