"""Quantum ESPRESSO as an ASE calculator: density-functional theory of crystals, liquids and slabs.

ASE writes the input and reads the output; the program is run here, in a scratch folder of its own and from the same
cold start on every call, so that a result does not depend on the calls before.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, SCFError, all_changes
from ase.io import read
from ase.io.espresso import write_espresso_in

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import StateAwareCalculator
from ase_proxima.targets.electrons import resolve_state

__all__ = ["QuantumEspressoCalculator", "find_pseudopotentials", "kpoint_grid"]

INSTALL = "install it with `apt install quantum-espresso quantum-espresso-data` or `conda install -c conda-forge qe`"
SYSTEM_PSEUDO_DIR = "/usr/share/espresso/pseudo"
"""Where Debian's package puts pseudopotentials."""

ECUTWFC_RY = 30.0
"""Cutoff of the wave functions in Ry; enough for the norm-conserving pseudopotentials of Al and Si, not for all."""
KSPACING = 0.3
"""Largest distance of k-points in 1/Å, 2 pi included; what many codes take for metals."""
DEGAUSS_RY = 0.02
"""Width of the smearing in Ry. Thermal frames, of silicon too, do not converge without one."""
CONV_THR_RY = 1e-9
"""Estimated error of the energy at which the iterations end, in Ry."""
MIXING_BETA = 0.7
MAX_STEPS = 100
ERROR_LINE = re.compile(r"Error in routine (.*?)\s*(?:\(|$)")


