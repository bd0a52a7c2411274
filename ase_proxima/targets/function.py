"""A user's own function as target."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, all_changes, all_properties

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import (
    MissingPropertyError,
    StateAwareCalculator,
    adapt,
    checked,
    sound_names,
)

__all__ = ["FunctionCalculator", "import_name", "load_target"]


class FunctionCalculator(StateAwareCalculator):
    """A function of a structure as an ASE calculator.

    Parameters
    ----------
    function
        Takes `ase.Atoms` and returns a mapping from ASE's property names to values in eV, eV/Å and eV/Å³, or
        the energy alone, as a number. What else is in the mapping is left there.
    properties
        What it returns; None for its attribute `implemented_properties`, else the energy alone where it
        is annotated `-> float`, else energy and forces, which are then assumed.

    Attributes
    ----------
    assumed_properties : tuple of str
        Those that nobody said that the function returns.

    Raises
    ------
    InputError
        If `properties` are no names of ASE's.
    MissingPropertyError
        If a result is missing.
    ase.calculators.calculator.CalculationFailed
        If a result has the wrong shape or is not finite.

    Examples
    --------
    >>> def spring(atoms) -> float:
    ...     return 0.5 * (atoms.get_distance(0, 1) - 1.0) ** 2
    >>> atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.2]], calculator=FunctionCalculator(spring))
    >>> atoms.get_potential_energy()
    0.02
    """

    name = "function"

    def __init__(
        self, function: Callable[[Atoms], Mapping[str, Any] | float], properties: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        if properties is None:
            properties = getattr(function, "implemented_properties", None)
        self.assumed_properties: tuple[str, ...] = ()
        if properties is None:
            returns = getattr(function, "__annotations__", {}).get("return")
            properties = ("energy",) if returns in (float, "float") else ("energy", "forces")
            self.assumed_properties = tuple(properties)
        label = getattr(function, "__name__", type(function).__name__)
        self.implemented_properties = sound_names(label, properties)
        self.parameters["function"] = label
        self._function = function
        self.n_calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Call the function on a copy of `atoms`."""
        super().calculate(atoms, properties, system_changes)
        returned = self._function(self.atoms.copy())
        self.n_calls += 1
        results = dict(returned) if isinstance(returned, Mapping) else {"energy": returned}
        label = getattr(self._function, "__name__", "the function")
        n_atoms = len(self.atoms)
        kept = {*all_properties, *self.implemented_properties}
        self.results.update(
            {
                name: checked(name, value, n_atoms, source=label)
                for name, value in results.items()
                if name in kept
            }
        )
        for name in properties:
            if name not in results:
                raise MissingPropertyError(
                    f"{label} returned no {name!r}, only {list(results)}: return it, or list what it "
                    "returns in its attribute implemented_properties"
                )


def load_target(module_name: str, function_name: str, **options: Any) -> BaseCalculator:
    """Import a calculator, a factory of one, or a function to wrap.

    Modules are found where Python finds them, and in the current folder.

    Parameters
    ----------
    module_name, function_name
        Where it is, as in `from module_name import function_name`.
    **options
        Keyword arguments for the factory.

    Raises
    ------
    InputError
        If there is no such module or name, or it is none of the three.
    """
    spec = f"{module_name}:{function_name}"
    with _current_folder_importable():
        made = _import("target", module_name, function_name)
        if not isinstance(made, type) and hasattr(made, "get_potential_energy"):
            return adapt(made)
        if not callable(made):
            raise InputError(f"target {spec!r} is a {type(made).__name__}: name a calculator or a function")
        if _needs_one_argument(made):
            if options:
                raise InputError(f"target {spec!r} takes the structure alone, got options {sorted(options)}")
            return FunctionCalculator(made)
        try:
            calculator = made(**options)
        except Exception as error:  # foreign code
            raise InputError(
                f"cannot call target {spec!r} with options {sorted(options)}: {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
    if not hasattr(calculator, "get_potential_energy"):
        raise InputError(
            f"target {spec!r} returned a {type(calculator).__name__}: return an ASE calculator, or take the "
            "structure as the only argument"
        )
    return adapt(calculator)


def import_name(what: str, spec: str) -> Any:
    """Import `MODULE:NAME`, where Python finds modules and in the current folder.

    Raises
    ------
    InputError
        If it is not of that form, or there is no such module or name.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise InputError(f"{what} {spec!r} must be MODULE:NAME")
    with _current_folder_importable():
        return _import(what, module_name, name)


def _import(what: str, module_name: str, name: str) -> Any:
    spec = f"{module_name}:{name}"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # foreign code
        raise InputError(
            f"cannot import the module of {what} {spec!r}: {' '.join(str(error).split())}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise InputError(f"module {module_name!r} has no {name!r}, asked for by {what} {spec!r}") from error


def _needs_one_argument(function: Callable[..., Any]) -> bool:
    """Whether it is a function of the structure, rather than a factory."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return len(required) == 1


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
