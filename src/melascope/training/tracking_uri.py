"""The URI of an MLflow server or database: refused at once where it cannot be used, never told with its password."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import socket
import sqlite3
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from melascope.errors import MelascopeError, MissingExtraError

_GIVE = "Give the address of a server, such as http://localhost:5000, or a database, such as sqlite:///mlflow.db."
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check(uri: str) -> None:
    """Refuse at once what MLflow would refuse late or in many words.

    Raises:
        MelascopeError: When the URI cannot be one, or its database is not there.
        MissingExtraError: When MLflow, or what it needs for databases, is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", "Logging to MLflow")
    if not uri.strip():
        raise MelascopeError(f"The URI of MLflow is empty. {_GIVE}")
    scheme = urlsplit(uri).scheme
    if scheme.startswith("databricks") or uri in ("databricks", "databricks-uc", "uc"):
        raise MelascopeError(f"Melascope does not log to Databricks ({masked(uri)}). {_GIVE}")
    on_disk = scheme in ("", "file") or len(scheme) == 1  # C:\mlruns
    if on_disk and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        raise MelascopeError(f"MLflow no longer logs into a folder such as {uri}. {_GIVE}")
    if scheme in ("http", "https"):
        _check_server(uri)
    elif scheme.startswith(_DATABASES):
        if not all(importlib.util.find_spec(name) for name in ("sqlalchemy", "alembic")):
            raise MissingExtraError("mlflow", "Logging to a database")
        _check_sqlite(uri)
        _check_host(uri)
    elif not on_disk and scheme not in {one.name for one in metadata.entry_points(group="mlflow.tracking_store")}:
        raise MelascopeError(f"{masked(uri)} is no address that MLflow logs to. {_GIVE}")


def _check_server(uri: str) -> None:
    """Refuse an address without a host, or with a port that cannot be."""
    split = urlsplit(uri)
    try:
        possible = bool(split.hostname) and split.port != 0
    except ValueError:
        possible = False
    if not possible:
        raise MelascopeError(f"{masked(uri)} is no address of a server. {_GIVE}")


def _sqlite_file(uri: str) -> Path | None:
    if not urlsplit(uri).scheme.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        database = make_url(uri).database
    except ArgumentError:
        database = None
    if not database or database == ":memory:":
        raise MelascopeError(f"{uri} names no file. A database is given as sqlite:///mlflow.db.")
    return Path(database).absolute()


def _check_sqlite(uri: str) -> None:
    """Refuse at once a file that is no database; MLflow would try it for three minutes."""
    path = _sqlite_file(uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("pragma schema_version")
    except (OSError, sqlite3.Error) as error:
        raise MelascopeError(f"{path} cannot be used as MLflow's database: {reason(error)}.") from None


def _check_host(uri: str) -> None:
    """Refuse at once a database server that is not there; MLflow would try it for three minutes."""
    split = urlsplit(uri)
    try:
        given = split.port
    except ValueError:
        raise MelascopeError(f"{masked(uri)} has a port that is no number.") from None
    port = given or {"postgresql": 5432, "mysql": 3306, "mssql": 1433}.get(split.scheme.partition("+")[0])
    if not split.hostname or port is None:
        return
    try:
        socket.create_connection((split.hostname, port), timeout=5).close()
    except OSError as error:
        raise MelascopeError(
            f"MLflow's database does not answer at {masked(uri)} ({reason(error)}). Start it, or correct the URI."
        ) from None


def place(uri: str) -> str:
    """Return how the URI is named to people and in the run folder: from any folder, and without a password."""
    path = _sqlite_file(uri)
    return masked(uri) if path is None else f"sqlite:///{path}"


def look(uri: str, experiment: str, run: str) -> str:
    """Return where a run can be looked at: its page on a server, or the command that shows a database.

    Args:
        uri: Of the server or the database.
        experiment: The experiment's id there.
        run: The run's id there.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        return f"{masked(uri).rstrip('/')}/#/experiments/{experiment}/runs/{run}"
    return f"mlflow ui --backend-store-uri {shlex.quote(place(uri))}"


def artifacts(uri: str) -> str | None:
    """Return where files go: beside an SQLite database, not into the folder that a command happens to start in."""
    path = _sqlite_file(uri)
    return None if path is None else (path.parent / "mlartifacts").as_uri()


def reason(error: BaseException) -> str:
    """Return the first line of an error, short, and without passwords; of a failed connection only why it failed."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = masked(lines[0].strip())
    return (line if len(line) <= 200 else line[:199] + "\N{HORIZONTAL ELLIPSIS}").rstrip(".")


def masked(text: str) -> str:
    """Return a text without the names and passwords in its URIs."""
    return re.sub(r"//[^/@\s]*@", "//", text)
