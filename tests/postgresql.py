"""A PostgreSQL server of the system's package, on loopback, for as long as a test needs it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs():
    """Folder of the server's programs, or the reason why there is none."""
    found = shutil.which("postgres") or next(
        iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None
    )
    return None if found is None else Path(found).resolve().parent


def _user():
    """Who may run the server, which refuses root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def running_server():
    """Address of a server with an empty database."""
    pytest.importorskip("ase_db_backends", reason="ASE's back ends for servers are not installed")
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="proxima-pg-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    how = {"cwd": folder, "user": user and user.pw_uid, "group": user and user.pw_gid}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, log = folder / "data", folder / "log"
    initdb = [bin_folder / "initdb", "-A", "trust", "-U", "proxima", "-E", "UTF8", "--no-sync", "-D", data]
    subprocess.run(initdb, check=True, capture_output=True, **how)
    command = [bin_folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
    with log.open("w") as file:
        server = subprocess.Popen([*command, "-c", "fsync=off"], stdout=file, stderr=file, **how)
    try:
        for _ in range(300):
            assert server.poll() is None, log.read_text()
            if "ready to accept connections" in log.read_text():
                break
            time.sleep(0.1)
        yield f"postgresql://proxima@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder)
