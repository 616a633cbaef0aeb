"""`melascope doctor`: what is installed, which engine, which precision, what is missing."""

from __future__ import annotations

import json
import shutil
import tempfile

import click
from rich.table import Table

from melascope import environment
from melascope.cli import console
from melascope.errors import BundleError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Say what is installed, which engine and precision are used, and what is missing.

    \b
    Example:  melascope doctor
    """
    facts = environment.describe()
    facts["engines"] = environment.engines()
    facts["missing_for_training"] = environment.missing_for_training()
    facts["model"] = _model()
    facts["cache"] = str(environment.cache_folder())
    facts["disk_free_gb"] = round(shutil.disk_usage(tempfile.gettempdir()).free / 2**30, 1)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in (
        ("Python", facts["python"]),
        ("System", facts["system"]),
        ("Processor", f"{facts['processor']}, {facts['cores']} threads used, {facts['memory_gb']} GB memory"),
        (
            "bfloat16",
            {
                True: "in hardware (not faster on every processor that has it)",
                False: "not in hardware: slower than float32",
                None: "unknown",
            }[facts["bfloat16"]],
        ),
        ("Predicting", "OpenVINO in float32 on " + ", ".join(facts["engines"].get("openvino", ["(not installed)"]))),
        ("Model", facts["model"] or "none installed: melascope predict needs --bundle FILE"),
        ("Cache", facts["cache"]),
        ("Free disk", f"{facts['disk_free_gb']} GB"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in facts["packages"].items())),
    ):
        table.add_row(f"[bold]{label}[/]", str(value))
    console.results.print(table)
    if facts["missing_for_training"]:
        console.warn(
            f"Training is not installed (missing: {', '.join(facts['missing_for_training'])}): "
            'pip install "melascope[train]". Predicting works without it.'
        )
    else:
        console.results.print("[green]Ready to train and to predict.[/]")


def _model() -> str | None:
    """Return the name and the identity of the installed model."""
    from melascope.bundle import default_bundle, load_bundle

    try:
        bundle = load_bundle(default_bundle())
    except BundleError:
        return None
    return f"{bundle.decision['name']} {bundle.decision['version']}, identity {bundle.identity[:12]}"
