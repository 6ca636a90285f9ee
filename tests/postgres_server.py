"""A PostgreSQL server of the tests' own, started where one is installed and gone with the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

USER, PASSWORD = "lab", "a secret that no error may tell"
# Nothing that the tests keep need outlive the machine; what the app asks for stays as it asks.
SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=60")


class NotInstalledError(Exception):
    """There is no server to start; the sentence says what to install."""


class PostgresServer:
    """One server on a port of its own, whose one user has a password."""

    def __init__(self) -> None:
        """Raises NotInstalledError."""
        self._programs = _programs()
        self._as_user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="digitcnn-postgres-"))
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._data = self._folder / "data"
        initdb = [self._programs / "initdb", "-D", self._data, "-U", USER, "--no-sync"]
        initdb += ["-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C"]
        made = subprocess.run(initdb, capture_output=True, text=True, cwd="/", **self._as_user)
        assert made.returncode == 0, made.stderr
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        command: list[Any] = [self._programs / "postgres", "-D", self._data]
        for option in (*options, *SETTINGS):
            command += ["-c", option]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", **self._as_user
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.address, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """As a crash: no connection is told."""
        if self._process is not None:
            subprocess.run(
                [self._programs / "pg_ctl", "-D", self._data, "-m", "immediate", "stop"],
                capture_output=True,
                cwd="/",
                **self._as_user,
            )
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def fresh(self) -> str:
        """The database without anything in it, by its address as a person writes it."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.address

    @property
    def address(self) -> str:
        return f"postgresql://{USER}:{quote(PASSWORD)}@127.0.0.1:{self.port}/postgres"


def _programs() -> Path:
    """The folder of the server's programs; Debian keeps them off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise NotInstalledError(
        "no PostgreSQL server is installed; with `apt-get install postgresql` these tests run"
    )


def _unprivileged() -> dict[str, Any]:
    """Whom the server runs as: whoever runs the tests, but root may not."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd  # Unix only, as the rest of this; the module is imported everywhere

    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise NotInstalledError("root may not run PostgreSQL, and there is no user 'nobody'")
