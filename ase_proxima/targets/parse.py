"""From a target's name to its calculator."""

from __future__ import annotations

import re
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.calculators.names import names as ase_names
from ase.data import atomic_numbers

from ase_proxima.errors import InputError
from ase_proxima.targets.ase_named import ase_calculator, check_emt, lennard_jones
from ase_proxima.targets.electrons import refuse_unheard_state, resolve_state, target_state
from ase_proxima.targets.spelling import check_options, parse_options, split_options

__all__ = ["best_quantum_target", "describe", "parse_target"]

_DESCRIPTIONS = {
    "psi4:METHOD/BASIS": "quantum chemistry of molecules with Psi4, e.g. psi4:HF/6-31G*,charge=1,multiplicity=2",
    "pyscf:METHOD/BASIS": "Hartree-Fock and density functionals with PySCF, e.g. pyscf:HF/6-31G*",
    "xtb:METHOD": "extended tight binding with tblite: GFN2, GFN1, IPEA1",
    "qe:FUNCTIONAL": "density functionals of periodic cells with Quantum ESPRESSO, e.g. qe:pz,ecutwfc=30,kpts=2x2x2",
    "emt": "effective medium theory of ASE: Al, Cu, Ag, Au, Ni, Pd, Pt (and H, C, N, O, for tests)",
    "asap": "the same through Asap, much faster: Al, Cu, Ag, Au, Ni, Pd, Pt",
    "lj": "Lennard-Jones of ASE, argon unless told otherwise, e.g. lj:sigma=3.4,epsilon=0.0103,rc=10",
    "sw:Si": "Stillinger-Weber silicon through matscipy; likewise kumagai:Si, tersoff:Si, tersoff:SiC",
    "NAME": "any ASE calculator by its registered name, e.g. tip3p or morse:epsilon=0.5,r0=1.2",
    "MODULE:FUNCTION": "your own: a calculator, a function that makes one, or one of the structure alone",
    "TARGET,timeout=S": "any of these with at most S seconds a calculation, e.g. psi4:HF/6-31G*,timeout=600 or "
    "emt:timeout=5",
    "TARGET,local=TOL": "any short-ranged one of these, on part of the atoms where a surrogate is unsure of a few, to "
    "TOL eV/Å, e.g. emt:local=0.005",
}


def describe() -> dict[str, str]:
    """Forms that `parse_target` takes, each with a line on what it is.

    Examples
    --------
    >>> describe()["xtb:METHOD"]
    'extended tight binding with tblite: GFN2, GFN1, IPEA1'
    """
    return dict(_DESCRIPTIONS)


def parse_target(spec: str, *, atoms: Atoms | None = None, **options: Any) -> BaseCalculator:
    """Make the calculator that a name stands for, ready to run.

    Parameters
    ----------
    spec
        One of the forms of `describe`.
    atoms
        The structure that is to be computed, where it is known: method and basis are then checked for its
        elements, charge and spin too.
    **options
        Keyword arguments for the calculator, beside those in `spec`.

    Raises
    ------
    InputError
        If there is no such target, a part of its name or an option is unknown, or its program is missing.

    Examples
    --------
    >>> parse_target("lj:sigma=3.0").parameters["sigma"]
    3.0
    >>> parse_target("emd")
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: unknown target 'emd': did you mean emt, eam?
    """
    head, colon, tail = spec.strip().partition(":")
    name = head.lower()
    if atoms is not None:
        resolve_state(atoms)
    first, given = split_options(spec, tail)
    given = {**given, **options}
    if "local" in given:
        from ase_proxima.targets.local import LocalTarget

        tolerance = given.pop("local")
        whole = parse_target(f"{head}:{first}" if first else head, atoms=atoms, **given)
        return LocalTarget(whole, tolerance=tolerance)
    if "timeout" in given and name in ("psi4", "qe"):
        given["timeout_s"] = given.pop("timeout")  # they have processes of their own anyway
    if "timeout" in given:
        from ase_proxima.targets.isolated import IsolatedCalculator

        timeout_s = given.pop("timeout")
        return IsolatedCalculator(
            f"{head}:{first}" if first else head, timeout_s=timeout_s, atoms=atoms, **given
        )
    if name in ("psi4", "pyscf") and (colon or name == "pyscf"):
        return _quantum(spec, name, first, atoms, given)
    if name == "xtb":
        return _xtb(first, atoms, given)
    if name in ("sw", "kumagai") or (name == "tersoff" and first):
        from ase_proxima.targets.manybody import manybody_calculator

        if given or not first:
            raise InputError(f"target {spec!r} must be a form and elements alone, as in sw:Si or tersoff:SiC")
        if atoms is not None:
            refuse_unheard_state(spec, atoms, given)
        return manybody_calculator(head, first, atoms)
    if name == "qe":
        return _quantum_espresso(spec, first, atoms, given)
    if re.fullmatch(r"[^\W\d]\w*", first) and name not in ase_names:
        from ase_proxima.targets.function import load_target

        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", head):
            raise InputError(f"target {spec!r} must be MODULE:FUNCTION, got {head!r} for the module")
        return load_target(head, first, **given)
    if name == "psi4":
        raise InputError(
            f"target {spec!r} lacks method and basis: write psi4:METHOD/BASIS, e.g. psi4:HF/6-31G*"
        )
    if colon and (first or not tail.strip()):
        parse_options(spec, tail)  # which says what is wrong with it
    if atoms is not None:
        refuse_unheard_state(spec, atoms, given)
    if name == "asap":
        return _asap(spec, atoms, given)
    if name == "lj":
        return lennard_jones(given)
    if name == "emt":
        check_emt(atoms)
    return ase_calculator(spec, name, given, _DESCRIPTIONS)


