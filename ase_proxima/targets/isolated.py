"""Any target by name in a process of its own, which may hang, exit or crash without harm."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, all_changes
from ase.io.jsonio import decode, encode

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import MissingPropertyError, StateAwareCalculator
from ase_proxima.targets.worker_process import WorkerDiedError, WorkerProcess, WorkerTimeoutError

__all__ = ["IsolatedCalculator"]

WORKER = "ase_proxima.targets.isolated_worker"
START_S = 120.0
"""Longest time for a target to be imported and made, in s."""


class IsolatedCalculator(StateAwareCalculator):
    """A target by name that runs in a child process, with a limit on the time of a calculation.

    A child that is out of time is killed, one that dies is replaced; both are failures of the target, and the next
    calculation begins with a new child.

    Parameters
    ----------
    spec
        Name of the target, see `ase_proxima.targets.parse_target`.
    timeout_s
        Longest time for one calculation, in seconds.
    atoms
        The structure that is to be computed, where it is known, for the checks of `parse_target`.
    **options
        Further options of the target.

    Raises
    ------
    InputError
        If the target cannot be made, or the time is not positive.
    ase.calculators.calculator.CalculationFailed
        If a calculation fails, is out of time, or its process dies.

    Examples
    --------
    >>> from ase.build import molecule
    >>> with IsolatedCalculator("emt", timeout_s=60) as target:
    ...     round(target.get_potential_energy(molecule("N2")), 3)
    0.549
    """

    name = "isolated"

    def __init__(self, spec: str, *, timeout_s: float, atoms: Atoms | None = None, **options: Any) -> None:
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s > 0:
            raise InputError(
                f"timeout of target {spec!r} must be a positive number of seconds, got {timeout_s!r}"
            )
        try:
            json.dumps(options)
        except TypeError as error:
            raise InputError(
                f"options of target {spec!r} must be words and numbers where it runs in a process of its own: {error}"
            ) from error
        super().__init__()
        self._spec, self._timeout_s = spec, float(timeout_s)
        self._start_request = {
            "op": "start",
            "spec": spec,
            "options": options,
            "atoms": None if atoms is None else encode(_bare(atoms)),
            "folder": os.getcwd(),
            "path": [entry or os.getcwd() for entry in sys.path],
        }
        self._worker: WorkerProcess | None = None
        self.n_starts = 0
        self._running_worker()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Ask the child process."""
        super().calculate(atoms, properties, system_changes)
        names = list(dict.fromkeys([*properties, "energy"]))  # which costs nothing more
        request = {"op": "ask", "atoms": encode(_bare(self.atoms)), "properties": names}
        answer = self._ask(self._running_worker(), request, self._timeout_s)
        self.results.update(decode(answer["results"]))

    def _ask(self, worker: WorkerProcess, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            answer = worker.ask(request, timeout_s)
        except WorkerTimeoutError as error:
            raise CalculationFailed(f"target {self._spec!r} gave no result within {timeout_s:g} s") from error
        except WorkerDiedError as error:
            raise CalculationFailed(f"the process of target {self._spec!r} died: {error}") from error
        if not answer["ok"]:
            _refuse(answer)
        return answer

    def _running_worker(self) -> WorkerProcess:
        if self._worker is None or not self._worker.usable:
            self.close()
            worker = WorkerProcess([sys.executable, "-m", WORKER], script=WORKER)
            try:
                answer = self._ask(worker, self._start_request, START_S)
            except BaseException:
                worker.close()
                raise
            self._worker = worker
            self.n_starts += 1
            self.name = answer["name"]
            self.implemented_properties = answer["properties"]
            self.assumed_properties = answer["assumed"]
            self.parameters.update(answer["parameters"])
            self.stands_for = answer["identity"]
        return self._worker

    def close(self) -> None:
        """End the child; the next calculation starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> IsolatedCalculator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bare(atoms: Atoms) -> Atoms:
    """Copy with what a target may read, and without what JSON may not be able to hold."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    for name in ("initial_charges", "initial_magmoms", "tags", "masses"):
        if name in atoms.arrays:
            bare.set_array(name, atoms.arrays[name])
    plain = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in atoms.info.items()
    }
    bare.info = {name: value for name, value in plain.items() if isinstance(value, (str, int, float))}
    return bare


def _refuse(answer: dict[str, Any]) -> NoReturn:
    """Raise what the target raised."""
    if answer["kind"] == "input":
        raise InputError(answer["message"])
    if answer["kind"] == "property":
        raise MissingPropertyError(answer["message"])
    raise CalculationFailed(
        f"{answer['error']}: {answer['message']}" if answer["message"] else answer["error"]
    )
