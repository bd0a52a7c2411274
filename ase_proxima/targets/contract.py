"""What any calculator is asked, and what it returns: checked in one gate, and brought into one shape.

A result that fails a check is a failure of the target like any other: it is asked again, and nothing of it is kept.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    CalculationFailed,
    Calculator,
    PropertyNotImplementedError,
    all_properties,
)
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.types import Results
from ase_proxima.types.identity import INITIAL, electronic_state
from ase_proxima.types.words import is_plural

__all__ = [
    "MissingPropertyError",
    "OldStyleCalculator",
    "StateAwareCalculator",
    "adapt",
    "ask",
    "ask_offered",
    "checked",
    "drop_assumed",
    "has_stress",
    "missing_program",
    "offered",
    "sound_names",
]

OLD_STYLE = {"energy": "get_potential_energy", "forces": "get_forces", "stress": "get_stress"}
"""What a calculator from before ASE's own base class can be asked, and how."""

SHELL_WORDS = frozenset(";&|$`(){}")
"""A command line with one of these is the shell's to read."""

_Shapes = Callable[[int], Sequence[tuple[int, ...]]]
SHAPES: dict[str, _Shapes] = {
    "energy": lambda n: [()],  # noqa: ARG005
    "free_energy": lambda n: [()],  # noqa: ARG005
    "magmom": lambda n: [()],  # noqa: ARG005
    "dipole": lambda n: [(3,)],  # noqa: ARG005
    "stress": lambda n: [(6,)],  # noqa: ARG005
    "energies": lambda n: [(n,)],
    "charges": lambda n: [(n,)],
    "magmoms": lambda n: [(n,), (n, 3)],
    "forces": lambda n: [(n, 3)],
    "stresses": lambda n: [(n, 6), (n, 3, 3)],
}
"""Shapes of ASE's properties, for n atoms; `stress` after it was brought into Voigt's order."""


class MissingPropertyError(InputError, PropertyNotImplementedError):  # type: ignore[misc]  # ASE has no types
    """A calculator announces a property and does not return it: a mistake to mend, and for ASE a property that is not
    implemented.
    """


def adapt(calculator: Any, *, role: str = "target") -> BaseCalculator:
    """Calculator with ASE's interface, for one that has it or has the one of before.

    Parameters
    ----------
    calculator
        A calculator, not its class.
    role
        What it is to be, for messages.

    Raises
    ------
    InputError
        If it is no calculator, or announces nothing that it calculates.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> adapt(EMT).implemented_properties
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: target must be an ASE calculator, got the class EMT: ...
    """
    if not isinstance(calculator, type):
        if hasattr(calculator, "get_property") and hasattr(calculator, "implemented_properties"):
            sound_names(f"{role} {type(calculator).__name__}", calculator.implemented_properties)
            return calculator
        if callable(getattr(calculator, "get_potential_energy", None)) and not isinstance(calculator, Atoms):
            return OldStyleCalculator(calculator)
    got = f"the class {calculator.__name__}" if isinstance(calculator, type) else type(calculator).__name__
    raise InputError(
        f"{role} must be an ASE calculator, got {got}: pass an object such as ase.calculators.emt.EMT(), or use the "
        "decorator for a function"
    )


def sound_names(owner: str, announced: Any) -> list[str]:
    """Names in the `implemented_properties` of `owner`, one of them at least a property of ASE.

    Raises
    ------
    InputError
        If it is no sequence of such names.

    Examples
    --------
    >>> sound_names("target my_dft", "energy")
    Traceback (most recent call last):
        ...
    ase_proxima.errors.InputError: the implemented_properties of target my_dft must be a list of ASE's names, ...
    """
    is_list = isinstance(announced, Iterable) and not isinstance(announced, str)
    names = list(announced) if is_list else []
    if not any(name in all_properties for name in names):
        raise InputError(
            f"the implemented_properties of {owner} must be a list of ASE's names, got {announced!r}: list what it "
            'returns, such as ["energy", "forces"]'
        )
    return names