def best_quantum_target(method_basis: str = "HF/6-31G*") -> str:
    """The target to prefer for a method and basis: Psi4's where Psi4 runs, else PySCF's.

    The energies of the two differ by 0.4 meV for methane, since Psi4 fits densities by default: never mix
    them in one training set.

    Raises
    ------
    InputError
        If there is neither.
    """
    from ase_proxima.targets.psi4 import Psi4Calculator
    from ase_proxima.targets.pyscf import PySCFCalculator

    with Psi4Calculator("HF", "STO-3G") as psi4:
        try:
            psi4.validate()
            return f"psi4:{method_basis}"
        except InputError as no_psi4:
            try:
                PySCFCalculator("HF", "STO-3G").validate()
            except InputError as no_pyscf:
                raise InputError(f"no quantum-chemistry program: {no_psi4}; {no_pyscf}") from no_pyscf
    return f"pyscf:{method_basis}"


def _quantum(
    spec: str, program: str, method_basis: str, atoms: Atoms | None, options: dict[str, Any]
) -> BaseCalculator:
    """A validated Psi4 or PySCF calculator."""
    from ase_proxima.targets.psi4 import Psi4Calculator
    from ase_proxima.targets.pyscf import PySCFCalculator

    method, _, basis = (part.strip() for part in method_basis.partition("/"))
    if not method or not basis or "/" in basis:
        raise InputError(
            f"target {spec!r} must name method and basis: write {program}:METHOD/BASIS, "
            f"e.g. {program}:HF/6-31G*"
        )
    calculator_class = Psi4Calculator if program == "psi4" else PySCFCalculator
    check_options(spec, calculator_class, options)
    calculator = calculator_class(method, basis, **options)
    try:
        calculator.validate(atoms)
    except CalculatorError as error:
        raise InputError(f"target {spec!r} cannot be used: {error}") from error
    return calculator


def _xtb(method: str, atoms: Atoms | None, options: dict[str, Any]) -> BaseCalculator:
    """A tblite calculator that was compared with the charge and the multiplicity of the structure."""
    from ase_proxima.targets.xtb import xtb_calculator

    periodic = atoms is not None and bool(atoms.pbc.all())
    calculator = xtb_calculator(method or "GFN2", **{"periodic": periodic, **options})
    if atoms is not None:
        target_state(calculator, atoms)
    return calculator


def _quantum_espresso(
    spec: str, functional: str, atoms: Atoms | None, options: dict[str, Any]
) -> BaseCalculator:
    """A Quantum ESPRESSO calculator that was checked for the structure."""
    from ase_proxima.targets.quantum_espresso import QuantumEspressoCalculator

    chosen = {name: str(options.pop(name)) for name in list(options) if name in atomic_numbers}
    check_options(spec, QuantumEspressoCalculator, options)
    calculator = QuantumEspressoCalculator(functional or None, pseudopotentials=chosen, **options)
    calculator.validate(atoms)
    return calculator


def _asap(spec: str, atoms: Atoms | None, given: dict[str, Any]) -> BaseCalculator:
    from ase_proxima.targets.asap import AsapEMT

    if given:
        raise InputError(f"target {spec!r} has no options, got {sorted(given)}: leave them out")
    calculator = AsapEMT()
    if atoms is not None:
        calculator.validate(atoms)
    return calculator
