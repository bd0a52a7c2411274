"""A target on part of the atoms: those of which a surrogate is unsure, in a cut-out with a shell of others round them.

Only for targets whose forces come from near atoms; whether they do is measured, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import ask
from ase_proxima.types import Prediction

__all__ = ["Buffer", "CutOut", "LocalCalculator", "converged_buffer", "cut_out", "local_forces"]

START = 4.0
"""Å: the smallest buffer that is tried; less is not even the nearest neighbours' neighbours of a metal."""
STEP = 1.5
"""Å: by how much a buffer grows until the forces no longer change; half the distance of nearest neighbours or so."""
GROWTH = 1.25
"""By how much the number of atoms must grow for two shells to be compared: forces that do not change as no atom came
in say nothing."""
CHECK_EVERY = 20
"""Local calls after which the buffer is compared with the next larger one, at the cost of that one calculation."""

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class CutOut:
    """Part of a structure, as a cluster in vacuum.

    Attributes
    ----------
    atoms
        The cluster, not periodic.
    core
        Indices of the core atoms in the cluster, in the order in which they were asked for.
    """

    atoms: Atoms
    core: NDArray[np.intp]


@dataclass(frozen=True)
class Buffer:
    """Thickness of a shell that is enough.

    Attributes
    ----------
    thickness
        In Å.
    n_atoms
        Atoms of the cut-out with it.
    change
        Largest change of a core atom's force with a shell thicker by `STEP`, or in the whole structure, in eV/Å.
    n_computed
        Atoms in all cut-outs that were computed to find it.
    """

    thickness: float
    n_atoms: int
    change: float
    n_computed: int


