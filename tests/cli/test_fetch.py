"""`melascope data fetch`: what it says, its exit codes, and that it asks before it begins."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from tests.archive_server import Server, status

from melascope.cli.main import _run
from melascope.datasets.archive_http import Patience


@pytest.fixture
def archive(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MELASCOPE_DEBUG", raising=False)
    monkeypatch.setattr(Patience, "__init__", lambda self: self.__dict__.update(_QUICK))
    monkeypatch.chdir(tmp_path)
    with Server() as server:
        monkeypatch.setenv("MELASCOPE_ARCHIVE", server.api)
        yield server


_QUICK = {
    "attempts": 2, "pause": 0.01, "longest_wait": 5.0, "connect": 2.0, "silence": 2.0, "grace": 5.0, "slowest": 1.0,
}  # fmt: skip


def test_fetched_and_audited(archive, capsys):
    assert _run(["data", "fetch", "ham10000", "--out", "set", "--yes"]) == 0
    said = capsys.readouterr()
    assert "6 of 6 photographs are in set." in said.out
    assert "Table: set/metadata.csv" in said.out
    assert "fetching photographs" in said.err
    assert _run(["data", "audit", "set/metadata.csv", "--images", "set/images", "--out", "audit"]) == 0
    assert Path("audit/clean.csv").read_text().count("ISIC_") >= 5


def test_failures_are_listed_and_the_exit_code_tells(archive, capsys):
    archive.fail("/files/ISIC_0000003", status(500), times=9)
    assert _run(["data", "fetch", "ham10000", "--out", "set"]) == 1
    said = capsys.readouterr()
    assert re.search(r"ISIC_0000003: .* failed 2 times: status 500", said.err)
    assert "5 of 6 photographs are in set. 1 could not be fetched: see set/failed.csv" in " ".join(said.out.split())
    archive.faults.clear()
    assert _run(["data", "fetch", "ham10000", "--out", "set"]) == 0
    assert "5 were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "set"], "Say what to fetch"),
        (["ham10000"], "Missing option '--out'"),
        (["ham10000", "--out", "file"], "--out file is a file"),
        (["ham10000", "--out", "set", "--limit", "0"], "--limit"),
        (["ham10000", "--out", "set", "--connections", "99"], "--connections"),
        (["ham10000", "--out", "set", "--size", "huge"], "--size"),
        (["hammm", "--out", "set"], 'no collection "hammm"'),
        (["--ids", "nothing.csv", "--out", "set"], "nothing.csv does not exist"),
        (["--ids", "nothing.txt", "--out", "set"], "nothing.txt cannot be read"),
        (["ham10000", "--out", "set", "--server", "ftp://x"], "not an http or https address"),
    ],
)
def test_bad_usage(words, said, archive, capsys):
    Path("file").write_text("mine")
    assert _run(["data", "fetch", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("set/images").exists()


def test_it_asks_at_a_terminal_and_only_once(archive, monkeypatch, capsys):
    asked = []

    def confirm(text, **options):
        asked.append(text)
        if len(asked) == 1:
            raise click.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", confirm)
    assert _run(["data", "fetch", "ham10000", "--out", "set"]) == 130
    assert archive.count("/files/") == 0
    assert asked == ["Fetch 6 photographs, 0.00 GB, into set?"]


def test_ctrl_c_and_going_on(archive, monkeypatch, capsys):
    from melascope.datasets.archive_folder import Folder

    add = Folder.add_file

    def interrupt(self, *words):
        add(self, *words)
        if len(self.done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(Folder, "add_file", interrupt)
        assert _run(["data", "fetch", "ham10000", "--out", "set", "--connections", "1"]) == 130
    assert "Stopped." in capsys.readouterr().err
    assert _run(["data", "fetch", "ham10000", "--out", "set"]) == 0
    # What was under way when it was stopped may have been kept as well.
    told = re.search(r"6 of 6 photographs are in set \((\d) were there already\)", capsys.readouterr().out)
    assert told
    assert 2 <= int(told[1]) <= 6
