"""Calculators of ASE by the name that ASE has for them, found to be ready before they are asked."""

from __future__ import annotations

import difflib
import math
import shutil
import warnings
from collections.abc import Iterable
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, get_calculator_class
from ase.calculators.names import names as ase_names
from ase.config import cfg as ase_config
from ase.units import kB

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import adapt, missing_program
from ase_proxima.targets.spelling import check_options

__all__ = ["ase_calculator", "check_emt", "lennard_jones"]

UNDECLARED_PROGRAMS = {
    "castep": ("CASTEP_COMMAND", "castep"),
    "cp2k": ("ASE_CP2K_COMMAND", "cp2k.psmp"),
    "lammpsrun": ("ASE_LAMMPSRUN_COMMAND", "lammps"),
    "vasp": ("ASE_VASP_COMMAND", "vasp_std"),
}
"""ASE's calculators that do not say which program they run, until they run it: the variable that names its command,
and the program that they, or most installations, run else."""

# Argon: Rahman, Phys. Rev. 136, A405 (1964), sigma = 3.4 Å, epsilon / kB = 120 K.
ARGON = {"sigma": 3.4, "epsilon": 120.0 * kB, "smooth": True}


def ase_calculator(spec: str, name: str, options: dict[str, Any], known: Iterable[str]) -> BaseCalculator:
    """A calculator by the name that ASE has for it; `known` are the forms of all targets, for who misspells it."""
    try:
        calculator_class = get_calculator_class(name)
    except (ImportError, AttributeError) as error:
        if name in ase_names:
            raise InputError(f"target {spec!r} needs a package that is not installed: {error}") from error
        near = difflib.get_close_matches(name, ["psi4", "pyscf", "xtb", "emt", "lj", *ase_names], n=3)
        hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else f"use one of {', '.join(known)}"
        raise InputError(f"unknown target {spec!r}: {hint}") from error
    check_options(spec, calculator_class, options)
    variable, program = UNDECLARED_PROGRAMS.get(name, ("", ""))
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


def check_emt(atoms: Atoms | None) -> None:
    """Refuse elements for which EMT has no parameters."""
    from ase.calculators.emt import parameters

    unknown = sorted(set(atoms.get_chemical_symbols()) - set(parameters)) if atoms is not None else []
    if unknown:
        raise InputError(
            f"target emt has no parameters for {', '.join(unknown)}, only for "
            f"{', '.join(sorted(parameters))}: choose another target"
        )


def lennard_jones(given: dict[str, Any]) -> BaseCalculator:
    """Lennard-Jones of ASE, argon unless told otherwise."""
    from ase.calculators.lj import LennardJones

    check_options("lj", LennardJones, given)
    options = {**ARGON, **given}
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
