"""Which call is it, of which calculator?  What a target may read of an input, as a fingerprint and as a comparison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from ase import Atoms

from ase_proxima.errors import InputError
from ase_proxima.types import Frame

__all__ = [
    "ELECTRONIC_INFO",
    "INITIAL",
    "calculator_identity",
    "calculator_name",
    "checksum",
    "electronic_state",
    "fingerprint",
    "same_frame",
    "same_input",
]

ELECTRONIC_INFO = ("charge", "spin", "multiplicity")
"""Entries of `atoms.info` that say which electronic state is meant."""

INITIAL = ("initial_charges", "initial_magmoms")
"""Arrays of the atoms that do."""


def electronic_state(atoms: Atoms) -> dict[str, Any]:
    """Initial charges and magnetic moments, where they are not zero, and charge, spin and multiplicity.

    Raises
    ------
    InputError
        If an entry of `atoms.info` is no number.

    Examples
    --------
    >>> electronic_state(Atoms("H", info={"charge": 1, "comment": "a proton"}))
    {'charge': 1.0}
    """
    state: dict[str, Any] = {}
    for name in ELECTRONIC_INFO:
        value = atoms.info.get(name)
        if value is None:
            continue
        if not isinstance(value, Real) or isinstance(value, bool):
            raise InputError(
                f"atoms.info[{name!r}] must be a number, got {value!r}: write the number, or take the entry out"
            )
        state[name] = float(value)
    for name in INITIAL:
        values = atoms.arrays.get(name)
        if values is not None and values.any():
            state[name] = np.asarray(values, float).tolist()
    return state


def fingerprint(x: Any) -> str:
    """Fingerprint of all that a target may read of an input, to the last bit.

    Of `ase.Atoms`: species, positions, cell, periodicity and the electronic state; of anything else, its numbers.

    Examples
    --------
    >>> water = Atoms("H", [[0.0, 0.0, 0.1]])
    >>> fingerprint(water) == fingerprint(water.copy())
    True
    >>> ion = water.copy()
    >>> ion.info["charge"] = 1
    >>> fingerprint(ion) == fingerprint(water)
    False
    """
    digest = hashlib.blake2b(digest_size=8)
    if not isinstance(x, Atoms):
        digest.update(np.ascontiguousarray(x).data)
        return digest.hexdigest()
    for array in (x.numbers, x.positions, x.cell.array, x.pbc):
        digest.update(np.ascontiguousarray(array).data)
    if x.info or not x.arrays.keys().isdisjoint(INITIAL):
        state = electronic_state(x)
        if state:
            digest.update(repr(sorted(state.items())).encode())
    # A letter first: ASE refuses words in its database that look like numbers.
    return "s" + digest.hexdigest()


def checksum(frame: Frame) -> str:
    """Fingerprint of an input with all its results, to tell a frame that was changed since it was written.

    Examples
    --------
    >>> a, b = (Frame(np.zeros(2), {"value": value}) for value in (0.5, 0.25))
    >>> checksum(a) == checksum(a), checksum(a) == checksum(b)
    (True, False)
    """
    digest = hashlib.blake2b(fingerprint(frame.x).encode(), digest_size=8)
    for name in sorted(frame.results):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(frame.results[name], dtype=float).data)
    return "c" + digest.hexdigest()


def same_input(a: Any, b: Any) -> bool:
    """Whether two inputs are the same to the last bit, by what a target may read of them.

    Examples
    --------
    >>> same_input(np.array([0.1, 0.2]), np.array([0.1, 0.2])), same_input(Atoms("H"), Atoms("He"))
    (True, False)
    """
    if a is b:
        return True
    if isinstance(a, Atoms) and isinstance(b, Atoms):
        return (
            np.array_equal(a.positions, b.positions)
            and np.array_equal(a.numbers, b.numbers)
            and np.array_equal(a.cell.array, b.cell.array)
            and np.array_equal(a.pbc, b.pbc)
            and electronic_state(a) == electronic_state(b)
        )
    return bool(np.array_equal(a, b))


def same_frame(a: Frame, b: Frame) -> bool:
    """Whether two frames have the same input, step and energy, or value."""
    if a is b:
        return True
    if a.step != b.step or not same_input(a.x, b.x):
        return False
    return all(
        np.array_equal(a.results.get(name, np.nan), b.results.get(name, np.nan), equal_nan=True)
        for name in ("energy", "value")
    )


def calculator_name(calculator: Any) -> str:
    """Name of a calculator as in ASE's databases, or that of its class.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> calculator_name(EMT())
    'emt'
    """
    name = getattr(calculator, "name", None)
    return name if isinstance(name, str) and name else type(calculator).__name__.lower()


def calculator_identity(calculator: Any) -> dict[str, Any]:
    """Name and parameters of a calculator, as far as they are words and numbers.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> calculator_identity(EMT())
    {'name': 'emt', 'parameters': {'asap_cutoff': False}}
    """
    parameters = getattr(
        calculator, "parameters", None
    )  # a method where the calculator is a module of torch too
    plain = _plain(parameters) if isinstance(parameters, Mapping) else {}
    return {"name": calculator_name(calculator), "parameters": plain}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [_plain(item) for item in (sorted(value, key=repr) if isinstance(value, set) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return type(value).__name__
    return value
