"""A committee: several calculators that answer together, and whose disagreement is the uncertainty."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.types import Frame, Prediction, Results

__all__ = ["Committee"]

FILE = "committee.json"
OFFERED = ("energy", "forces", "stress")


class Committee:
    """Several calculators of one system: their mean answers, their standard deviation ranks the error.

    The members come trained. The committee is used as it is, so it goes with `training="never"`.

    Parameters
    ----------
    members : iterable of ase calculator
        At least two, different from each other: models of different random seeds, or different models.

    Attributes
    ----------
    members : tuple of ase calculator
    member_results : tuple of mapping
        What each member gave at the latest `predict`, in the order of the members.
    usual_uncertainty : str
        What `uncertainty="auto"` stands for.

    Raises
    ------
    InputError
        If there are fewer than two members, one is no calculator, one is there twice, or they offer nothing in
        common.

    References
    ----------
    Zhang, Lin, Wang, Car, E, Phys. Rev. Mater. 3, 023804 (2019), doi:10.1103/PhysRevMaterials.3.023804: the
    standard deviation over models that differ in the seed alone.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_proxima.testing import HarmonicWells
    >>> committee = Committee([HarmonicWells([[0, 0, 0]], stiffness) for stiffness in (1.0, 3.0)])
    >>> prediction = committee.predict(Atoms("H", [[0.0, 0.0, 0.1]]))
    >>> float(prediction.results["energy"]), float(prediction.std["energy"])
    (0.01, 0.005)
    """

    incremental = False
    min_frames = 0
    usual_uncertainty = "ensemble"

    def __init__(self, members: Iterable[Any]) -> None:
        self.members = tuple(members)
        if len(self.members) < 2:
            raise InputError(f"a committee needs at least 2 members, got {len(self.members)}: add some")
        for i, member in enumerate(self.members):
            if isinstance(member, type) or not hasattr(member, "get_property"):
                kind = f"the class {member.__name__}" if isinstance(member, type) else type(member).__name__
                raise InputError(f"member {i} of a committee must be an ASE calculator, got {kind}")
        for (i, a), (j, b) in combinations(enumerate(self.members), 2):
            if a is b:
                raise InputError(
                    f"members {i} and {j} of the committee are one object: a copy never disagrees with itself"
                )
        offered = [_offered(member) for member in self.members]
        self.properties = tuple(name for name in OFFERED if all(name in names for names in offered))
        if not self.properties:
            raise InputError(
                f"the members of a committee must offer one of {', '.join(OFFERED)} in common, "
                f"got {'; '.join(', '.join(names) or 'nothing' for names in offered)}"
            )
        self.member_results: tuple[Results, ...] = ()
        self._undistinguished = set(combinations(range(len(self.members)), 2))

    def fit(self, frames: Sequence[Frame]) -> None:
        """Raise, as the members come trained.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f'a committee is not trained here, got {len(frames)} frames to learn from: use training="never"'
        )

    def predict(self, x: Any) -> Prediction:
        """Mean and standard deviation over the members, of each property that `x` has.

        The standard deviation is that of the members themselves (no Bessel correction), as in the usual model
        deviation.

        Raises
        ------
        InputError
            If two members give the same answer to the last bit: they are the same model.
        """
        names = [name for name in self.properties if name != "stress" or x.cell.rank == 3]
        self.member_results = tuple(_ask(member, x.copy(), names) for member in self.members)
        self._refuse_identical()
        stacks = {name: np.array([results[name] for results in self.member_results]) for name in names}
        return Prediction(
            {name: stack.mean(axis=0) for name, stack in stacks.items()},
            {name: stack.std(axis=0) for name, stack in stacks.items()},
        )

    def _refuse_identical(self) -> None:
        """Compare those pairs that no structure has told apart yet; zeros, as of an atom alone, tell nothing."""
        for i, j in sorted(self._undistinguished):
            a, b = self.member_results[i], self.member_results[j]
            if any(not np.array_equal(a[name], b[name], equal_nan=True) for name in a):
                self._undistinguished.discard((i, j))
            elif any(np.any(value) for value in a.values()):
                raise InputError(
                    f"members {i} and {j} of the committee give the same answer to the last bit: "
                    "train them with different seeds, or leave one out"
                )

    def save(self, folder: Path) -> None:
        """Write what the members are called; their parameters are the caller's to keep."""
        (folder / FILE).write_text(json.dumps(self._names()))

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:  # noqa: ARG002
        """Check that the members are of the kinds that were saved.

        Raises
        ------
        InputError
            If they are not.
        """
        saved = json.loads((folder / FILE).read_text())
        if saved != self._names():
            raise InputError(
                f"the committee was saved with the members {saved}, got {self._names()}: pass those of the run"
            )

    def _names(self) -> list[str]:
        return [getattr(member, "fingerprint", type(member).__name__) for member in self.members]

    def __repr__(self) -> str:
        return f"Committee({self._names()})"


def _offered(member: Any) -> tuple[str, ...]:
    """Properties that a calculator offers; one of the old style does not say, and is taken to offer all."""
    return tuple(getattr(member, "implemented_properties", None) or OFFERED)


def _ask(member: Any, atoms: Any, names: Sequence[str]) -> Results:
    """Values of a member, as arrays of its own; forces first, as they bring the energy along."""
    values = {
        name: np.array(member.get_property(name, atoms), float)
        for name in sorted(names, key=lambda name: name != "forces")
    }
    return {name: value if value.ndim else float(value) for name, value in values.items()}
