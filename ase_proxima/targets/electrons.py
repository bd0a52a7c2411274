"""The electronic state of a structure: its total charge and its multiplicity, from wherever they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_proxima.errors import InputError

__all__ = [
    "ElectronicState",
    "refuse_unheard_state",
    "resolve_state",
    "target_state",
    "whole_number",
    "with_state",
]

WHOLE_WITHIN = 0.05
"""How far charges or moments of atoms may sum from a whole number, in e and Bohr magnetons: published sets of
atomic charges, rounded to two or three digits, sum to within some 0.02 of it; a forgotten atom does not."""


@dataclass(frozen=True, slots=True)
class ElectronicState:
    """Total charge and multiplicity.

    Attributes
    ----------
    charge
        In elementary charges.
    multiplicity
        2S + 1; None for a crystal of which nobody said it: the moments of its atoms are a guess to start from there.

    Examples
    --------
    >>> print(ElectronicState(1, 2))
    charge 1, multiplicity 2
    """

    charge: int
    multiplicity: int | None

    def __str__(self) -> str:
        spin = "" if self.multiplicity is None else f", multiplicity {self.multiplicity}"
        return f"charge {self.charge}{spin}"


def resolve_state(
    atoms: Atoms, *, charge: int | None = None, multiplicity: int | None = None, said_by: str = "the target"
) -> ElectronicState:
    """Charge and multiplicity of a structure, from all who say something about them.

    These are: the sum of the initial charges, where one is not zero; the sum of the initial magnetic moments of a
    molecule, likewise, which is the number of its unpaired electrons; in `atoms.info` the entries `charge`,
    `multiplicity` (2S + 1) and `spin` (unpaired electrons, 2S); and the arguments.  Where nobody says anything, the
    charge is 0 and a molecule has the lowest multiplicity that its electrons allow.

    Parameters
    ----------
    atoms
        The structure.
    charge, multiplicity
        What is asked for elsewhere; None for nothing.
    said_by
        Who asks for them, for messages.

    Raises
    ------
    InputError
        If two of them contradict each other, one is no whole number, or the electrons cannot have the multiplicity.

    Examples
    --------
    >>> from ase.build import molecule
    >>> resolve_state(molecule("O2"))
    ElectronicState(charge=0, multiplicity=3)
    >>> resolve_state(molecule("O2"), charge=1, multiplicity=1)
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: O2 has multiplicity 3 by its initial magnetic moments and 1 by the target: ...
    """
    charges = [*_charges_said(atoms), *_said(charge, said_by)]
    total = _agreed(atoms, "charge", charges)
    multiplicities = [*_multiplicities_said(atoms), *_said(multiplicity, said_by)]
    spin = _agreed(atoms, "multiplicity", multiplicities)
    n_electrons = int(atoms.numbers.sum()) - (total or 0)
    if n_electrons < 0:
        raise InputError(
            f"{atoms.get_chemical_formula()} with charge {total} has {n_electrons} electrons: it has only "
            f"{int(atoms.numbers.sum())} to give away, change the charge"
        )
    if spin is None and not atoms.pbc.any():
        spin = 1 + n_electrons % 2
    if spin is not None and (spin < 1 or spin - 1 > n_electrons or (n_electrons + spin) % 2 == 0):
        origin = f" by {multiplicities[0][1]}" if multiplicities else ""
        raise InputError(
            f"{atoms.get_chemical_formula()} with charge {total or 0} has {n_electrons} electrons, which cannot have "
            f"the multiplicity {spin} (2S + 1){origin}: change charge or multiplicity"
        )
    return ElectronicState(total or 0, spin)


def with_state(atoms: Atoms, charge: int | None, multiplicity: int | None, *, said_by: str) -> Atoms:
    """Copy of a structure that has charge and multiplicity written into its `info`, where they are given.

    Raises
    ------
    InputError
        As `resolve_state`, for what is given beside what the structure says already.

    Examples
    --------
    >>> ion = with_state(Atoms("Li"), 1, None, said_by="--charge")
    >>> resolve_state(ion)
    ElectronicState(charge=1, multiplicity=1)
    """
    resolve_state(atoms, charge=charge, multiplicity=multiplicity, said_by=said_by)
    told = atoms.copy()
    for name, value in (("charge", charge), ("multiplicity", multiplicity)):
        if value is not None:
            told.info[name] = value
    return told


def _initial(atoms: Atoms, name: str) -> tuple[float, ...]:
    values = atoms.arrays.get(name)
    return () if values is None or not np.any(values) else tuple(np.ravel(values).tolist())


def _said(value: int | None, origin: str) -> Iterable[tuple[int, str]]:
    return [] if value is None else [(whole_number(value, "a charge or multiplicity", origin), origin)]


def _charges_said(atoms: Atoms) -> Iterable[tuple[int, str]]:
    charges = _initial(atoms, "initial_charges")
    if charges:
        yield _whole_sum(charges, "initial charges"), "its initial charges"
    if "charge" in atoms.info:
        yield whole_number(atoms.info["charge"], "the charge", "atoms.info"), "atoms.info['charge']"


def _multiplicities_said(atoms: Atoms) -> Iterable[tuple[int, str]]:
    moments = _initial(atoms, "initial_magmoms")
    if moments and not atoms.pbc.any():
        if len(moments) != len(atoms):
            raise InputError(
                f"the initial magnetic moments of {atoms.get_chemical_formula()} are vectors: a molecule has one "
                "multiplicity, give one number an atom"
            )
        if min(moments) < 0 < max(moments):
            raise InputError(
                f"the initial magnetic moments of {atoms.get_chemical_formula()} have both signs, but a state of "
                "broken symmetry cannot be asked for: give moments of one sign, which sum to the unpaired electrons"
            )
        yield 1 + abs(_whole_sum(moments, "initial magnetic moments")), "its initial magnetic moments"
    if "multiplicity" in atoms.info:
        value = whole_number(atoms.info["multiplicity"], "the multiplicity", "atoms.info")
        yield value, "atoms.info['multiplicity']"
    if "spin" in atoms.info:
        unpaired = whole_number(atoms.info["spin"], "the number of unpaired electrons, spin,", "atoms.info")
        yield 1 + unpaired, f"atoms.info['spin'] = {unpaired}, the number of unpaired electrons"


def _agreed(atoms: Atoms, name: str, said: list[tuple[int, str]]) -> int | None:
    """The one value that all name; None where nobody says anything."""
    for value, origin in said[1:]:
        if value != said[0][0]:
            raise InputError(
                f"{atoms.get_chemical_formula()} has {name} {said[0][0]} by {said[0][1]} and {value} by {origin}: "
                "say it once, or twice the same"
            )
    return said[0][0] if said else None


def whole_number(value: Any, name: str, origin: str) -> int:
    """Whole number of any numeric type, as an int.

    Raises
    ------
    InputError
        If it is none; the message calls it `name`, from `origin`.
    """
    number = value.item() if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1 else value
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not math.isfinite(number)
        or number != round(number)
    ):
        raise InputError(f"{name} must be a whole number, got {value!r} from {origin}")
    return round(number)


def _whole_sum(values: tuple[float, ...], name: str) -> int:
    total = math.fsum(values)
    if not abs(total - np.rint(total)) <= WHOLE_WITHIN:
        raise InputError(
            f"the {name} sum to {total:g}, which is no whole number: correct them, or remove them"
        )
    return round(total)


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
    >>> from ase.calculators.emt import EMT
    >>> print(target_state(EMT(), Atoms("Cu")))
    charge 0, multiplicity 2
    """
    options = getattr(target, "parameters", None) or {}
    return resolve_state(
        atoms,
        charge=options.get("charge"),
        multiplicity=options.get("multiplicity", options.get("mult")),
        said_by=f"the target {getattr(target, 'name', type(target).__name__)}",
    )


def refuse_unheard_state(spec: str, atoms: Atoms, options: dict[str, Any]) -> None:
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
