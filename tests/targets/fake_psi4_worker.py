"""Speaks the protocol of `psi4_worker.py` without Psi4: a spring between every two atoms.

Options make it misbehave: `log` (a file to which it appends its process id at each calculation), `crash` (a
file: die unless it exists, and make it), `always_crash`, `sleep` (seconds, unless the file `log` has two
lines), `energy`, `repulsion`, `refuse`, `garbage`, `has_gradient`.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def calculate(op, molecule):
    positions = np.reshape(molecule["positions"], (-1, 3))
    numbers = np.array(molecule["numbers"])
    gradient = np.zeros_like(positions)
    energy = repulsion = 0.0
    for i in range(len(positions)):
        for j in range(i):
            delta = positions[i] - positions[j]
            distance = np.linalg.norm(delta)
            repulsion += numbers[i] * numbers[j] / distance
            energy += 0.05 * (distance - 1.5) ** 2
            gradient[i] += 0.1 * (distance - 1.5) * delta / distance
            gradient[j] -= 0.1 * (distance - 1.5) * delta / distance
    answer = {"ok": True, "repulsion": repulsion, "energy": energy}
    if op == "gradient":
        answer["gradient"] = gradient.ravel().tolist()
    return answer


def misbehave(options, answer):
    if "log" in options:
        with open(options["log"], "a") as log:
            log.write(f"{os.getpid()}\n")
    if "crash" in options and not os.path.exists(options["crash"]):
        Path(options["crash"]).touch()
        sys.exit("out of luck")
    if options.get("always_crash"):
        sys.exit("never any luck")
    if "sleep" in options and Path(options["log"]).read_text().count("\n") < 2:
        time.sleep(options["sleep"])
    if options.get("garbage"):
        sys.stdout.write("what is JSON?\n")
    for name in ("energy", "repulsion"):
        if name in options:
            answer[name] = float(options[name])
    if "refuse" in options:
        return {"ok": False, "kind": options["refuse"], "message": "as asked"}
    return answer


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "start":
            answer = {"ok": True, "version": "0.0"}
        else:
            answer = calculate(request["op"], request["molecule"])
            if request["op"] == "validate":
                answer["has_gradient"] = request["options"].get("has_gradient", True)
            else:
                answer = misbehave(request["options"], answer)
        sys.stdout.write(json.dumps({**answer, "id": request["id"]}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
