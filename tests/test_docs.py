"""The docs name everything public, and the page of commands is what the commands say of themselves."""

from __future__ import annotations

import ast
import copy
import importlib
import os
import re
from pathlib import Path

import click
import pytest

from melascope.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[1]
ROOMS = ("statistics", "images", "datasets", "bundle", "reports", "audit", "evaluation", "training")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_stands_on_its_page(room):
    page = (ROOT / "docs" / f"{room}.md").read_text(encoding="utf-8")
    names = importlib.import_module(f"melascope.{room}").__all__
    assert names
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", page)]
    assert not missing, f"docs/{room}.md does not name {missing}"


def test_every_python_call_stands_on_the_index():
    import melascope

    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert not [name for name in melascope.__all__ if f"melascope.{name}" not in page]
    for name in melascope.__all__:
        assert callable(getattr(melascope, name))


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda p: p.stem)
def test_python_blocks_are_python(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        ast.parse(block)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")) + sorted(ROOT.glob("*.md")), ids=lambda p: p.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _help(command: click.Command, path: str, parent: click.Context | None = None) -> list[str]:
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "terminal_width": 100}
    # click keeps a command's --help as it first was: a test that ran it by itself would change this page.
    command = copy.copy(command)
    command._help_option = None
    context = click.Context(command, info_name=path.split()[-1], parent=parent, **settings)
    section = [f"## {path}", "", "```", command.get_help(context).rstrip(), "```", ""]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            section += _help(inner, f"{path} {name}", context)
    return section


def test_the_page_of_commands_is_what_the_commands_say():
    page = ROOT / "docs" / "cli.md"
    head = (
        "# Commands\n\nResults go to stdout or `--out`, progress and messages to stderr. Exit code 0: done. "
        "1: done, but some files could\nnot be read. 2: bad usage or bad input. "
        "130: stopped by ctrl-C; long work goes on by `--resume`.\n\n"
        "This page is made by `MELASCOPE_UPDATE_DOCS=1 .venv/bin/python -m pytest tests/test_docs.py`.\n\n"
    )
    said = head + "\n".join(_help(cli, "melascope"))
    if os.environ.get("MELASCOPE_UPDATE_DOCS"):
        page.write_text(said, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for each in commands:
        assert "Example:" in (each.help or "")