class QuantumEspressoCalculator(StateAwareCalculator):
    """Energies, forces and stresses from `pw.x`.

    The electrons are smeared by cold smearing (Marzari and Vanderbilt); the energy is the free energy, of which
    forces and stress are the derivatives.

    Parameters
    ----------
    functional
        As the names of the pseudopotentials have it: `"pz"`, `"pbe"`; None where the folder has one of each element.
    ecutwfc
        Cutoff of the wave functions, in Ry.
    kpts
        Grid of k-points round Gamma, as three numbers or as `"2x2x2"`; None for one by `kspacing` for each structure.
        Give it where cells change, or the energy jumps with the grid.
    kspacing
        Largest distance of neighbouring k-points, in 1/Å.
    degauss
        Width of the smearing, in Ry.
    conv_thr
        Error of the energy at which the iterations end, in Ry.
    pseudo_dir
        Folder of the pseudopotentials; None for the one that the environment variable `ESPRESSO_PSEUDO` names, else
        Debian's.
    pseudopotentials
        File of an element, by its symbol, where the folder has several that fit.
    charge, multiplicity
        Of the cell; None for what each structure asks for, see `ase_proxima.targets.electrons.resolve_state`.
    command
        How `pw.x` is called, such as `"mpirun -np 4 pw.x"`.
    n_threads
        Threads of each process.
    timeout_s
        Longest time for one calculation, in seconds; None for no limit.

    Raises
    ------
    InputError
        If a parameter is wrong, a pseudopotential or the program is missing, or the structure is not periodic.
    ase.calculators.calculator.SCFError
        If the iterations do not converge.
    ase.calculators.calculator.CalculationFailed
        If the program fails, or is out of time.

    References
    ----------
    Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017). doi:10.1088/1361-648X/aa8f79
    Marzari, Vanderbilt, De Vita, Payne, Phys. Rev. Lett. 82, 3296 (1999).
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]
    name = "qe"

    def __init__(
        self,
        functional: str | None = None,
        *,
        ecutwfc: float = ECUTWFC_RY,
        kpts: str | Sequence[int] | None = None,
        kspacing: float = KSPACING,
        degauss: float = DEGAUSS_RY,
        conv_thr: float = CONV_THR_RY,
        pseudo_dir: str | Path | None = None,
        pseudopotentials: dict[str, str] | None = None,
        charge: int | None = None,
        multiplicity: int | None = None,
        command: str = "pw.x",
        n_threads: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        numbers = {"ecutwfc": ecutwfc, "kspacing": kspacing, "degauss": degauss, "conv_thr": conv_thr}
        numbers |= {} if timeout_s is None else {"timeout": timeout_s}
        for label, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise InputError(f"{label} of target qe must be a positive number, got {value!r}")
        folder = Path(pseudo_dir or os.environ.get("ESPRESSO_PSEUDO") or SYSTEM_PSEUDO_DIR)
        super().__init__(
            functional=functional,
            ecutwfc=ecutwfc,
            kpts=_grid(kpts),
            kspacing=kspacing,
            degauss=degauss,
            conv_thr=conv_thr,
            pseudopotentials=dict(pseudopotentials or {}),
            charge=charge,
            multiplicity=multiplicity,
        )
        self._pseudo_dir = folder
        self._command = shlex.split(command)
        self._n_threads = int(n_threads)
        self._timeout_s = timeout_s
        self.n_calls = 0

    def validate(self, atoms: Atoms | None = None) -> None:
        """Check program, pseudopotentials and structure without a calculation.

        Raises
        ------
        InputError
            If one of them is missing or not usable.
        """
        if not self._command or shutil.which(self._command[0]) is None:
            raise InputError(
                f"Quantum ESPRESSO was not found: there is no program {self._command[:1]}; {INSTALL}"
            )
        if not self._pseudo_dir.is_dir():
            raise InputError(
                f"there is no folder of pseudopotentials {self._pseudo_dir}: name one as pseudo_dir=FOLDER, or in the "
                "environment variable ESPRESSO_PSEUDO"
            )
        if atoms is not None:
            self._input(atoms)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Run `pw.x` on `atoms`, in a scratch folder that is gone afterwards."""
        super().calculate(atoms, properties, system_changes)
        structure, data, pseudopotentials, grid = self._input(self.atoms)
        scratch = Path(tempfile.mkdtemp(prefix="proxima-qe-"))
        try:
            data["control"]["outdir"] = str(scratch)
            with (scratch / "pw.in").open("w") as file:
                write_espresso_in(file, structure, data, pseudopotentials, kpts=grid)
            text = self._run(scratch)
            self.results.update(_results(scratch / "pw.out", text, structure.get_chemical_formula()))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.n_calls += 1

    def _input(self, atoms: Atoms) -> tuple[Atoms, dict[str, Any], dict[str, str], tuple[int, int, int]]:
        """Structure, namelists, pseudopotentials and k-points of a calculation."""
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            raise InputError(
                f"target qe computes periodic cells, got pbc={atoms.pbc.tolist()}: put molecules and slabs into a cell "
                "with vacuum, and set atoms.pbc = True"
            )
        parameters = self.parameters
        state = resolve_state(atoms, charge=parameters.charge, multiplicity=parameters.multiplicity)
        structure = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=True)
        moments = atoms.get_initial_magnetic_moments()
        system = {
            "ecutwfc": parameters.ecutwfc,
            "occupations": "smearing",
            "smearing": "cold",
            "degauss": parameters.degauss,
            "tot_charge": float(state.charge),
        }
        if state.multiplicity is not None:
            system |= {"nspin": 2, "tot_magnetization": float(state.multiplicity - 1)}
        if moments.any():
            structure.set_initial_magnetic_moments(moments)
        data = {
            "control": {
                "calculation": "scf",
                "tprnfor": True,
                "tstress": True,
                "disk_io": "none",
                "pseudo_dir": str(self._pseudo_dir),
            },
            "system": system,
            "electrons": {
                "conv_thr": parameters.conv_thr,
                "mixing_beta": MIXING_BETA,
                "electron_maxstep": MAX_STEPS,
            },
        }
        found = find_pseudopotentials(
            self._pseudo_dir,
            set(atoms.get_chemical_symbols()),
            parameters.functional,
            parameters.pseudopotentials,
        )
        return structure, data, found, parameters.kpts or kpoint_grid(atoms, parameters.kspacing)

    def _run(self, scratch: Path) -> str:
        """What `pw.x` writes."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._n_threads)}
        with (scratch / "pw.out").open("wb") as output:
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's own program, no shell
                    [*self._command, "-in", "pw.in"],
                    cwd=scratch,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise CalculationFailed(f"Quantum ESPRESSO cannot be started: {error}") from error
            try:
                process.wait(self._timeout_s)
            except subprocess.TimeoutExpired as error:
                raise CalculationFailed(
                    f"Quantum ESPRESSO gave no result within {self._timeout_s:g} s: raise timeout"
                ) from error
            finally:
                if process.poll() is None:  # out of time, or interrupted
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        text = (scratch / "pw.out").read_text(errors="replace")
        if process.returncode != 0:
            raise CalculationFailed(
                f"Quantum ESPRESSO failed with exit code {process.returncode}: {_last_words(text)}"
            )
        return text


def _results(output: Path, text: str, formula: str) -> dict[str, Any]:
    """Energy, forces and stress of an output file in ASE's units."""
    if "convergence NOT achieved" in text:
        raise SCFError(
            f"Quantum ESPRESSO did not converge in {MAX_STEPS} iterations for {formula}: check the structure, or raise "
            "degauss"
        )
    if "convergence has been achieved" not in text:
        raise CalculationFailed(f"Quantum ESPRESSO did not finish: {_last_words(text)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE's reader, about occupations that it does not understand
        found = read(output, format="espresso-out").calc.results
    return {name: found[name] for name in ("energy", "forces", "stress") if name in found} | {
        "free_energy": found["energy"]
    }


def _last_words(text: str) -> str:
    """The error message in an output, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" %")]
    for number, line in enumerate(lines):
        if ERROR_LINE.search(line):
            return " ".join(lines[number : number + 2])[:300]
    return lines[-1][:300] if lines else "it wrote nothing"


def kpoint_grid(atoms: Atoms, kspacing: float) -> tuple[int, int, int]:
    """Numbers of k-points along the axes of the reciprocal cell.

    Parameters
    ----------
    atoms
        A periodic structure.
    kspacing
        Largest distance of neighbouring k-points, in 1/Å, 2 pi included.

    Examples
    --------
    >>> from ase.build import bulk
    >>> kpoint_grid(bulk("Al", cubic=True), 0.5)
    (4, 4, 4)
    """
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    first, second, third = (max(1, math.ceil(length / kspacing - 1e-9)) for length in lengths)
    return first, second, third


def _grid(kpts: str | Sequence[int] | None) -> tuple[int, int, int] | None:
    """Three numbers of k-points from three numbers or a text such as 2x2x2."""
    if kpts is None:
        return None
    parts = kpts.split("x") if isinstance(kpts, str) else list(kpts)
    try:
        first, second, third = (int(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise InputError(f"kpts of target qe must be three numbers such as 2x2x2, got {kpts!r}") from error
    if not min(first, second, third) >= 1:
        raise InputError(f"kpts of target qe must be at least 1x1x1, got {kpts!r}")
    return first, second, third


def find_pseudopotentials(
    folder: Path, symbols: set[str], functional: str | None, chosen: dict[str, str]
) -> dict[str, str]:
    """Files of pseudopotentials, by element.

    A file's name begins with the symbol, then a dot, dash or underscore, and has the functional among its parts.

    Parameters
    ----------
    folder
        Where they are.
    symbols
        Elements that need one.
    functional
        Such as `"pz"`; None for any.
    chosen
        Names of files that were chosen by hand, by element.

    Raises
    ------
    InputError
        If there is none for an element, or several.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".upf")
    found = {}
    for symbol in sorted(symbols):
        if symbol in chosen:
            if chosen[symbol] not in names:
                raise InputError(
                    f"there is no pseudopotential {chosen[symbol]} in {folder}: name another one"
                )
            found[symbol] = chosen[symbol]
            continue
        parts = {name: re.split(r"[._-]", name.lower()) for name in names}
        of_element = [name for name in names if parts[name][0] == symbol.lower()]
        fitting = [name for name in of_element if functional is None or functional.lower() in parts[name]]
        scalar = [name for name in fitting if "rel" not in parts[name]] or fitting
        if len(scalar) != 1:
            there = ", ".join(scalar or of_element) or "none of any functional"
            count = "several pseudopotentials" if scalar else "no pseudopotential"
            of = f" for {functional}" if functional else ""
            raise InputError(
                f"{folder} has {count} of {symbol}{of} ({there}): name the functional, as in qe:pz, or a file, as in "
                f"{symbol}=FILE, or another folder, as in pseudo_dir=FOLDER"
            )
        found[symbol] = scalar[0]
    return found
