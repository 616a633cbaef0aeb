"""A PostgreSQL server of its own for a test, started from the installed package and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "beneath the skin"


def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`, or None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the address of an empty database; the server listens on this machine only."""
    folder = programs()
    assert folder is not None
    home = Path(tempfile.mkdtemp(prefix="melascope-postgresql-"))
    # The server refuses to run as root; Debian's package brings a user for it.
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = home / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = home / "data"
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"

    def call(*words: str) -> None:
        subprocess.run([*user, *words], check=True, capture_output=True, cwd="/", timeout=60)

    try:
        call(
            str(folder / "initdb"), "-D", str(data), "-U", "tuner", "-A", "scram-sha-256", f"--pwfile={secret}",
            "-E", "UTF8", "--locale=C", "-N",
        )  # fmt: skip
        # Its output goes to a file: a pipe would stay open as long as the server lives.
        call(str(folder / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield f"postgresql://tuner:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
        finally:
            call(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