def drop_assumed(calculator: BaseCalculator, atoms: Atoms) -> None:
    """Leave out of what a calculator offers what was only assumed of it, and is not returned for a structure.

    It costs nothing where the first call is for the same structure, as the calculator keeps its latest results: forces
    first, since what it does not find among these it calculates again. Where it fails, or returns nothing, nothing is
    left out: the first call tells of it.
    """
    missing = set()
    for name in sorted(getattr(calculator, "assumed_properties", ()), key=lambda name: name != "forces"):
        try:
            calculator.get_property(name, atoms.copy())
        except MissingPropertyError:
            missing.add(name)
        except (Exception, SystemExit):  # foreign code
            return
    left = [name for name in calculator.implemented_properties if name not in missing]
    if missing and left:
        calculator.implemented_properties = left


def offered(calculator: BaseCalculator) -> tuple[str, ...]:
    """ASE's properties among those that a calculator implements, in its order, each once."""
    return tuple(name for name in dict.fromkeys(calculator.implemented_properties) if name in all_properties)


class OldStyleCalculator(BaseCalculator):  # type: ignore[misc]  # ASE has no types
    """A calculator with `get_potential_energy(atoms)` and the like, such as those of Asap, behind ASE's interface.

    Parameters
    ----------
    calculator
        The calculator; it gets a new copy of the atoms for every calculation.
    """

    def __init__(self, calculator: Any) -> None:
        super().__init__()
        self.stands_for = calculator
        self.implemented_properties = [
            name for name, method in OLD_STYLE.items() if callable(getattr(calculator, method, None))
        ]

    def _get_name(self) -> str:
        return type(self.stands_for).__name__.lower()

    def calculate(self, atoms: Atoms, properties: Iterable[str], system_changes: Iterable[str]) -> None:  # noqa: ARG002
        """Ask for the properties, each with the same copy of the atoms."""
        copy = atoms.copy()
        copy.calc = self.stands_for  # which tells it of the atoms, where it wants to be told
        for name in properties:
            self.results[name] = getattr(self.stands_for, OLD_STYLE[name])(copy)


class StateAwareCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """A calculator that notices another charge or multiplicity in `atoms.info`, at which ASE does not look."""

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation."""
        changes = list(super().check_state(atoms, tol))
        if self.atoms is not None and not changes and electronic_state(self.atoms) != electronic_state(atoms):
            changes = list(INITIAL)
        return changes


def ask(calculator: BaseCalculator, atoms: Atoms, properties: Sequence[str]) -> Results:
    """Properties of a structure, each asked for with a copy of its own.

    They are asked for through `get_property`, which keeps the calculator's own state right; forces first, as most
    calculators find the energy on the way.

    Returns
    -------
    mapping
        Floats and arrays of 64-bit floats, in the order of `properties`.

    Raises
    ------
    CalculationFailed
        If a result is no such number; the calculator then forgets it, so that the next call calculates again.
    MissingPropertyError
        If the calculator announces a property and does not return it.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> ask(EMT(), molecule("N2"), ["energy", "forces"])["forces"].shape
    (2, 3)
    """
    found: dict[str, Any] = {}
    for name in sorted(properties, key=lambda name: name != "forces"):
        try:
            value = calculator.get_property(name, atoms.copy())
        except MissingPropertyError:
            raise
        except NotImplementedError as error:
            _forget(calculator)
            if not isinstance(error, PropertyNotImplementedError):
                raise MissingPropertyError(
                    f"{calculator.name} cannot compute {name} of {atoms.get_chemical_formula()} "
                    f"({' '.join(str(error).split()) or type(error).__name__}): choose another target, or leave {name} "
                    "out by properties=[...] where it gives the others"
                ) from error
            raise MissingPropertyError(
                f"{calculator.name} announces {name} and did not return {'them' if is_plural(name) else 'it'} "
                f"({' '.join(str(error).split()) or type(error).__name__}): leave {name} out of its "
                "implemented_properties, or choose others by properties=[...]"
            ) from error
        try:
            found[name] = checked(name, value, len(atoms))
        except CalculationFailed:
            _forget(calculator)
            raise
    return {name: found[name] for name in properties}


def has_stress(atoms: Atoms) -> bool:
    """Whether a structure has a stress: in a cell with three periodic axes."""
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3


def ask_offered(calculator: BaseCalculator, atoms: Atoms, names: Iterable[str]) -> Results:
    """Of the properties `names`, those that the calculator offers and the structure has; see `ask`."""
    known = offered(calculator)
    wanted = [name for name in dict.fromkeys(names) if name in known]
    return ask(calculator, atoms, [name for name in wanted if name != "stress" or has_stress(atoms)])


def checked(
    name: str, value: Any, n_atoms: int, *, source: str = "the calculator"
) -> float | NDArray[np.float64]:
    """A result as ASE reads it: one number for an energy of shape (1,), six for a stress of 3 by 3.

    Parameters
    ----------
    name
        ASE's name of the property.
    value
        What was returned for it.
    n_atoms
        Number of atoms.
    source
        What returned it, for messages.

    Raises
    ------
    CalculationFailed
        If it has another shape than the property, or is complex, masked, no number, or not finite.

    Examples
    --------
    >>> checked("energy", np.array([-1.5]), 2)
    -1.5
    >>> checked("stress", np.diag([1.0, 2.0, 3.0]), 2)
    array([1., 2., 3., 0., 0., 0.])
    >>> checked("forces", np.zeros((1, 3)), 2)
    Traceback (most recent call last):
        ...
    ase.calculators.calculator.CalculationFailed: the calculator returned forces of shape (1, 3) for 2 atoms: ...
    """
    are, they = ("are", "they") if is_plural(name) else ("is", "it")
    masked = isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value).any())
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise CalculationFailed(
            f"{source} returned {name} that {are} no array of numbers: {error}"
        ) from error
    if masked or array.dtype.kind not in "fiu":
        kind = array.dtype if array.ndim or array.dtype != object else type(value).__name__
        kind = "masked values" if masked else f"values of type {kind}"
        raise CalculationFailed(f"{source} returned {name} with {kind}: real numbers are wanted")
    numbers = np.array(array, dtype=float)
    if name == "stress" and numbers.shape == (3, 3):
        numbers = np.asarray(full_3x3_to_voigt_6_stress(numbers), dtype=float)
    shapes = SHAPES[name](n_atoms) if name in SHAPES else [numbers.shape]
    if shapes == [()] and numbers.size == 1:
        numbers = numbers.reshape(())
    if numbers.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise CalculationFailed(
            f"{source} returned {name} of shape {numbers.shape} for {n_atoms} atoms: {they} must be {wanted}"
        )
    if not np.isfinite(numbers).all():
        raise CalculationFailed(f"{source} returned {name} that {are} not finite")
    return float(numbers) if numbers.ndim == 0 else numbers


def _forget(calculator: BaseCalculator) -> None:
    """Let the next call calculate anew, where there is a cache."""
    if isinstance(calculator, Calculator):
        calculator.reset()
    elif isinstance(getattr(calculator, "results", None), dict):
        calculator.results = {}


def missing_program(calculator: Any) -> str | None:
    """Program that a calculator of ASE will want to run and that is not there; None where none is missing.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> missing_program(EMT()) is None
    True
    """
    profile = getattr(calculator, "profile", None)
    if profile is None or not hasattr(profile, "command"):
        return None
    command = profile.command
    if command is None:
        return "its command is not set"
    if SHELL_WORDS.isdisjoint(command):
        words = [word for word in shlex.split(command) if "=" not in word]
        if words and shutil.which(words[0]) is None:
            return f"the program {words[0]!r} is not on the path"
    return None
