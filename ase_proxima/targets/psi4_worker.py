"""Psi4 behind a pipe: one JSON object a line in, one out.

This file is run as a script, in isolated mode (`python -I`), by whatever Python has Psi4; it must import
nothing but the standard library and Psi4, and must run on Python 3.7.  Everything is in atomic units here:
the client converts.

Arguments: the scratch folder, then folders to search for the `psi4` package.
Requests:  {"id": 1, "op": "start", "memory": bytes, "threads": 1}
           {"id": 2, "op": "validate" | "energy" | "gradient",
            "method": "HF", "basis": "6-31G*", "options": {},
            "molecule": {"numbers": [...], "positions": [x0, y0, z0, ...], "charge": 0, "multiplicity": 1}}
Answers:   {"id": 2, "ok": true, "repulsion": 13.4, "energy": -40.2, "gradient": [...]}
           {"id": 2, "ok": false, "kind": "import|method|basis|options|scf|failed", "message": "..."}
"""

from __future__ import annotations

import difflib
import json
import os
import queue
import re
import select
import shutil
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 1.0
MAX_MESSAGE = 300
MAX_TRIES = 100


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is answered by `ok: false`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def one_line(error: BaseException) -> str:
    """Psi4's message without its line breaks and its list of source lines."""
    text = str(error).replace("\\n", "\n")
    fatal = re.search(r"Fatal Error: *(.*)", text)
    text = fatal.group(1) if fatal else text
    return " ".join(text.split())[:MAX_MESSAGE] or type(error).__name__


def leave(scratch: str) -> None:
    """End at once, even from inside a calculation, and leave no scratch files behind."""
    for _ in range(MAX_TRIES):
        # A calculation in the other thread may write a file while its folder is being emptied.
        shutil.rmtree(scratch, ignore_errors=True)
        if not os.path.exists(scratch):
            break
    os._exit(0)


def read_requests(requests: queue.Queue[Any], scratch: str, parent: int) -> None:
    """Pass on the lines of standard input; end the process when the client is gone.

    The parent is watched too, since a process that the client forked may hold the pipe open.
    """
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], POLL_S)
        if os.getppid() != parent:
            leave(scratch)
        if not ready:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            leave(scratch)
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            requests.put(json.loads(line.decode()))


def start(request: dict[str, Any], scratch: str) -> dict[str, Any]:
    """Import Psi4 and say which version it is."""
    try:
        import psi4
    except Exception as error:
        raise Refused("import", f"{type(error).__name__}: {one_line(error)}") from error
    psi4.core.set_output_file(os.devnull, False)
    psi4.core.IOManager.shared_object().set_default_path(scratch)
    psi4.core.set_memory_bytes(int(request["memory"]), True)
    psi4.core.set_num_threads(int(request["threads"]), quiet=True)
    return {"version": psi4.__version__, "python": sys.executable}


def prepare(request: dict[str, Any]) -> Any:
    """Forget all earlier calls; set this one's options; return its molecule, kept in the frame it came in."""
    import psi4

    psi4.core.clean()
    psi4.core.clean_options()
    psi4.core.clean_variables()
    given = request["molecule"]
    molecule = psi4.core.Molecule.from_arrays(
        geom=given["positions"],
        elez=given["numbers"],
        units="Bohr",
        fix_com=True,
        fix_orientation=True,
        fix_symmetry="c1",
        molecular_charge=given["charge"],
        molecular_multiplicity=given["multiplicity"],
    )
    molecule.update_geometry()
    options = dict(request["options"], basis=request["basis"])
    try:
        psi4.set_options(options)
    except Exception as error:
        raise Refused("options", one_line(error)) from error
    return molecule


def validate(request: dict[str, Any]) -> dict[str, Any]:
    """Check method, basis and options without a calculation."""
    import psi4

    method = request["method"].lower()
    known = psi4.driver.procedures["energy"]
    if method not in known:
        near = difflib.get_close_matches(method, known, n=4)
        raise Refused("method", "close to it: " + ", ".join(near) if near else "nothing close to it is known")
    molecule = prepare(request)
    try:
        psi4.core.BasisSet.build(molecule, "BASIS", request["basis"], quiet=True)
    except Exception as error:
        raise Refused("basis", suggest_basis(request["basis"], error)) from error
    return {
        "repulsion": molecule.nuclear_repulsion_energy(),
        "has_gradient": method in psi4.driver.procedures["gradient"],
    }


def suggest_basis(basis: str, error: BaseException) -> str:
    """Tell a basis that Psi4 lacks from one that lacks an element."""
    import psi4

    folder = os.path.join(psi4.core.get_datadir(), "basis")
    known = sorted(name[:-4] for name in os.listdir(folder) if name.endswith(".gbs"))
    asked = basis.lower().replace("*", "s").replace("+", "p")
    for old in "(),":
        asked = asked.replace(old, "_")
    if asked in known:
        return "it lacks an element: " + one_line(error)
    near = difflib.get_close_matches(asked, known, n=4)
    return "close to it: " + ", ".join(near) if near else "nothing close to it is known"


def compute(request: dict[str, Any]) -> dict[str, Any]:
    """One energy, or one energy and gradient."""
    import psi4

    molecule = prepare(request)
    answer = {"repulsion": molecule.nuclear_repulsion_energy()}
    try:
        if request["op"] == "gradient":
            gradient = psi4.gradient(request["method"], molecule=molecule)
            answer["gradient"] = gradient.np.ravel().tolist()
        else:
            psi4.energy(request["method"], molecule=molecule)
    except (Exception, SystemExit) as error:
        kind = "scf" if "ConvergenceError" in type(error).__name__ else "failed"
        raise Refused(kind, one_line(error)) from error
    answer["energy"] = psi4.variable("CURRENT ENERGY")
    return answer


def answer_to(request: dict[str, Any], scratch: str) -> dict[str, Any]:
    """Answer to one request, whatever goes wrong."""
    try:
        if request["op"] == "start":
            answer = start(request, scratch)
        elif request["op"] == "validate":
            answer = validate(request)
        else:
            answer = compute(request)
        answer["ok"] = True
    except Refused as refusal:
        answer = {"ok": False, "kind": refusal.kind, "message": str(refusal)}
    except Exception as error:
        answer = {"ok": False, "kind": "failed", "message": f"{type(error).__name__}: {one_line(error)}"}
    answer["id"] = request["id"]
    return answer


def main(answer_to: Callable[[dict[str, Any], str], dict[str, Any]] = answer_to) -> None:
    """Serve until standard input ends."""
    parent = os.getppid()
    scratch = sys.argv[1]
    sys.path.extend(sys.argv[2:])
    # The client decides when a calculation is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Psi4's C++ code, and whatever else, prints to file descriptor 1 as it likes: keep the pipe out of its reach.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.Queue[Any] = queue.Queue()
    reader = threading.Thread(target=read_requests, args=(requests, scratch, parent), daemon=True)
    reader.start()
    while True:
        answer = answer_to(requests.get(), scratch)
        try:
            pipe.write(json.dumps(answer) + "\n")
            pipe.flush()
        except OSError:
            leave(scratch)


if __name__ == "__main__":
    main()
