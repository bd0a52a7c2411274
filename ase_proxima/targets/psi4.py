"""Psi4 as an ASE calculator, in a process of its own.

Psi4's Python module must match the NumPy that it was built for: with another it has been seen to return zero
geometries without a word.  So it runs in a worker under the Python that it was installed for, and the nuclear
repulsion energy that it reports is compared with that of the positions sent, on every call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, SCFError
from ase.units import Bohr
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.targets.molecule import MoleculeCalculator, nuclear_repulsion
from ase_proxima.targets.psi4_program import INSTALL, environment, interpreters
from ase_proxima.targets.worker_process import WorkerDiedError, WorkerProcess, WorkerTimeoutError

__all__ = ["Psi4Calculator"]

_SCRIPT = Path(__file__).with_name("psi4_worker.py")
_START_S = 120.0
# Keeps energies and forces within 1e-6 eV of the converged ones.
_CONVERGENCE = {"e_convergence": 1e-8, "d_convergence": 1e-8}


class Psi4Calculator(MoleculeCalculator):
    """Energies and forces of a molecule from Psi4.

    Positions and forces are in the frame of the atoms, which is neither moved nor turned.  Asking for forces
    fills in the energy too; asking for the energy alone costs less.  Use it as a context manager, or call
    `close`; a calculator that is dropped ends its worker as well.

    Parameters
    ----------
    method, basis
        Psi4's own names, in any case: `"HF"`, `"B3LYP"`, `"MP2"`; `"6-31G*"`, `"cc-pVDZ"`.
    charge, multiplicity
        Total charge of the molecule, in elementary charges, and 2S + 1; None for those that each structure asks for,
        see `ase_proxima.targets.electrons.resolve_state`.  Above 1 the reference is unrestricted.
    memory_mb
        Memory that Psi4 may use, in megabytes.
    n_threads
        Threads of the worker.  More than one pays for large molecules only.
    scratch
        Existing folder in which the worker makes, and deletes, a folder of its own.
    python
        The interpreter that has Psi4; None to look for it: the environment variable `PROXIMA_PSI4_PYTHON`,
        the one of the program `psi4`, `/usr/bin/python3`, this one.
    options
        Further options of Psi4, for instance `{"scf_type": "pk"}`.
    max_calls
        Calls after which the worker is replaced by a new one, since Psi4 loses some memory in each.
    timeout_s
        Longest time for one calculation, in seconds; None for no limit.

    Attributes
    ----------
    n_calls
        Calculations that succeeded.
    n_starts
        Workers started so far: 1, plus recycled and crashed ones.

    Raises
    ------
    InputError
        If a parameter, the method, the basis or the molecule is not one that Psi4 can compute, or there
        is no Psi4.
    ase.calculators.calculator.SCFError
        If the SCF iterations do not converge.
    ase.calculators.calculator.CalculationFailed
        If the calculation fails, is out of time, or its worker dies twice.

    References
    ----------
    Parrish et al., J. Chem. Theory Comput. 13, 3185 (2017). doi:10.1021/acs.jctc.7b00174
    """

    name = "psi4"
    program = "Psi4"

    def __init__(
        self,
        method: str = "HF",
        basis: str = "6-31G*",
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        memory_mb: float = 500,
        n_threads: int = 1,
        scratch: str | Path | None = None,
        python: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        max_calls: int = 1000,
        timeout_s: float | None = 3600.0,
    ) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise InputError(f"timeout_s must be positive, or None for no limit, got {timeout_s}")
        if scratch is not None and not Path(scratch).is_dir():
            raise InputError(f"scratch must be an existing folder, got {scratch}")
        super().__init__(
            method,
            basis,
            charge=charge,
            multiplicity=multiplicity,
            at_least_one={"memory_mb": memory_mb, "n_threads": n_threads, "max_calls": max_calls},
            options=dict(options or {}),
        )
        self.n_starts = 0
        self.version: str | None = None
        self._n_threads = int(n_threads)
        self._start_request = {"op": "start", "memory": int(memory_mb * 1e6), "threads": self._n_threads}
        self._scratch = scratch
        self._python = python
        self._max_calls = max_calls
        self._timeout_s = timeout_s
        self._worker: WorkerProcess | None = None

    def __enter__(self) -> Psi4Calculator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the running worker; None where there is none."""
        return self._worker.pid if self._worker is not None and self._worker.usable else None

    @property
    def scratch_folder(self) -> Path | None:
        """The running worker's scratch folder; None where there is none."""
        return self._worker.scratch if self._worker is not None and self._worker.usable else None

    def close(self) -> None:
        """End the worker and delete its scratch folder; the next calculation starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def validate(self, atoms: Atoms | None = None) -> None:
        """Check method, basis, options and molecule without a calculation.

        Parameters
        ----------
        atoms
            The molecule that is to be computed; None to check with hydrogen.

        Raises
        ------
        InputError
            If one of them is not usable; the message names it, with names that are close to it.
        """
        if atoms is None:
            atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])
            # Hydrogen stands for an unknown molecule, whose charge and spin say nothing about it.
            request = self._request("validate", atoms, (0, 1))
        else:
            request = self._request("validate", atoms)
        answer = self._ask(request)
        _compare_repulsion(answer, atoms)
        self.implemented_properties = ["energy", "forces"] if answer["has_gradient"] else ["energy"]  # type: ignore[misc]

    def _compute(self, atoms: Atoms, wants_forces: bool) -> tuple[float, NDArray[np.float64] | None]:
        answer = self._ask(self._request("gradient" if wants_forces else "energy", atoms))
        _compare_repulsion(answer, atoms)
        gradient = np.asarray(answer["gradient"], dtype=float).reshape(-1, 3) if wants_forces else None
        return answer["energy"], gradient

    def _request(self, op: str, atoms: Atoms, electrons: tuple[int, int] | None = None) -> dict[str, Any]:
        parameters = self.parameters
        charge, multiplicity = electrons or self._charge_and_multiplicity(atoms)
        options = {**_CONVERGENCE, "reference": "rhf" if multiplicity == 1 else "uhf", **parameters.options}
        return {
            "op": op,
            "method": parameters.method,
            "basis": parameters.basis,
            "options": options,
            "molecule": {
                "numbers": atoms.numbers.tolist(),
                "positions": (atoms.positions / Bohr).ravel().tolist(),
                "charge": charge,
                "multiplicity": multiplicity,
            },
        }

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer to a request, from a second worker if the first one dies over it."""
        if self._worker is not None and self._worker.n_asked > self._max_calls:
            self.close()
        try:
            answer = self._running_worker().ask(request, self._timeout_s)
        except WorkerTimeoutError as error:
            raise CalculationFailed(
                f"Psi4 gave no result within {self._timeout_s:g} s: raise timeout_s"
            ) from error
        except WorkerDiedError:
            try:
                answer = self._running_worker().ask(request, self._timeout_s)
            except (WorkerDiedError, WorkerTimeoutError) as error:
                raise CalculationFailed(f"two Psi4 workers failed on the same structure: {error}") from error
        if not answer["ok"]:
            self._refuse(answer["kind"], answer["message"])
        return answer

    def _refuse(self, kind: str, message: str) -> NoReturn:
        """Raise the error for an answer that says no."""
        if kind == "method":
            raise InputError(f"Psi4 {self.version} has no method {self.parameters.method!r}; {message}")
        if kind == "basis":
            raise InputError(f"Psi4 {self.version} cannot use the basis {self.parameters.basis!r}; {message}")
        if kind == "options":
            raise InputError(f"Psi4 {self.version} refuses an option: {message}")
        if kind == "scf":
            raise SCFError(f"Psi4's SCF did not converge: {message}")
        raise CalculationFailed(f"Psi4 failed: {message}")

    def _running_worker(self) -> WorkerProcess:
        if self._worker is None or not self._worker.usable:
            self.close()
            self._worker, self.version = self._start()
            self.n_starts += 1
        return self._worker

    def _start(self) -> tuple[WorkerProcess, str]:
        """Start a worker under the first interpreter that has Psi4."""
        tried: list[str] = []
        for python, folders in interpreters(self._python):
            command = [python, "-I", str(_SCRIPT), *folders]
            try:
                worker = WorkerProcess(
                    command,
                    script=str(_SCRIPT),
                    env=environment(self._n_threads),
                    scratch_parent=self._scratch,
                )
                answer = worker.ask(self._start_request, _START_S)
            except (WorkerDiedError, WorkerTimeoutError) as error:
                tried.append(f"{python} ({error})")
                continue
            if answer["ok"]:
                return worker, answer["version"]
            worker.close()
            tried.append(f"{python} ({answer['message']})")
        raise InputError(
            f"Psi4 was not found: {INSTALL}, or use PySCF (pyscf:METHOD/BASIS); tried " + "; ".join(tried)
        )


def _compare_repulsion(answer: Mapping[str, Any], atoms: Atoms) -> None:
    """Refuse an answer for another geometry than the one sent."""
    expected = nuclear_repulsion(atoms.numbers, atoms.positions)
    reported = answer["repulsion"]
    if not math.isclose(reported, expected, rel_tol=1e-6, abs_tol=1e-9):
        raise CalculationFailed(
            f"Psi4 computed another geometry than the one sent: nuclear repulsion {reported} Hartree "
            f"instead of {expected}; its Python has a NumPy that does not fit it: name another one in "
            "PROXIMA_PSI4_PYTHON"
        )
