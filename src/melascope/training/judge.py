"""The second half of a run: export, calibrate, judge.

Everything that is said about the model comes from its exported file, through
the predictor that is deployed: the thresholds, the scores and the heat maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.bundle import Predictor, load_bundle, write_bundle
from melascope.bundle.trained_on import SAME_PHOTOGRAPH
from melascope.datasets import Pack
from melascope.evaluation import evaluate as score
from melascope.evaluation import (
    mark_trained_on,
    predict_table,
    shuffle_labels,
)
from melascope.evaluation.baselines import all_of
from melascope.evaluation.card import gathered, model_card
from melascope.evaluation.decisions import with_decisions
from melascope.evaluation.skin_tones import with_skin_tone
from melascope.evaluation.sources import Remembering, worth_telling
from melascope.progress import Progress
from melascope.statistics import first_choice
from melascope.training import continued
from melascope.training.continued import LEARNT_FROM
from melascope.training.decision import calibrate, undecided
from melascope.training.known_parts import perceptual
from melascope.training.members import members
from melascope.training.recipe import Recipe
from melascope.training.run_folder import RunFolder
from melascope.training.settings import shortened

_PARITY_IMAGES = 64


def labels_and_rows(
    table: pd.DataFrame, classes: tuple[str, ...], cross_fitted: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return labels `(n,)` as indices into `classes`, and the rows of each part.

    Where tune and calibrate share a part, both have its rows.
    """
    labels = table["diagnosis"].map({code: i for i, code in enumerate(classes)}).to_numpy(dtype=np.int64)
    rows = {part: np.flatnonzero(table["part"] == part) for part in (*LEARNT_FROM, "test")}
    if cross_fitted:
        rows["tune"] = rows["calibrate"]
    return labels, rows


def export(
    folder: RunFolder, recipe: Recipe, table: pd.DataFrame, packed: Pack, progress: Progress, threads: int
) -> dict[str, Any]:
    """Write `model.melascope`: the exported network with calibration and thresholds from `calibrate`."""
    from melascope.training.export import export_onnx

    audit = folder.read_json("audit.json")
    classes = tuple(audit["classes"])
    labels, rows = labels_and_rows(table, classes, audit["cross_fitted"])
    progress("exporting", 0, 3)
    sample = np.linspace(0, len(table) - 1, min(_PARITY_IMAGES, len(table))).astype(int)
    exported = export_onnx(
        recipe, classes, folder.need("weights.npz"), folder.file("model.onnx"), packed.images[sample], threads
    )
    progress("exporting", 1, 3)
    nothing = undecided(recipe, classes, audit)
    provisional = write_bundle(folder.file(".calibrating.melascope"), exported.onnx, nothing)
    predictor = Predictor(provisional, threads)
    decision = decide(folder, recipe, table, predictor)
    progress("exporting", 2, 3)
    train, held_out = (table.iloc[rows[part]] for part in ("train", "calibrate"))
    arrays = members(predictor, train, labels[rows["train"]], held_out, folder.settings["seed"], progress)
    bundle = write_bundle(
        folder.file("model.melascope"),
        exported.onnx,
        decision,
        trained_on=continued.learnt(folder, table),
        arrays=arrays,
    )
    folder.file(".calibrating.melascope").unlink()
    folder.file("model.onnx").unlink()
    progress("exporting", 3, 3)
    return {"parity": exported.difference, "parity_images": exported.images, "sha256": bundle.identity}


def decide(folder: RunFolder, recipe: Recipe, table: pd.DataFrame, predictor: Predictor) -> dict[str, Any]:
    """Return the decision of a network: calibration, first choice and thresholds, from what it says of `calibrate`."""
    audit = folder.read_json("audit.json")
    classes = tuple(audit["classes"])
    labels, rows = labels_and_rows(table, classes, audit["cross_fitted"])
    held_out = rows["calibrate"]
    predictions = predict_table(predictor, table.iloc[held_out])
    return calibrate(recipe, classes, audit, predictions, labels[held_out], table.iloc[rows["train"]])


