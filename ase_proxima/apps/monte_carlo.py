"""Metropolis sampling of a molecule or crystal at constant temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.random import Generator
from numpy.typing import NDArray

from ase_proxima.errors import InputError, RunDirectoryError, TargetError
from ase_proxima.runs.append_log import AppendLog, read_records

__all__ = [
    "ChainLog",
    "ChainRow",
    "ChainState",
    "Move",
    "accept",
    "energy_or_infinity",
    "inconsistency",
    "init",
    "propose",
    "radius_of_gyration",
    "replay",
    "sample",
    "step",
]

Positions = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Move:
    """How the chain moves.

    Attributes
    ----------
    temperature_K
        Temperature in K; `units.kB` is in eV/K, so that `kT` is in eV as the energies are.
    perturb
        Standard deviation of the normal step of each coordinate, in Å.
    fixed
        Indices of the atoms that stay where they are.  The step of the others is as likely as the step back, so that
        the chain samples the Boltzmann distribution of what is free; the molecule as a whole drifts where
        nothing is fixed, which no energy and no radius of gyration sees.
    """

    temperature_K: float  # noqa: N815  K is the unit
    perturb: float
    fixed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.temperature_K < math.inf:
            raise InputError(f"the temperature must be positive and finite, got {self.temperature_K} K")
        if not 0 < self.perturb < math.inf:
            raise InputError(f"the perturbation must be positive and finite, got {self.perturb} Å")

    @property
    def kT(self) -> float:  # noqa: N802  the field's own name
        """Thermal energy in eV."""
        return float(units.kB) * self.temperature_K


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the chain stands.

    Attributes
    ----------
    positions
        Shape (n_atoms, 3), in Å.
    energy
        In eV.
    n_steps, n_accepted
        Steps made so far, and how many of them were accepted.
    """

    positions: Positions
    energy: float
    n_steps: int = 0
    n_accepted: int = 0


@dataclass(frozen=True, slots=True)
class ChainRow:
    """One step: the energy of the structure that was asked for, what became of it, and where the chain stands.

    Attributes
    ----------
    step
        0 is the initial structure.
    proposed_energy, energy
        In eV.
    accepted
        Whether the chain moved to the proposed structure.
    radius_of_gyration
        Of the chain's structure after the step, in Å.
    """

    step: int
    proposed_energy: float
    accepted: bool
    energy: float
    radius_of_gyration: float


def init(positions: Positions, energy: float) -> ChainState:
    """Return a chain that stands at `positions` (n_atoms, 3) in Å with `energy` in eV."""
    return ChainState(np.array(positions, float), energy)


def propose(state: ChainState, rng: Generator, move: Move) -> tuple[Positions, float]:
    """Return proposed positions (n_atoms, 3) in Å, and the uniform number that will decide on them.

    Both are drawn at once and always, for fixed atoms too, so that the stream depends on the number of atoms alone.
    """
    shift = rng.normal(0.0, move.perturb, state.positions.shape)
    shift[list(move.fixed)] = 0.0
    return state.positions + shift, rng.random()


def accept(energy_change: float, uniform: float, kT: float) -> bool:
    """Metropolis' rule: accept with probability min(1, exp(-dE / kT)).

    Parameters
    ----------
    energy_change, kT : float
        In eV.
    uniform : float
        A number drawn uniformly from [0, 1).

    Examples
    --------
    >>> accept(-0.1, 0.99, kT=0.025), accept(0.025, 0.4, kT=0.025), accept(0.025, 0.3, kT=0.025)
    (True, False, True)
    """
    return energy_change <= 0 or uniform < math.exp(-energy_change / kT)


def energy_or_infinity(ask: Callable[[], float], *, reject_failures: bool) -> float:
    """Energy in eV; infinite, so that no rule accepts it, where the target cannot give it and that is to be so.

    Raises
    ------
    TargetError
        If the target fails, and failures are not to be rejected.
    """
    try:
        return ask()
    except TargetError:
        if reject_failures:
            return math.inf
        raise


def step(
    state: ChainState, energy_of: Callable[[Positions], float], rng: Generator, move: Move
) -> tuple[ChainState, float, bool]:
    """Make one Metropolis step.

    Returns
    -------
    state : ChainState
    proposed_energy : float
        In eV.
    accepted : bool
    """
    positions, uniform = propose(state, rng, move)
    energy = energy_of(positions)
    accepted = accept(energy - state.energy, uniform, move.kT)
    return _moved(state, positions, energy, accepted), energy, accepted


def _moved(state: ChainState, positions: Positions, energy: float, accepted: bool) -> ChainState:
    if accepted:
        return ChainState(positions, energy, state.n_steps + 1, state.n_accepted + 1)
    return ChainState(state.positions, state.energy, state.n_steps + 1, state.n_accepted)


