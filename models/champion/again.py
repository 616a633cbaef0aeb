"""Judge the shipped model anew, without training: other measures, the same network and, mostly, the same decisions.

    python -m models.champion.again DATA --weights mobilenetv2_imagenet.npz --out FOLDER [--refit] [--no-ship]

DATA and WEIGHTS are those of `models.champion.make`, whose first steps are taken again: the photographs are gathered,
audited and divided as they were. What the model learnt from must then be what its bundle lists; else it is refused.
With `--refit` calibration, first choice and thresholds are fitted anew, as today's rules have it, to the part
`calibrate` that they were fitted to; the network stays. Scores, card and checksums in the distribution are written
anew. What the network that learnt shuffled labels said is taken over from the bundle, since it would have to be
trained. The photographs that are closed are looked at once more, which `docs/champion_looks.json` is to tell.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from melascope import environment
from melascope.bundle import Bundle, Predictor, load_bundle, write_bundle
from melascope.cli import console
from melascope.datasets import pack, table
from melascope.progress import Progress
from melascope.training import judge, recipe
from melascope.training.continued import LEARNT_FROM
from melascope.training.run import run as begin
from melascope.training.run_folder import RunFolder
from models.champion import make

SHIPPED = make.PACKAGE / "src" / "melascope_champion" / "champion.melascope"


def begun(photographs: Path, weights: Path, out: Path, progress: Progress) -> RunFolder:
    """Return a run's folder with its data divided as `make` does it, and nothing trained."""
    own, parts = make.prepared(photographs, weights, out)
    again = (out / "run" / "run.json").exists()
    return begin(
        photographs, out / "run", recipe=own, parts=parts, until="data", resume=again, progress=progress
    ).folder


def refuse_another(folder: RunFolder, bundle: Bundle) -> None:
    """Refuse a division in which the model did not learn from just the photographs that it should have."""
    frame = table.load(folder.need("table.parquet"))
    assert bundle.trained_on is not None
    known = bundle.trained_on.contains([str(one) for one in frame["sha256"]])
    learnt = frame["part"].isin(LEARNT_FROM).to_numpy(dtype=bool)
    if (known != learnt).any():
        raise SystemExit(
            f"{int((known & ~learnt).sum())} photographs that the model learnt from are not in train or calibrate, and "
            f"{int((learnt & ~known).sum())} there it did not learn from: these data or this division are not its own."
        )


def refitted(folder: RunFolder, bundle: Bundle) -> None:
    """Put the bundle's network into the folder with a decision that is fitted to `calibrate` today."""
    made = recipe.parse(tomllib.loads(folder.settings["recipe"]))
    frame = table.load(folder.need("table.parquet"))
    decision = judge.decide(folder, made, frame, Predictor(bundle, environment.threads()))
    write_bundle(
        folder.file("model.melascope"), bundle.onnx, decision, trained_on=bundle.trained_on, arrays=bundle.arrays
    )


def judged(folder: RunFolder, bundle: Bundle, progress: Progress, refit: bool = False) -> None:
    """Put the bundle into the folder and judge it there."""
    assert bundle.evaluation is not None
    if refit:
        refitted(folder, bundle)
    else:
        shutil.copyfile(bundle.path, folder.file("model.melascope"))
    for step in ("pack", "fit", "export"):
        folder.finish(step, 0.0)
    made = recipe.parse(tomllib.loads(folder.settings["recipe"]))
    frame, threads = table.load(folder.need("table.parquet")), environment.threads()
    packed = pack(frame, made.geometry, environment.cache_folder(), threads=threads, progress=progress)
    began = time.monotonic()
    facts = judge.evaluate(
        folder, made, frame, packed, progress, threads, shuffled=bundle.evaluation["baselines"]["shuffled_labels"]
    )
    folder.finish("evaluate", time.monotonic() - began, **facts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="mobilenetv2_imagenet.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for table, audit and run")
    parser.add_argument("--refit", action="store_true", help="fit calibration and thresholds anew")
    parser.add_argument("--no-ship", dest="ship", action="store_false", help="leave models/melascope-champion as it is")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(SHIPPED)
    photographs = make.gathered(options.data, options.out)
    with console.progress() as progress:
        folder = begun(photographs, options.weights, options.out, progress)
        refuse_another(folder, bundle)
        judged(folder, bundle, progress, options.refit)
    metrics = folder.read_json("metrics.json")
    print(json.dumps({"melanoma": metrics["parts"]["test"]["groups"]["melanoma"]["auc"]}), file=sys.stderr)
    if options.ship:
        how = json.loads((make.PACKAGE / make.MADE).read_text(encoding="utf-8"))
        make.ship(folder.path, make.PACKAGE, how)


if __name__ == "__main__":
    main()
