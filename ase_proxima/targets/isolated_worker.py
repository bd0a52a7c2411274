"""A target by name behind a pipe: one JSON object a line in, one out.

Requests:  {"id": 1, "op": "start", "spec": "xtb:GFN2", "options": {}, "atoms": null, "folder": "...", "path": [...]}
           {"id": 2, "op": "ask", "atoms": "...", "properties": ["energy", "forces"]}
Answers:   {"id": 1, "ok": true, "name": "xtb", "properties": ["energy", "forces"], "parameters": {}, ...}
           {"id": 2, "ok": true, "results": "..."}
           {"id": 2, "ok": false, "kind": "input|property|failed", "message": "..."}
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.io.jsonio import decode, encode

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import ask, offered
from ase_proxima.targets.parse import parse_target
from ase_proxima.targets.psi4_worker import main
from ase_proxima.types.identity import calculator_identity

__all__ = ["serve"]

STATE_OPTIONS = ("charge", "multiplicity", "mult")
"""Parameters of the calculator that the client needs to know of."""


def serve(request: dict[str, Any], made: list[BaseCalculator]) -> dict[str, Any]:
    """Answer to one request, whatever goes wrong; a calculator that was started is put into `made`."""
    answer: dict[str, Any]
    try:
        if request["op"] == "start":
            os.chdir(request["folder"])
            sys.path[:0] = [entry for entry in request["path"] if entry not in sys.path]
            atoms = None if request["atoms"] is None else decode(request["atoms"])
            made[:] = [parse_target(request["spec"], atoms=atoms, **request["options"])]
            parameters = dict(getattr(made[0], "parameters", None) or {})
            answer = {
                "name": made[0].name,
                "identity": calculator_identity(made[0]),
                "properties": offered(made[0]),
                "assumed": getattr(made[0], "assumed_properties", ()),
                "parameters": {name: parameters[name] for name in STATE_OPTIONS if name in parameters},
            }
        else:
            results = ask(made[0], decode(request["atoms"]), request["properties"])
            answer = {"results": encode(dict(results))}
        answer["ok"] = True
    except (Exception, SystemExit) as error:  # foreign code
        kind = "input" if isinstance(error, InputError) else "failed"
        kind = "property" if isinstance(error, PropertyNotImplementedError) else kind
        message = " ".join(str(error).split())
        answer = {"ok": False, "kind": kind, "message": message, "error": type(error).__name__}
    return {**answer, "id": request["id"]}


if __name__ == "__main__":
    made: list[BaseCalculator] = []
    main(lambda request, _: serve(request, made))
