"""From a target's name to its calculator."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import shutil
import warnings
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError, get_calculator_class
from ase.calculators.names import names as ase_names
from ase.config import cfg as ase_config
from ase.data import atomic_numbers
from ase.units import kB

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import adapt, missing_program
from ase_proxima.targets.electrons import ElectronicState, resolve_state

__all__ = ["best_quantum_target", "check_prior", "describe", "parse_target", "refuse_same", "target_state"]

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

_UNDECLARED_PROGRAMS = {
    "castep": ("CASTEP_COMMAND", "castep"),
    "cp2k": ("ASE_CP2K_COMMAND", "cp2k.psmp"),
    "lammpsrun": ("ASE_LAMMPSRUN_COMMAND", "lammps"),
    "vasp": ("ASE_VASP_COMMAND", "vasp_std"),
}
"""ASE's calculators that do not say which program they run, until they run it: the variable that names its command,
and the program that they, or most installations, run else."""

# Argon: Rahman, Phys. Rev. 136, A405 (1964), sigma = 3.4 Å, epsilon / kB = 120 K.
_ARGON = {"sigma": 3.4, "epsilon": 120.0 * kB, "smooth": True}


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
    first, given = _split_options(spec, tail)
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
            _refuse_unheard_state(spec, atoms, given)
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
        _parse_options(spec, tail)  # which says what is wrong with it
    if atoms is not None:
        _refuse_unheard_state(spec, atoms, given)
    if name == "asap":
        return _asap(spec, atoms, given)
    if name == "lj":
        return _lennard_jones(given)
    if name == "emt":
        _check_emt(atoms)
    return _ase_calculator(spec, name, given)


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
    _check_options(spec, calculator_class, options)
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


def target_state(target: BaseCalculator, atoms: Atoms) -> ElectronicState:
    """Charge and multiplicity in which a target computes a structure.

    Those of the structure and the target's own options `charge` and `multiplicity` (or `mult`), whoever says
    something.

    Raises
    ------
    InputError
        If they contradict each other, or the electrons cannot have them.

    Examples
    --------
    >>> print(target_state(parse_target("emt"), Atoms("Cu")))
    charge 0, multiplicity 2
    """
    options = getattr(target, "parameters", None) or {}
    return resolve_state(
        atoms,
        charge=options.get("charge"),
        multiplicity=options.get("multiplicity", options.get("mult")),
        said_by=f"the target {getattr(target, 'name', type(target).__name__)}",
    )


def refuse_same(target: str, prior: str) -> None:
    """Refuse a prior that is the target itself, which would leave nothing to learn and cost as much.

    Spelling, time limits, charge and multiplicity make no difference.

    Raises
    ------
    InputError
        If the two names stand for the same calculator.

    Examples
    --------
    >>> refuse_same("xtb:GFN2", "xtb:GFN1")
    >>> refuse_same("xtb:GFN2", "xtb:gfn2-xtb")
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: the prior 'xtb:gfn2-xtb' is the target 'xtb:GFN2': choose a cheaper one, or ...
    """
    if _essence(target) == _essence(prior):
        raise InputError(
            f"the prior {prior!r} is the target {target!r}: choose a cheaper one, or leave the prior out"
        )


def _essence(spec: str) -> tuple[str, str, dict[str, Any]]:
    """What tells one calculator from another in its name."""
    head, _, tail = spec.strip().partition(":")
    first, options = _split_options(spec, tail)
    name, first = head.lower(), first.lower()
    if name == "xtb":
        first = first.removesuffix("-xtb") or "gfn2"
    how = ("local", "timeout", "timeout_s", "charge", "multiplicity", "mult")
    return name, first, {option: value for option, value in options.items() if option not in how}


def check_prior(prior: str, atoms: Atoms, state: ElectronicState) -> None:
    """Raise an `InputError` where a prior cannot be used, or computes another charge or multiplicity than `state`.

    Parameters
    ----------
    prior
        See `parse_target`.
    atoms
        The structure that is to be computed.
    state
        That in which the target computes it.
    """
    calculator = parse_target(prior, atoms=atoms)
    try:
        own = target_state(calculator, atoms)
    finally:
        if hasattr(calculator, "close"):
            calculator.close()
    if own != state:
        raise InputError(
            f"the prior {prior!r} would compute {atoms.get_chemical_formula()} with {own}, the target with {state}: "
            "give charge and multiplicity with the structure or on the command line, which both of them read"
        )


def _refuse_unheard_state(spec: str, atoms: Atoms, options: dict[str, Any]) -> None:
    """Refuse an ion or a high spin where the calculator was not told of it: ASE's do not read all of a structure."""
    state = resolve_state(atoms)
    lowest = 1 + (int(atoms.numbers.sum()) - state.charge) % 2
    unheard = []
    if state.charge and options.get("charge") != state.charge:
        unheard.append(f"charge {state.charge}")
    if state.multiplicity not in (None, lowest, options.get("multiplicity", options.get("mult"))):
        unheard.append(f"multiplicity {state.multiplicity}")
    if unheard:
        raise InputError(
            f"target {spec!r} does not know of the {' and '.join(unheard)} of {atoms.get_chemical_formula()}: choose "
            "another target such as psi4, pyscf or xtb, give it among the options of the target where it has one, or "
            "take it out of the structure"
        )