def evaluate(
    folder: RunFolder,
    recipe: Recipe,
    table: pd.DataFrame,
    packed: Pack,
    progress: Progress,
    threads: int,
    shuffled: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Predict every photograph with the bundle, score each part, and put the evaluation into the bundle.

    `shuffled` is what an earlier judgement found of the network that was trained on shuffled labels; without it, it is
    trained here.
    """
    audit = folder.read_json("audit.json")
    bundle = load_bundle(folder.need("model.melascope"))
    labels, rows = labels_and_rows(table, bundle.classes, audit["cross_fitted"])
    predictor = Predictor(bundle, threads)
    looking = Remembering(predictor, worth_telling(table, folder.settings["seed"]))
    predictions = with_skin_tone(predict_table(looking, table, progress), progress, threads=threads)
    predictions = with_decisions(predictor, predictions, progress)
    if bundle.trained_on is not None:
        predictions = mark_trained_on(predictions, bundle.trained_on, perceptual(table), SAME_PHOTOGRAPH)
        # What was learnt from turned by a few degrees looks like another file; the table knows its source.
        learnt = table.loc[table["part"].isin(LEARNT_FROM), "photograph"]
        predictions["trained_on"] |= table["photograph"].isin(learnt).to_numpy(dtype=bool)
    tested = predictions.iloc[rows["test"]]
    told = tested[[f"p_{code}" for code in bundle.classes]].to_numpy(dtype=float)
    prior = (bundle.decision.get("first_choice") or {}).get("prior")
    said = [bundle.classes[int(first_choice(p, prior))] if np.isfinite(p).all() else None for p in told]
    risk = diagnosis.group_risk(told, bundle.classes, "melanoma")
    metrics = score(
        predictions,
        bundle.decision,
        model={"name": bundle.decision["name"], "version": bundle.decision["version"], "sha256": bundle.identity},
        protocol=audit["protocol"],
        audited=audit["audited"],
        flow=audit["flow"],
        leaks=audit["leak"] or None,
        baselines=_baselines(
            folder, recipe, table, packed, labels, rows, bundle.classes, said, risk, shuffled, progress, threads
        ),
        cross_fitted=audit["cross_fitted"],
        seed=folder.settings["seed"],
        progress=progress,
        embeddings=looking.embeddings,
    )
    metrics["limited"] = audit["limited"]
    before = continued.record(folder)
    if before is not None:
        metrics["continued_from"] = {**before, "words": continued.words(before)}
    predictions.to_parquet(folder.file(".predictions.parquet"), index=False)
    folder.file(".predictions.parquet").replace(folder.file("predictions.parquet"))
    folder.write_json("metrics.json", metrics)
    environment = folder.read_json("environment.json")
    facts = gathered(table, predictions, metrics, folder.state, folder.file("history.csv"))
    write_bundle(
        bundle.path,
        bundle.onnx,
        bundle.decision,
        evaluation=metrics,
        card=model_card(metrics, bundle.decision, recipe.dumps(), environment, **facts),
        trained_on=bundle.trained_on,
        licences=bundle.licences,
        arrays=bundle.arrays,
    )
    test = metrics["parts"][metrics["headline"]]
    return {"balanced_accuracy": test["balanced_accuracy"]["value"]}


def _baselines(
    folder: RunFolder,
    recipe: Recipe,
    table: pd.DataFrame,
    packed: Pack,
    labels: np.ndarray,
    rows: Mapping[str, np.ndarray],
    classes: tuple[str, ...],
    said: list[str | None],
    risk: np.ndarray,
    shuffled: Mapping[str, Any] | None,
    progress: Progress,
    threads: int,
) -> dict[str, Any]:
    """Return what the model is measured against: the largest class, colours alone, shuffled labels.

    `said` are its first choices, `risk` its risks of melanoma, on the test part; `shuffled` as in `evaluate`.
    """
    seed = folder.settings["seed"]
    out, logits = folder.file("baselines/shuffled_labels"), None
    if shuffled is None:
        logits = train_on_shuffled(out, recipe, table, packed.images, rows, classes, seed, progress, threads)
    found = all_of(table, labels, rows, classes, packed.images, logits, said, risk, seed=seed, progress=progress)
    return found if shuffled is None else {**found, "shuffled_labels": dict(shuffled)}


def train_on_shuffled(
    out: Path,
    recipe: Recipe,
    table: pd.DataFrame,
    images: np.ndarray,
    rows: Mapping[str, np.ndarray],
    classes: tuple[str, ...],
    seed: int,
    progress: Progress,
    threads: int,
) -> np.ndarray:
    """Train the same network on shuffled labels for a quarter of the epochs; return its test logits `(n, c)`.

    It must score at chance: if it does not, something other than the lesion tells the label.
    """
    from melascope.training import backend, networks
    from melascope.training.fit import fit, predict_logits

    # Shortened as --epochs does, so that a network that is fine-tuned is fine-tuned here too.
    quick = shortened(recipe, max(1, recipe.schedule.epochs // 4))
    plain: dict[str, object] = {"keep": "last", "early_stopping_patience": 0, "monitor": "tune_loss"}
    if recipe.network.weights is None:
        # It began with what another run had learnt from the right labels; here it begins anew, so all of it learns.
        plain |= {"frozen_epochs": 0, "frozen_share": 0.0, "finetune_learning_rate": None, "finetune_norms": False}
    quick = quick.replace(schedule=plain)
    mixed = shuffle_labels(table, seed).map({code: i for i, code in enumerate(classes)}).to_numpy(dtype=np.int64)
    fit(
        quick,
        images,
        mixed,
        rows["train"],
        np.zeros(0, dtype=np.int64),
        classes,
        out,
        seed=seed,
        resume=True,
        threads=threads,
        progress=lambda _, done, total: progress("training on shuffled labels", done, total),
    )
    backend.load(threads)
    model = networks.build(quick, len(classes))
    networks.load_weights(model, out / "weights.npz")
    return predict_logits(model, images, rows["test"])
