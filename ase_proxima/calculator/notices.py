"""What a calculator warns of, once each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from ase_proxima.errors import ProximaWarning
from ase_proxima.executor import Criterion
from ase_proxima.executor.differences import unresolved
from ase_proxima.types import Frame, Results
from ase_proxima.types.identity import calculator_name
from ase_proxima.types.words import is_plural

__all__ = ["Notices"]

REMEDIES = {
    "energy": 'bound it as well, error_bound={"energy_per_atom": ..., ...}',
    "forces": 'bound them as well, error_bound={"force_max": ..., ...}',
    "stress": 'bound it as well, error_bound={"stress": ..., ...}',
}

MOVED = 1e-3
"""Å: atoms that moved by so much against each other must change the answer of a target that sees them."""


@dataclass
class Notices:
    """Warnings of a run; `told` are those that were given."""

    told: set[str] = field(default_factory=set)

    def _tell(self, what: str, message: str) -> None:
        if what not in self.told:
            self.told.add(what)
            warnings.warn(message, ProximaWarning, stacklevel=3)

    def of_uncovered(self, names: Sequence[str]) -> None:
        """Warn of properties for which the target was asked as no bound covers them."""
        for name in names:
            remedy = REMEDIES.get(name, "ask for it rarely, or ask the target itself")
            it = "them" if is_plural(name) else "it"
            self._tell(
                name,
                f"no error bound covers {name}, so the target answers each call that asks for {it}: {remedy}",
            )

    def of_differences(self, criteria: Sequence[Criterion], atoms: Atoms, earlier: Sequence[Atoms]) -> bool:
        """Whether this is a finite difference that the bounds do not resolve; warn of it."""
        bounds: dict[str, float] = {}
        for criterion in criteria:
            per_cell = len(atoms) if criterion.name == "energy_per_atom" else 1
            if criterion.property is not None:
                bounds[criterion.property] = criterion.bound * per_cell
        if not unresolved(atoms, earlier, bounds):
            return False
        self._tell(
            "differences",
            "structures differ by less than the error bound resolves, as in finite differences: the target answers "
            "them; write `with calc.target_only():` round a Hessian, elastic constants or numerical derivatives",
        )
        return True

    def of_blindness(self, target: Any, latest: Sequence[Frame], atoms: Atoms, results: Results) -> None:
        """Warn of a target that gives equal bits for different structures: this and that of the `latest` frame."""
        if "blindness" in self.told or not latest or len(latest[-1].x) != len(atoms):
            return
        moved = atoms.positions - latest[-1].x.positions
        if not np.abs(moved - moved.mean(axis=0)).max() > MOVED:
            return
        same = all(
            np.array_equal(results[name], latest[-1].results.get(name, np.nan))
            for name in ("energy", "forces")
            if name in results
        )
        if same and np.any(results.get("forces", 1.0)):
            self._tell(
                "blindness",
                f"the target {calculator_name(target)} gave the same results to the last bit for two different "
                "structures: see whether it reads the positions of the atoms that it is given",
            )