def cut_out(atoms: Atoms, core: Sequence[int], buffer: float) -> CutOut:
    """Core atoms and all within `buffer` of one of them, periodic images included.

    Core atoms must hang together: each within twice the buffer of another one, or they are a cluster each, side by side
    and too far apart to notice each other.

    Parameters
    ----------
    atoms
        The whole structure.
    core
        Indices of the atoms whose forces are wanted.
    buffer
        In Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> part = cut_out(bulk("Al", cubic=True) * 5, [0], 3.0)
    >>> len(part.atoms), part.core.tolist()
    (13, [0])
    """
    wrapped = atoms.copy()
    wrapped.wrap()
    positions, cell = wrapped.positions, wrapped.cell.array
    shifts = _shifts(wrapped, 2 * buffer)
    tree = cKDTree((positions + (shifts @ cell)[:, None, :]).reshape(-1, 3))

    def within(i: int, radius: float) -> Iterator[tuple[int, NDArray[np.int_]]]:
        """Atoms round atom `i`, with their images relative to it."""
        for k in sorted(tree.query_ball_point(positions[i], radius)):
            yield k % len(atoms), shifts[k // len(atoms)]

    images = _images(list(core), partial(within, radius=2 * buffer))
    members: dict[tuple[int, ...], None] = {(i, *images[i].tolist()): None for i in core}
    for i in core:
        for j, shift in within(i, buffer):
            members.setdefault((j, *(images[i] + shift).tolist()))
    found = np.array(list(members))
    cluster = Atoms(wrapped.numbers[found[:, 0]], positions[found[:, 0]] + found[:, 1:] @ cell)
    return CutOut(cluster, np.arange(len(core)))


def _shifts(atoms: Atoms, reach: float) -> NDArray[np.int_]:
    """Shifts of the cell, shape (n_shifts, 3), that bring an image within `reach` of an atom in the cell."""
    heights = [
        1.0 / np.linalg.norm(row) if periodic else np.inf
        for row, periodic in zip(atoms.cell.reciprocal().array, atoms.pbc, strict=True)
    ]
    most = [int(np.ceil(reach / height)) for height in heights]
    return np.array(list(product(*(range(-n, n + 1) for n in most))))


def _images(
    core: list[int], near: Callable[[int], Iterable[tuple[int, NDArray[np.int_]]]]
) -> dict[int, NDArray[np.int_]]:
    """Which periodic image of each core atom stands next to those found before."""
    images: dict[int, NDArray[np.int_]] = {}
    wanted = set(core)
    for start in core:
        if start in images:
            continue
        images[start] = np.zeros(3, int)
        waiting = [start]
        while waiting:
            i = waiting.pop()
            for j, shift in near(i):
                if j in wanted and j not in images:
                    images[j] = images[i] + shift
                    waiting.append(j)
    return images


def local_forces(
    target: BaseCalculator, atoms: Atoms, core: Sequence[int], buffer: float
) -> tuple[Positions, int]:
    """Forces on core atoms, from a cut-out, and how many atoms that was.

    Returns
    -------
    forces : array, shape (n_core, 3)
        In eV/Å.
    n_atoms : int
        Atoms of the cut-out.
    """
    part = cut_out(atoms, core, buffer)
    return np.asarray(ask(target, part.atoms, ["forces"])["forces"])[part.core], len(part.atoms)


def converged_buffer(
    target: BaseCalculator, atoms: Atoms, core: Sequence[int], tolerance: float, *, start: float = START
) -> Buffer:
    """Smallest buffer, in steps, beyond which the forces on the core change by no more than `tolerance`.

    Parameters
    ----------
    target, atoms, core
        See `local_forces`.
    tolerance
        In eV/Å.
    start
        Buffer to begin with, in Å.

    Raises
    ------
    InputError
        If the forces still change when the cut-out has become as large as the structure.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> aluminium = bulk("Al", cubic=True) * 5
    >>> aluminium.rattle(0.05, seed=1)
    >>> found = converged_buffer(EMT(), aluminium, [0], tolerance=0.01)
    >>> found.n_atoms < len(aluminium) and found.change < 0.01
    True
    """
    if not tolerance > 0:
        raise InputError(f"the tolerance of a buffer must be positive, got {tolerance} eV/Å")
    thickness = start
    forces, n_atoms = local_forces(target, atoms, core, thickness)
    n_computed = n_atoms
    while n_atoms < len(atoms):
        further, larger, n_larger = _forces_beyond(target, atoms, core, thickness, n_atoms)
        n_computed += n_larger
        change = float(np.linalg.norm(larger - forces, axis=1).max())
        if change <= tolerance:
            return Buffer(thickness, n_atoms, change, n_computed)
        thickness, forces, n_atoms = further, larger, n_larger
    raise InputError(
        f"the forces on {len(core)} of {len(atoms)} atoms still change when {n_atoms} atoms are computed: the target "
        "is not short-ranged enough for a structure of this size, compute it as a whole"
    )


def _forces_beyond(
    target: BaseCalculator, atoms: Atoms, core: Sequence[int], thickness: float, n_atoms: int
) -> tuple[float, Positions, int]:
    """Forces as `local_forces` has them with the next shell, and its thickness; the whole structure's where that is
    no larger.
    """
    while True:
        thickness += STEP
        part = cut_out(atoms, core, thickness)
        if len(part.atoms) >= len(atoms):
            return thickness, np.asarray(ask(target, atoms, ["forces"])["forces"])[list(core)], len(atoms)
        if len(part.atoms) >= GROWTH * n_atoms:
            forces = np.asarray(ask(target, part.atoms, ["forces"])["forces"])[part.core]
            return thickness, forces, len(part.atoms)


class LocalCalculator(BaseCalculator):  # type: ignore[misc]  # ASE has no types
    """Forces of a surrogate, and of the target on the atoms of which the surrogate is unsure.

    The surrogate does not learn here: it is one that a run has trained.  Nothing but forces is offered, since an
    energy of part of the atoms has no meaning.

    Parameters
    ----------
    target
        A short-ranged calculator.
    predict
        `predict(atoms) -> Prediction` with a standard deviation of the forces, such as a trained surrogate's method.
    threshold
        Standard deviation of an atom's force, in eV/Å, from which on the target is asked for it.
    tolerance
        How much the forces on these atoms may change with a larger shell, in eV/Å.

    Attributes
    ----------
    n_calls, n_local, n_whole
        All calls, those in which the target computed a part, and those in which it computed the whole, as the part
        would have been as large.
    n_atoms, n_atoms_computed
        Atoms of all calls, and those that the target computed for them.
    n_atoms_checked
        Atoms that it computed to find the buffer and to check it.
    buffer
        Thickness of the shell in Å; None before the first local call.

    Raises
    ------
    InputError
        If the target turns out not to be short-ranged enough.
    """

    implemented_properties = ["forces"]  # noqa: RUF012  ASE's own class attribute
    name = "local"

    def __init__(
        self,
        target: BaseCalculator,
        predict: Callable[[Atoms], Prediction],
        *,
        threshold: float,
        tolerance: float,
    ) -> None:
        super().__init__()
        for label, value in (("threshold", threshold), ("tolerance", tolerance)):
            if not value > 0:
                raise InputError(f"{label} of a LocalCalculator must be positive, got {value}")
        self.target, self.predict = target, predict
        self.threshold, self.tolerance = threshold, tolerance
        self.buffer: float | None = None
        self.n_calls = self.n_local = self.n_whole = 0
        self.n_atoms = self.n_atoms_computed = self.n_atoms_checked = 0

    def unsure(self, prediction: Prediction) -> NDArray[np.intp]:
        """Indices of the atoms whose forces the target is asked for.

        Raises
        ------
        InputError
            If the surrogate does not know the standard deviation of forces.
        """
        std = prediction.std.get("forces")
        if std is None:
            raise InputError(
                "this surrogate knows no standard deviation of the forces, without which there is nothing local to "
                "say: use gradient_gp or the Bayesian linear model"
            )
        return np.flatnonzero(~(np.linalg.norm(std, axis=1) < self.threshold))

    def calculate(self, atoms: Atoms, properties: Iterable[str], system_changes: Iterable[str]) -> None:  # noqa: ARG002
        """Predict, and let the target compute what is left."""
        prediction = self.predict(atoms)
        forces = np.array(prediction.results["forces"], float)
        core = self.unsure(prediction).tolist()
        self.n_calls += 1
        self.n_atoms += len(atoms)
        if core:
            forces = self._corrected(atoms, core, forces)
        self.results["forces"] = forces

    def _corrected(self, atoms: Atoms, core: list[int], forces: Positions) -> Positions:
        """Forces with those of the target on the core."""
        part = cut_out(atoms, core, self.buffer or START)
        if len(part.atoms) < len(atoms) and (
            self.buffer is None or self.n_local % CHECK_EVERY == CHECK_EVERY - 1
        ):
            found = converged_buffer(self.target, atoms, core, self.tolerance, start=self.buffer or START)
            self.n_atoms_checked += found.n_computed
            self.buffer = found.thickness
            part = cut_out(atoms, core, self.buffer)
        if len(part.atoms) >= len(atoms):
            self.n_whole += 1
            self.n_atoms_computed += len(atoms)
            return np.asarray(ask(self.target, atoms, ["forces"])["forces"])
        self.n_local += 1
        self.n_atoms_computed += len(part.atoms)
        forces[core] = np.asarray(ask(self.target, part.atoms, ["forces"])["forces"])[part.core]
        return forces
