"""Where Psi4 is installed, and the environment that it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["INSTALL", "environment", "interpreters"]

INSTALL = "install it with `apt install psi4` (Debian, Ubuntu) or `conda install -c conda-forge psi4`"

_ASK_S = 30.0


def interpreters(python: str | Path | None) -> list[tuple[str, list[str]]]:
    """Interpreters that may have Psi4, each with further folders in which to look for the package.

    Parameters
    ----------
    python
        The only one to try; None for the one that the environment variable `PROXIMA_PSI4_PYTHON` names or,
        where it is not set, the one of the program `psi4`, `/usr/bin/python3` and this one.
    """
    chosen = python or os.environ.get("PROXIMA_PSI4_PYTHON")
    program = shutil.which("psi4")
    folders = _package_folders(program) if program else []
    if chosen:
        return [(str(chosen), folders)]
    owner = _shebang(Path(program)) if program else None
    found = {name: folders for name in (owner, "/usr/bin/python3") if name}
    # What the program's own interpreter can import may not fit the NumPy of this one.
    found.setdefault(sys.executable, [])
    return list(found.items())


def _package_folders(program: str) -> list[str]:
    """Folders that `psi4 --psiapi-path` puts on the path; Debian's is not one that Python searches."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program
            [program, "--psiapi-path"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            env=environment(1),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    match = re.search(r"PYTHONPATH=(\S*)", done.stdout)
    named = match.group(1).split(":") if match else []
    return [folder for folder in named if Path(folder, "psi4").is_dir()]


def _shebang(program: Path) -> str | None:
    """The interpreter in a script's first line, if there is one."""
    with program.open("rb") as file:
        words = file.readline(512).decode(errors="replace").split()
    if not words or not words[0].startswith("#!"):
        return None
    words[0] = words[0][2:]
    if words[0].endswith("/env") and len(words) > 1:
        return shutil.which(words[1])
    return words[0] or None


def environment(n_threads: int) -> dict[str, str]:
    """The client's environment, less what would lead another Python astray."""
    unwanted = ("PYTHON", "VIRTUAL_ENV", "OMP_", "MKL_", "OPENBLAS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    threads = str(n_threads)
    return {**kept, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
