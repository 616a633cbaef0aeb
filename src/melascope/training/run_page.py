"""What a run tells: its report, the command that repeats it, and the few lines that are read first."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.audit.survey import picture
from melascope.bundle import Predictor, load_bundle, overlay
from melascope.counted import plural
from melascope.evaluation.findings import headline, remarks
from melascope.evaluation.fitting import of_history
from melascope.reports.training_report import TrainingReport, training_report
from melascope.training import continued, settings
from melascope.training import recipe as recipes
from melascope.training.recipe import Recipe
from melascope.training.run_folder import OWN_EPOCHS, RunFolder, write_text

_OVERLAYS = 6


def report(folder: RunFolder, recipe: Recipe) -> None:
    """Write `report.html`."""
    from melascope.datasets import table as tables
    from melascope.reports import RunReport, run_report

    audit, metrics = folder.read_json("audit.json"), folder.read_json("metrics.json")
    frame = tables.load(folder.need("table.parquet"))
    history = pd.read_csv(folder.need("history.csv"))
    predictions = pd.read_parquet(folder.need("predictions.parquet"))
    page = run_report(
        RunReport(
            title=f"{recipe.name} on {Path(folder.settings['data']).name}",
            metrics=metrics,
            history=history,
            audit=audit,
            problems=pd.read_csv(folder.need("problems.csv"), dtype="string"),
            flow=metrics["flow"],
            remarks=[*_tries(folder), *remarks(metrics, history, audit)],
            table=frame,
            predictions=predictions,
            picture=picture,
            augmentation=_augmentation(folder, recipe, frame),
            overlays=_overlays(folder, predictions),
            recipe=folder.settings["recipe"],
            environment=folder.read_json("environment.json"),
            settings={
                "command": command(folder),
                "seed": folder.settings["seed"],
                "steps": folder.state,
                "kept_epoch": folder.read_json("fit.json").get("kept_epoch"),
            },
            seed=folder.settings["seed"],
        )
    )
    write_text(folder.file("report.html"), page)


def training(folder: RunFolder, recipe: Recipe, history: pd.DataFrame, sizes: Mapping[str, int]) -> None:
    """Write `training.html`, the learning curves, while Test is closed.

    Args:
        folder: Of the run.
        recipe: Its recipe.
        history: As `history.csv` has it.
        sizes: Photographs in `train` and `tune`.
    """
    audit = folder.read_json("audit.json")
    classes = len(audit["classes"])
    page = training_report(
        TrainingReport(
            title=f"Training of {recipe.name} on {Path(folder.settings['data']).name}",
            history=history,
            sizes={name: n or None for name, n in sizes.items()},
            classes=classes,
            kept_epoch=folder.read_json("fit.json").get("kept_epoch"),
            remarks=[*_tries(folder), *of_history(history, classes)],
            audit=audit,
            recipe=folder.settings["recipe"],
            command=f"{command(folder, str(folder.path))} --resume",
            environment=folder.read_json("environment.json"),
        )
    )
    write_text(folder.file("training.html"), page)


def _tries(folder: RunFolder) -> list[tuple[str, str]]:
    """Return as remarks what makes a run a try: fewer photographs, or other epochs than the recipe's."""
    told = _other_epochs(folder)
    if folder.settings["limit"]:
        drawn = plural(folder.settings["limit"], "photograph was", "photographs were")
        told.append(f"Only {drawn} drawn (--limit): a try, not a result.")
    return [("warning", sentence) for sentence in told]


def _other_epochs(folder: RunFolder) -> list[str]:
    recipe = recipes.parse(tomllib.loads(folder.settings["recipe"]))
    return settings.of_epochs(folder.settings.get(OWN_EPOCHS), recipe)


def _augmentation(folder: RunFolder, recipe: Recipe, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    from melascope.images import prepare, read_file
    from melascope.training.augmentation import preview

    example = frame[(frame["part"] == "train")].iloc[0]["path"]
    return dict(preview(recipe, prepare(read_file(str(example)), recipe.geometry), seed=folder.settings["seed"]))


def _overlays(folder: RunFolder, predictions: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Return captioned heat maps of test photographs: melanomas first, the surest alerts among them."""
    predictor = Predictor(load_bundle(folder.need("model.melascope")), batch_size=_OVERLAYS)
    test = predictions[(predictions["part"] == "test") & predictions["error"].isna()]
    if not predictor.has_heatmap or "p_MEL" not in test or test.empty:
        return []
    melanomas = test[test["diagnosis"] == "MEL"].sort_values("p_MEL", ascending=False)
    others = test[test["diagnosis"] != "MEL"].sort_values("p_MEL", ascending=False)
    chosen = pd.concat([melanomas.head(_OVERLAYS // 2), others.head(_OVERLAYS - _OVERLAYS // 2)])
    result = []
    geometry = predictor.bundle.geometry
    for (_, row), finding in zip(
        chosen.iterrows(), predictor.predict(chosen["path"].tolist(), heatmaps=True), strict=True
    ):
        if finding.status == "ok" and finding.heatmap is not None:
            risk = f"{finding.melanoma_risk:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
            caption = f"{diagnosis.name(row['diagnosis'])}, melanoma risk {risk}"
            result.append((caption, overlay(picture(str(row["path"])), finding.heatmap, geometry)))
    return result


def command(folder: RunFolder, out: str = "RUN") -> str:
    """Return the command that repeats the run, into a folder."""
    s = folder.settings
    words = ["melascope", "run", s["data"]]
    for path in s["authority"]:
        words += ["--authority", path]
    if s["images"]:
        words += ["--images", s["images"]]
    for label, code in s["spellings"].items():
        words += ["--spelling", f"{label}={code}"]
    if s["limit"]:
        words += ["--limit", str(s["limit"])]
    for option, key in (("--audit", "audit"), ("--parts", "parts"), ("--from", "from")):
        if s.get(key):
            words += [option, s[key]]
    words += ["--unaudited"] if s.get("unaudited") else []
    words += ["--protocol", s["protocol"]]
    words += ["--recipe", "recipe.toml"] if out == "RUN" else []  # a run that goes on has its own
    words += ["--seed", str(s["seed"]), "--out", out]
    return shlex.join(words)


def summary(folder: RunFolder) -> str:
    """Return the few lines that a person wants to read first."""
    audit = folder.read_json("audit.json")
    used, found = folder.state["data"]["photographs"], plural(audit["found"], "photograph")
    lines = [f"{audit['verdict']}: {used:,} of {found} {'is' if used == 1 else 'are'} used."]
    if used == audit["found"] and audit["verdict"] == "usable with exclusions":
        lines = [f"usable: all of {found} are used."]
    if used > audit["found"]:  # the protocol as-published makes copies
        lines = [f"{audit['verdict']}: {found} found, {used:,} used with their copies."]
    if folder.done("evaluate"):
        lines += headline(folder.read_json("metrics.json"))
    elif folder.done("export"):
        lines.append("Exported and calibrated; the test part is still closed.")
    else:
        epochs = plural(folder.state["fit"]["epochs"], "epoch")
        lines.append(f"Trained for {epochs}; the test part is still closed.")
    lines += _other_epochs(folder)
    lines += [told] if (told := continued.words(continued.record(folder))) else []
    pages = {"Bundle": "model.melascope", "Report": "report.html"}
    if not folder.file("report.html").exists():
        pages = {"Learning curves": "training.html", **pages}
    for label, name in pages.items():
        if folder.file(name).exists():
            lines.append(f"{label}: {folder.file(name)}")
    return "\n".join(lines)