def radius_of_gyration(positions: Positions, masses: NDArray[np.float64]) -> float:
    """Mass-weighted radius of gyration.

    Parameters
    ----------
    positions : array, shape (n_atoms, 3)
        In Å.
    masses : array, shape (n_atoms,)
        In any unit.

    Examples
    --------
    >>> radius_of_gyration(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), np.ones(2))
    1.0
    """
    weights = masses / masses.sum()
    centred = positions - weights @ positions
    return math.sqrt(float(weights @ (centred * centred).sum(axis=1)))


def sample(
    atoms: Atoms,
    move: Move,
    n_steps: int,
    rng: Generator,
    *,
    done: list[ChainRow] | None = None,
    reject_failures: bool = False,
) -> Iterator[ChainRow]:
    """Sample with the calculator of `atoms`, which is left at the structure asked for last.

    Parameters
    ----------
    atoms
        Initial structure, with a calculator.
    n_steps
        Length of the chain, steps already done included.
    rng
        Generator as it was before the first step.
    done
        Rows of the steps that an earlier process made; they are gone through without energies.
    reject_failures
        Whether a move whose energy the target cannot give is rejected, instead of the `TargetError` being raised. The
        distribution is then that of the structures for which the target has an energy.

    Yields
    ------
    ChainRow
        One for each new step, that of the initial structure first.
    """
    masses = atoms.get_masses()

    def energy_of(positions: Positions) -> float:
        atoms.positions = positions
        return float(atoms.get_potential_energy())

    def proposed_energy_of(positions: Positions) -> float:
        return energy_or_infinity(lambda: energy_of(positions), reject_failures=reject_failures)

    done = done or []
    if done:
        *_, (_, state) = replay(atoms.positions, move, rng, done)
    else:
        state = init(atoms.positions, energy_of(atoms.positions))
        yield ChainRow(0, state.energy, True, state.energy, radius_of_gyration(state.positions, masses))
    while state.n_steps < n_steps:
        state, proposed, accepted = step(state, proposed_energy_of, rng, move)
        gyration = radius_of_gyration(state.positions, masses)
        yield ChainRow(state.n_steps, proposed, accepted, state.energy, gyration)


def replay(
    positions: Positions, move: Move, rng: Generator, rows: list[ChainRow]
) -> Iterator[tuple[Positions, ChainState]]:
    """Go through the steps of a chain without energies.

    Yields
    ------
    asked : array, shape (n_atoms, 3)
        The positions whose energy the row gives, in Å.
    state : ChainState
        The chain after the step.
    """
    state = init(positions, rows[0].energy)
    yield state.positions, state
    for row in rows[1:]:
        proposed, _ = propose(state, rng, move)
        state = _moved(state, proposed, row.proposed_energy, row.accepted)
        yield proposed, state


def inconsistency(positions: Positions, move: Move, rng: Generator, rows: list[ChainRow]) -> str | None:
    """What in the rows of a chain does not follow from its seed and its energies; None where all does.

    Parameters
    ----------
    positions
        Of the initial structure, shape (n_atoms, 3), in Å.
    move, rng
        As the chain was made with.
    rows
        Of the chain, the initial structure first.
    """
    energy = rows[0].energy
    for number, row in enumerate(rows):
        if row.step != number:
            return f"row {number} is of step {row.step}"
        if not number:
            continue
        _, uniform = propose(init(positions, 0.0), rng, move)
        accepted = math.isfinite(row.proposed_energy) and accept(
            row.proposed_energy - energy, uniform, move.kT
        )
        energy = row.proposed_energy if accepted else energy
        if row.accepted != accepted or row.energy != energy:
            return f"the decision of step {number} does not follow from its energies"
    return None


class ChainLog(AppendLog):
    """The rows of a chain as `chain.csv` in its run directory.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ChainLog(folder) as log:
    ...         log.append(ChainRow(0, -1.5, True, -1.5, 0.7))
    ...     ChainLog.read(folder)
    [ChainRow(step=0, proposed_energy=-1.5, accepted=True, energy=-1.5, radius_of_gyration=0.7)]
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(Path(folder) / "chain.csv", ChainRow.__slots__)

    @staticmethod
    def read(folder: str | Path) -> list[ChainRow]:
        """Rows of a run directory's chain, without the line that a kill may have cut.

        Raises
        ------
        RunDirectoryError
            If there is no chain, or it cannot be read.
        """
        path = Path(folder) / "chain.csv"
        if not path.exists():
            raise RunDirectoryError(f"{folder} holds no chain.csv: it is no Monte Carlo run")
        return read_records(path, ChainRow)
