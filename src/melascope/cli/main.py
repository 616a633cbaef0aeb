"""The `melascope` command: finds the command asked for, and turns errors into one sentence.

Exit codes: 0 done, 1 done but some files could not be read, 2 bad usage or
bad input, 130 stopped by the user.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import click

from melascope.cli import console
from melascope.errors import MelascopeError, MelascopeWarning

COMMANDS = {
    "run": "run",
    "data": "data",
    "train": "run",
    "cross-validate": "cross_validate",
    "learning-curve": "learning_curve",
    "tune": "tune",
    "export": "export",
    "evaluate": "evaluate",
    "compare": "compare",
    "predict": "predict",
    "demo": "demo",
    "doctor": "doctor",
}
"""Command name to module of this package; the module's attribute of that name (with `_` for `-`) is the command."""


class _Commands(click.Group):
    """Imports a command's module only when it is called, so that `predict` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"melascope.cli.{module}"), cmd_name.replace("-", "_"))
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="melascope")
def cli() -> None:
    """From labelled skin-lesion photographs to a melanoma detector that can be trusted.

    \b
    Try it on generated lesions:   melascope demo
    Train on your own:             melascope run PHOTOGRAPHS --out RUN
    Use what was trained:          melascope predict photo.jpg --bundle RUN/model.melascope

    Research use only; not a medical device.
    """


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    with _noted():
        return _code(arguments)


@contextlib.contextmanager
def _noted() -> Iterator[None]:
    """Show what a user should know as a note, and all other warnings as Python does."""
    plain = warnings.showwarning

    def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, MelascopeWarning):
            console.warn(str(message))
        else:
            plain(message, category, *place, **more)

    warnings.showwarning = shown
    try:
        yield
    finally:
        warnings.showwarning = plain


def _code(arguments: list[str]) -> int:
    try:
        code = cli.main(args=arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        console.say(_stopped(arguments))
        return 130
    except MelascopeError as error:
        console.error(str(error))
        return 2
    except BrokenPipeError:
        # The reader went away (`melascope predict ... | head`): nothing to report, and nothing left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        console.error(_os_error(error))
        return 2
    except Exception as error:
        if os.environ.get("MELASCOPE_DEBUG"):
            raise
        console.error(
            f"Unexpected {type(error).__name__}: {error}. This is a fault in Melascope; "
            "set MELASCOPE_DEBUG=1 to see where, and please report it."
        )
        return 2


_SAME_AGAIN = ("cross-validate", "learning-curve", "tune", "demo", "data balance", "data fetch")
"""The commands that go on when they are repeated as they are."""


def _stopped(arguments: list[str]) -> str:
    """Return what is said after ctrl-C: that it stopped, and how to go on where that is possible."""
    command = " ".join(arguments[: 2 if arguments[:1] == ["data"] else 1])
    if command in ("run", "train") and "--resume" not in arguments:
        return "Stopped. Go on with the same command and --resume."
    if command in ("run", "train", *_SAME_AGAIN):
        return "Stopped. Repeat the same command to go on."
    return "Stopped."


def _os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    # numpy tells of a disk that filled up by "N requested and M written", without the system's number.
    if error.errno == errno.ENOSPC or (error.errno is None and "requested and" in str(error)):
        return f"The disk is full{where}. Free some space and repeat the command; a run goes on with --resume."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"A file stands where a folder is needed{where}. Name another place."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Permission denied{where}. Choose a folder that you may read and write."
    if error.errno == errno.ENOENT:
        return f"There is no such file or folder, and none can be made there{where}. Name another place."
    return f"{error.strerror or error}{where}."
