"""Two commands do not share a folder: the second is refused at once, and whatever ends the first frees it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import melascope
from melascope.errors import RunError
from melascope.training.locks import alone_in_out, at_work

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

CALLS: dict[str, Callable[..., Any]] = {
    "run": lambda out, **more: melascope.run("photographs", out, recipe="small-cnn", **more),
    "train": lambda out, **more: melascope.train("photographs", out, recipe="small-cnn", **more),
    "cross-validate": lambda out, **more: melascope.cross_validate("photographs", out, folds=2, **more),
    "learning-curve": lambda out, **more: melascope.learning_curve("photographs", out, folds=2, **more),
}


class EnoughError(Exception):
    pass


@pytest.fixture(autouse=True)
def _photographs(tmp_path, monkeypatch):
    from melascope.images.synthetic_set import write_dataset

    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "photographs", photographs=60, seed=3, size=24)


OTHER = """
import time
from melascope.training.locks import at_work
with at_work("OUT"):
    open("OUT/begun", "w").close()
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.mark.train
@pytest.mark.parametrize("command", CALLS)
def test_a_second_command_in_the_folder_is_refused_at_once_and_leaves_it_alone(command):
    call, seen = CALLS[command], []

    def second(*_: object) -> None:
        before = {path: path.stat().st_mtime_ns for path in Path("OUT").rglob("*")}
        for other in CALLS.values():
            with pytest.raises(RunError, match=r"^Another melascope is at work in OUT\. Wait .* --out\.$"):
                other("OUT")
        seen.append({path: path.stat().st_mtime_ns for path in Path("OUT").rglob("*")} == before)
        raise EnoughError

    with pytest.raises(EnoughError):
        call("OUT", progress=second)
    assert seen == [True]
    assert not Path("OUT").exists()  # it ended without a training, and left no trace
    with pytest.raises(EnoughError):  # the folder is free again
        call("OUT", progress=second)
    assert seen == [True, True]


@pytest.mark.train
def test_a_run_is_not_exported_while_it_goes_on(tmp_path):
    from melascope.training.run_folder import RunFolder

    run = RunFolder.start(tmp_path / "RUN", {}, resume=False)
    run.finish("fit", 1.0)
    with at_work("RUN"), pytest.raises(RunError, match=r"at work in .*RUN\. Wait for it to end\.$"):
        melascope.export("RUN")


def test_what_was_killed_holds_no_folder():
    with subprocess.Popen([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        with pytest.raises(RunError, match="Another melascope is at work in OUT"), at_work("OUT"):
            pass
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with at_work("OUT"):
        assert [path.name for path in Path("OUT").iterdir()] == ["begun"]  # no lock was left, and none is made


def test_a_folder_goes_again_where_nothing_was_written():
    with at_work("new/OUT"):
        assert Path("new/OUT").is_dir()
        assert not any(Path("new/OUT").iterdir())
    assert not Path("new").exists()
    with at_work("new/OUT"):
        Path("new/OUT/mine").touch()
    assert Path("new/OUT/mine").exists()
    Path("there").mkdir()
    with at_work("there"):
        pass
    assert Path("there").is_dir()
    with at_work("new/OUT/mine"):  # a file is refused by those who know what they need
        pass


def test_a_folder_that_was_taken_away_before_the_lock_is_made_again(monkeypatch):
    import fcntl

    lock, taken = fcntl.flock, []

    def slow(handle: int, how: int) -> None:
        if not taken:
            taken.append("OUT")
            Path("OUT").rmdir()  # by the command that was refused there
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with at_work("OUT"):
        assert taken
        assert Path("OUT").is_dir()
        with pytest.raises(RunError, match="at work in OUT"), at_work("OUT"):
            pass


def test_a_disk_without_locks_refuses_nobody(monkeypatch):
    import fcntl

    def none(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", none)
    with at_work("OUT"), at_work("OUT"):
        pass


def test_the_folder_is_found_wherever_it_stands_among_the_arguments():
    @alone_in_out
    def double(number: int, out: str = "OUT") -> int:
        """Double it."""
        with pytest.raises(RunError), at_work(out):
            pass
        return 2 * number

    assert double.__doc__ == "Double it."
    assert double(2, "OUT") == double(out="OUT", number=2) == 4
