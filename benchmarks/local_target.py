"""A target on part of the atoms: a vacancy in 500 atoms of aluminium, EMT in the target's place.

First the forces on the twelve neighbours of the vacancy from parts with shells of growing thickness, against those of
the full cell. Then runs of a `ProximaCalculator`: frames of the perfect crystal, then of the crystal with a vacancy, by
a target that computes whole structures alone and by one that may compute parts. Writes
benchmarks/results/local_target.csv and benchmarks/results/local_target_runs.csv.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import click
import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_proxima import Decision, NotWorthwhileWarning, ProximaCalculator
from ase_proxima.targets.local import LocalTarget

RESULTS = Path(__file__).parent / "results"
RATTLE = 0.05  # Å
SHELLS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)  # Å


def crystal(seed: int, cells: int = 5) -> Atoms:
    """Return aluminium, rattled; by default 500 atoms."""
    atoms = bulk("Al", cubic=True) * cells
    atoms.rattle(RATTLE, seed=seed)
    return atoms


def vacancy(seed: int, cells: int = 5) -> tuple[Atoms, list[int]]:
    """Return the same without an atom, and its neighbours."""
    perfect = bulk("Al", cubic=True) * cells
    distances = perfect.get_distances(0, range(len(perfect)), mic=True)
    neighbours = [int(i) - 1 for i in np.flatnonzero((distances > 0) & (distances < 3.2))]
    atoms = crystal(seed, cells)
    del atoms[0]
    return atoms, neighbours


def shells() -> pd.DataFrame:
    """Errors of the forces on the neighbours of the vacancy, in eV/Å, for each thickness."""
    atoms, neighbours = vacancy(seed=1)
    whole = EMT().get_property("forces", atoms)[neighbours]
    target = LocalTarget(EMT(), tolerance=0.005, largest_share=1.0)
    rows = []
    for thickness in SHELLS:
        found = target.forces_on(atoms, neighbours, thickness)
        assert found is not None  # noqa: S101  the largest share is all of it
        error = np.linalg.norm(found[0] - whole, axis=1)
        rows.append(
            {
                "thickness": thickness,
                "atoms_computed": found[1],
                "share": found[1] / len(atoms),
                "largest_error": error.max(),
                "mean_error": error.mean(),
            }
        )
    return pd.DataFrame(rows)


def run(name: str, cells: int, bound: float, n_crystal: int, n_vacancy: int) -> dict[str, float | str]:
    """One run: who answered the frames with a vacancy, their true errors, and the atoms that the target computed."""
    target = LocalTarget(EMT(), tolerance=bound / 10) if name == "parts" else EMT()
    calculator = ProximaCalculator(target, error_bound=bound)
    for seed in range(n_crystal):
        calculator.get_property("forces", crystal(100 + seed, cells))
    before = calculator.stats
    errors, core_errors, decisions = [], [], []
    for seed in range(n_vacancy):
        atoms, neighbours = vacancy(200 + seed, cells)
        forces = calculator.get_property("forces", atoms)
        error = np.linalg.norm(forces - EMT().get_property("forces", atoms), axis=1)
        decisions.append(calculator.last_decision)
        if decisions[-1] is Decision.SURROGATE:
            errors.append(error.max())
            core_errors.append(error[neighbours].max())
    stats, surrogate = calculator.stats, calculator.surrogate
    n_whole = stats.n_target + stats.n_audit - before.n_target - before.n_audit
    return {
        "target": name,
        "atoms": 4 * cells**3 - 1,
        "bound": bound,
        "frames": n_vacancy,
        "whole": n_whole,
        "trusted": decisions.count(Decision.SURROGATE),
        "calls_in_part": getattr(surrogate, "n_local", 0),
        "mean_error": float(np.mean(errors)) if errors else np.nan,
        "largest_error_at_vacancy": float(np.max(core_errors)) if errors else np.nan,
        "atoms_in_whole": n_whole * (4 * cells**3 - 1),
        "atoms_in_parts": getattr(surrogate, "n_computed", 0),
        "atoms_to_find_shell": getattr(surrogate, "n_checked", 0),
        "shell": getattr(surrogate, "thickness", None) or np.nan,
    }


@click.command()
@click.option(
    "--cells", default=(5, 7), multiple=True, help="Cubic cells along each axis: 4 of them are 256 atoms."
)
@click.option("--bound", default=0.005, help="Error bound (force_max), eV/Å.")
@click.option("--crystal", "n_crystal", default=6, help="Frames of the perfect crystal.")
@click.option("--vacancy", "n_vacancy", default=10, help="Frames with a vacancy after them.")
def main(cells: tuple[int, ...], bound: float, n_crystal: int, n_vacancy: int) -> None:
    """Write and print the tables."""
    warnings.simplefilter("ignore", NotWorthwhileWarning)
    table = shells()
    table.to_csv(RESULTS / "local_target.csv", index=False, float_format="%.4g")
    click.echo(table.to_string(index=False))
    runs = pd.DataFrame(
        [run(name, size, bound, n_crystal, n_vacancy) for size in cells for name in ("whole", "parts")]
    )
    runs.to_csv(RESULTS / "local_target_runs.csv", index=False, float_format="%.4g")
    click.echo(runs.to_string(index=False))


if __name__ == "__main__":
    main()