def _quantum_espresso(
    spec: str, functional: str, atoms: Atoms | None, options: dict[str, Any]
) -> BaseCalculator:
    """A Quantum ESPRESSO calculator that was checked for the structure."""
    from ase_proxima.targets.quantum_espresso import QuantumEspressoCalculator

    chosen = {name: str(options.pop(name)) for name in list(options) if name in atomic_numbers}
    _check_options(spec, QuantumEspressoCalculator, options)
    calculator = QuantumEspressoCalculator(functional or None, pseudopotentials=chosen, **options)
    calculator.validate(atoms)
    return calculator


def _lennard_jones(given: dict[str, Any]) -> BaseCalculator:
    from ase.calculators.lj import LennardJones

    _check_options("lj", LennardJones, given)
    options = {**_ARGON, **given}
    for name in ("sigma", "epsilon", "rc", "ro"):
        value = options.get(name)
        if value is None and name in ("rc", "ro"):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise InputError(f"{name} of target lj must be a positive number, got {value!r}")
    cutoff = options.get("rc") or 3 * options["sigma"]
    if not (options.get("ro") or 0) < cutoff:
        raise InputError(f"ro of target lj must be below rc = {cutoff:g}, got {options['ro']:g}")
    return LennardJones(**options)


def _asap(spec: str, atoms: Atoms | None, given: dict[str, Any]) -> BaseCalculator:
    from ase_proxima.targets.asap import AsapEMT

    if given:
        raise InputError(f"target {spec!r} has no options, got {sorted(given)}: leave them out")
    calculator = AsapEMT()
    if atoms is not None:
        calculator.validate(atoms)
    return calculator


def _check_emt(atoms: Atoms | None) -> None:
    from ase.calculators.emt import parameters

    unknown = sorted(set(atoms.get_chemical_symbols()) - set(parameters)) if atoms is not None else []
    if unknown:
        raise InputError(
            f"target emt has no parameters for {', '.join(unknown)}, only for "
            f"{', '.join(sorted(parameters))}: choose another target"
        )


def _ase_calculator(spec: str, name: str, options: dict[str, Any]) -> BaseCalculator:
    """A calculator by the name that ASE has for it."""
    try:
        calculator_class = get_calculator_class(name)
    except (ImportError, AttributeError) as error:
        if name in ase_names:
            raise InputError(f"target {spec!r} needs a package that is not installed: {error}") from error
        near = difflib.get_close_matches(name, ["psi4", "pyscf", "xtb", "emt", "lj", *ase_names], n=3)
        hint = (
            f"did you mean {', '.join(dict.fromkeys(near))}?"
            if near
            else "use one of " + ", ".join(_DESCRIPTIONS)
        )
        raise InputError(f"unknown target {spec!r}: {hint}") from error
    _check_options(spec, calculator_class, options)
    variable, program = _UNDECLARED_PROGRAMS.get(name, ("", ""))
    told = variable in ase_config or not {"command", "castep_command"}.isdisjoint(options)
    if program and not told and shutil.which(program) is None:
        raise InputError(
            f"target {spec!r} needs the program {program}, which is not on the path: install it, or name its "
            f"command in the environment variable {variable}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is half made complains when it goes
        try:
            calculator = adapt(calculator_class(**options))
            problem = missing_program(calculator)
        except (Exception, SystemExit) as error:  # foreign code
            problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if problem:
        raise InputError(
            f"target {spec!r} cannot be set up: {' '.join(problem.split())}; see the documentation of ASE's "
            f"calculator {name} for the program and the options that it needs"
        )
    return calculator


def _check_options(spec: str, calculator_class: Any, options: dict[str, Any]) -> None:
    """Refuse options that the calculator does not know; ASE's base class takes any."""
    signature = inspect.signature(calculator_class).parameters.values()
    known = {p.name for p in signature if p.kind is not inspect.Parameter.VAR_KEYWORD}
    known |= set(getattr(calculator_class, "default_parameters", {}))
    unknown = sorted(set(options) - known)
    if known and unknown:
        raise InputError(
            f"unknown option {unknown[0]!r} of target {spec!r}: use one of {', '.join(sorted(known))}"
        )


def _split_options(spec: str, text: str) -> tuple[str, dict[str, Any]]:
    """What precedes the first option, and the options; a basis such as 6-31G(d,p) has commas of its own.

    Examples
    --------
    >>> _split_options("psi4", "HF/6-31G(d,p),charge=1,multiplicity=2")
    ('HF/6-31G(d,p)', {'charge': 1, 'multiplicity': 2})
    """
    start = re.search(r"(^|,)\s*[^\W\d]\w*\s*=", text)
    if start is None:
        return text, {}
    return text[: start.start()], _parse_options(spec, text[start.start() :].lstrip(","))


def _parse_options(spec: str, text: str) -> dict[str, Any]:
    """Options written as `name=value,name=value`.

    Examples
    --------
    >>> _parse_options("lj", "sigma=3.4,smooth=true")
    {'sigma': 3.4, 'smooth': True}
    """
    options: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name.isidentifier() or not value:
            raise InputError(f"target {spec!r} has an option {part!r}: write NAME:option=value,option=value")
        if name in options:
            raise InputError(f"target {spec!r} has the option {name!r} twice: give it once")
        options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    """Number, truth value or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
