"""Delayed-acceptance Metropolis sampling: a surrogate proposes, the target decides, so that the target is sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ase_proxima.apps import monte_carlo
from ase_proxima.apps.monte_carlo import ChainState, Move, Positions, accept, propose
from ase_proxima.errors import InputError
from ase_proxima.runs.append_log import AppendLog, read_records

__all__ = [
    "ExactState",
    "OuterLog",
    "OuterMove",
    "OuterRow",
    "acceptance_probability",
    "correction",
    "init",
    "next_inner_steps",
    "replay",
    "row_of",
    "start_row",
    "step",
]

EnergyOf = Callable[[Positions], float]

ACCEPTED, REJECTED = "a", "r"

TRIALS = 8
"""Outer steps from which the acceptance at a number of inner steps is judged."""

WANTED_ACCEPTANCE = 0.6
"""Mean acceptance probability from which a number of inner steps is taken."""

POOR_ACCEPTANCE = 0.3
"""Mean acceptance probability below which the inner steps are cut to an eighth, not to a half."""


@dataclass(frozen=True, slots=True)
class ExactState:
    """Where the chain stands.

    Attributes
    ----------
    chain
        Positions in Å, the target's energy in eV, outer steps made and accepted.
    surrogate_energy
        Of the same positions, in eV.
    """

    chain: ChainState
    surrogate_energy: float


@dataclass(frozen=True, slots=True)
class OuterMove:
    """What an outer step tried.

    Attributes
    ----------
    inner
        What became of each of the surrogate's steps: "a" accepted, "r" rejected. Where all were rejected, the
        target is not asked.
    energy, surrogate_energy
        Of the structure at the end of the surrogate's steps, in eV.
    accepted
        Whether the target accepted that structure; False where it was not asked.
    """

    inner: str
    energy: float
    surrogate_energy: float
    accepted: bool


@dataclass(frozen=True, slots=True)
class OuterRow:
    """One outer step, as it is written down.

    Attributes
    ----------
    step
        0 is the structure at the start.
    proposed_energy, proposed_surrogate_energy
        Of the structure proposed, in eV.
    accepted
        Whether the chain moved there.
    energy, surrogate_energy
        Of the chain's structure after the step, in eV.
    radius_of_gyration
        Of the same structure, in Å.
    inner
        What became of each of the surrogate's steps, as in `OuterMove`.
    time_s
        What the step took, in s; two rows that differ in it alone are equal.
    """

    step: int
    proposed_energy: float
    proposed_surrogate_energy: float
    accepted: bool
    energy: float
    surrogate_energy: float
    radius_of_gyration: float
    inner: str
    time_s: float = field(default=0.0, compare=False)

    @property
    def asked(self) -> bool:
        """Whether the step needed the target."""
        return ACCEPTED in self.inner


def init(positions: Positions, energy: float, surrogate_energy: float) -> ExactState:
    """Return a chain that stands at `positions` (n_atoms, 3) in Å, with energies of target and surrogate in eV.

    Raises
    ------
    InputError
        If an energy is not finite.
    """
    if not (np.isfinite(energy) and np.isfinite(surrogate_energy)):
        raise InputError(
            f"the chain must start with finite energies, got {energy} eV from the target and "
            f"{surrogate_energy} eV from the surrogate: start elsewhere, or train the surrogate longer"
        )
    return ExactState(monte_carlo.init(positions, energy), surrogate_energy)


def correction(target_change: float, surrogate_change: float) -> float:
    """Energy that takes the place of the energy change in Metropolis' rule, so that the target is sampled.

    One Metropolis step on the surrogate `S`, with transition probability `K(x, y)`, is in detailed balance with
    `p(x) = exp(-S(x)/kT)`: `p(x) K(x, y) = p(y) K(y, x)`. So are k steps, which read the same backwards:
    `p(x) K^k(x, y) = p(y) K^k(y, x)`. With `K^k` as the proposal for the target `F`, with
    `P(x) = exp(-F(x)/kT)`, the rule of Metropolis and Hastings accepts with probability `min(1, r)`, where

        r = P(y) K^k(y, x) / (P(x) K^k(x, y)) = P(y) p(x) / (P(x) p(y))
          = exp(-[(F(y) - F(x)) - (S(y) - S(x))] / kT).

    No term asks how good `S` is: it must only be the same function throughout, as the balance of `K` with `p`
    rests on that. A poor surrogate costs acceptance, never correctness.

    Parameters
    ----------
    target_change, surrogate_change : float
        `F(y) - F(x)` and `S(y) - S(x)`, in eV.

    Returns
    -------
    float
        In eV.

    References
    ----------
    Christen and Fox, J. Comput. Graph. Stat. 14, 795 (2005), doi:10.1198/106186005X76983, for k = 1.
    Liu, "Monte Carlo Strategies in Scientific Computing", Springer 2001, section 9.4.3 (surrogate transitions).
    Iftimie, Salahub, Wei and Schofield, J. Chem. Phys. 113, 4852 (2000).
    Gelb, J. Chem. Phys. 118, 7747 (2003), doi:10.1063/1.1563597.

    Examples
    --------
    >>> correction(0.5, 0.25)
    0.25
    """
    return target_change - surrogate_change


def step(
    state: ExactState,
    energy_of: EnergyOf,
    surrogate_energy_of: EnergyOf,
    rng: Generator,
    move: Move,
    n_inner: int,
) -> tuple[ExactState, OuterMove]:
    """Make `n_inner` Metropolis steps on the surrogate, and let the target accept or reject them as one.

    Parameters
    ----------
    energy_of, surrogate_energy_of : callable
        Positions (n_atoms, 3) in Å to energy in eV. The surrogate must not change from step to step; where it
        is NaN or infinite its steps do not go.
    rng
        Draws the same numbers whatever the energies are.
    n_inner
        Number of the surrogate's steps, at least 1.

    Returns
    -------
    state : ExactState
    tried : OuterMove
    """
    inner = ChainState(state.chain.positions, state.surrogate_energy)
    decisions = ""
    for _ in range(n_inner):
        inner, _, accepted = monte_carlo.step(inner, surrogate_energy_of, rng, move)
        decisions += ACCEPTED if accepted else REJECTED
    uniform = rng.random()
    if ACCEPTED not in decisions:  # the proposal is where the chain stands: both energies are known
        tried = OuterMove(decisions, state.chain.energy, state.surrogate_energy, False)
        return _moved(state, inner.positions, tried), tried
    energy = energy_of(inner.positions)
    change = correction(energy - state.chain.energy, inner.energy - state.surrogate_energy)
    tried = OuterMove(decisions, energy, inner.energy, accept(change, uniform, move.kT))
    return _moved(state, inner.positions, tried), tried


def _moved(state: ExactState, positions: Positions, tried: OuterMove) -> ExactState:
    chain = replace(state.chain, n_steps=state.chain.n_steps + 1)
    if not tried.accepted:
        return replace(state, chain=chain)
    chain = replace(chain, positions=positions, energy=tried.energy, n_accepted=chain.n_accepted + 1)
    return ExactState(chain, tried.surrogate_energy)


def start_row(state: ExactState, masses: NDArray[np.float64]) -> OuterRow:
    """Row 0 of a chain: where it starts."""
    return row_of(state, OuterMove("", state.chain.energy, state.surrogate_energy, True), masses, 0.0)


def row_of(state: ExactState, tried: OuterMove, masses: NDArray[np.float64], time_s: float) -> OuterRow:
    """Row of the step that led to `state`."""
    return OuterRow(
        state.chain.n_steps,
        tried.energy,
        tried.surrogate_energy,
        tried.accepted,
        state.chain.energy,
        state.surrogate_energy,
        monte_carlo.radius_of_gyration(state.chain.positions, masses),
        tried.inner,
        time_s,
    )


def replay(
    state: ExactState, move: Move, rng: Generator, rows: Sequence[OuterRow]
) -> Iterator[tuple[Positions, ExactState]]:
    """Go through the steps of a chain without energies; whether they were accepted follows from those of the rows.

    Parameters
    ----------
    state
        The chain before the first of the rows.
    rng
        Generator as it was then; left as it was after the last.

    Yields
    ------
    proposed : array, shape (n_atoms, 3)
        The positions whose energies the row gives, in Å.
    state : ExactState
        The chain after the step.
    """
    for row in rows:
        inner = state.chain
        for decision in row.inner:
            positions, _ = propose(inner, rng, move)
            if decision == ACCEPTED:
                inner = replace(inner, positions=positions)
        uniform = rng.random()
        change = correction(
            row.proposed_energy - state.chain.energy,
            row.proposed_surrogate_energy - state.surrogate_energy,
        )
        accepted = row.asked and accept(change, uniform, move.kT)
        tried = OuterMove(row.inner, row.proposed_energy, row.proposed_surrogate_energy, accepted)
        state = _moved(state, inner.positions, tried)
        yield inner.positions, state


def acceptance_probability(before: OuterRow, row: OuterRow, kT: float) -> float:
    """Probability with which the target accepts the proposal of `row`; 1 where it was not asked.

    Parameters
    ----------
    before, row
        Two rows of a chain, one after the other.
    kT
        In eV.
    """
    change = correction(
        row.proposed_energy - before.energy, row.proposed_surrogate_energy - before.surrogate_energy
    )
    return float(np.exp(min(0.0, -change / kT)))


def next_inner_steps(trials: Sequence[OuterRow], most: int, kT: float) -> tuple[int, bool]:
    """Number of inner steps to try next, or to take.

    `most` is tried first, in 8 outer steps. While the target accepts with a mean probability below 0.6, half as
    many are tried (an eighth where it is below 0.3), down to one.

    Parameters
    ----------
    trials
        Rows of the trials so far, that of the structure at the start first.
    most
        The number that is tried first.
    kT
        In eV.

    Returns
    -------
    n_inner : int
    settled : bool
        Whether the trials are at an end.

    Examples
    --------
    >>> next_inner_steps([], 100, kT=0.025)
    (100, False)
    """
    n_inner = most
    for end in range(TRIALS, len(trials), TRIALS):
        block = range(end - TRIALS + 1, end + 1)
        mean = fmean(acceptance_probability(trials[i - 1], trials[i], kT) for i in block)
        if mean >= WANTED_ACCEPTANCE or n_inner == 1:
            return n_inner, True
        n_inner = max(n_inner // (2 if mean >= POOR_ACCEPTANCE else 8), 1)
    return n_inner, False


class OuterLog(AppendLog):
    """Rows of outer steps in a file of the run directory.

    The first columns are those of `ChainLog`, by which the reports know a chain.

    Examples
    --------
    >>> import tempfile
    >>> row = OuterRow(3, -1.5, -1.4, True, -1.5, -1.4, 0.7, "ara")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with OuterLog(Path(folder) / "chain.csv") as log:
    ...         log.append(row)
    ...     OuterLog.read(Path(folder) / "chain.csv") == [row]
    True
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, OuterRow.__slots__)

    @staticmethod
    def read(path: Path) -> list[OuterRow]:
        """Rows of a file, without the line that a kill may have cut; none where there is no file.

        Raises
        ------
        RunDirectoryError
            If it cannot be read.
        """
        return read_records(path, OuterRow)
