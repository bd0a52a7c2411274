"""A target on part of the atoms: a vacancy in 500 atoms of aluminium, EMT in the target's place.

First the forces on the twelve neighbours of the vacancy from cut-outs with shells of growing thickness, against those
of the full cell. Then a surrogate that has seen the perfect crystal alone answers for the cell with the vacancy, and
the target for the atoms of which it is unsure. Writes benchmarks/results/local_target.csv.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_proxima.surrogates.linear.surrogate import BayesianSoap
from ase_proxima.targets.contract import ask
from ase_proxima.targets.local import LocalCalculator, converged_buffer, local_forces
from ase_proxima.types import Frame

RESULTS = Path(__file__).parent / "results" / "local_target.csv"
RATTLE = 0.05  # Å
BUFFERS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)  # Å


def crystal(seed: int) -> Atoms:
    """Return 500 atoms of aluminium, rattled."""
    atoms = bulk("Al", cubic=True) * 5
    atoms.rattle(RATTLE, seed=seed)
    return atoms


def vacancy(seed: int) -> tuple[Atoms, list[int]]:
    """Return the same without an atom, and its neighbours."""
    perfect = bulk("Al", cubic=True) * 5
    distances = perfect.get_distances(0, range(len(perfect)), mic=True)
    neighbours = [int(i) - 1 for i in np.flatnonzero((distances > 0) & (distances < 3.2))]
    atoms = crystal(seed)
    del atoms[0]
    return atoms, neighbours


def errors(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Largest and mean distance of forces, in eV/Å."""
    distance = np.linalg.norm(found - wanted, axis=1)
    return {"largest_error": distance.max(), "mean_error": distance.mean()}


@click.command()
@click.option("--frames", default=3, help="Frames of the perfect crystal that the surrogate learns from.")
@click.option("--bound", default=0.05, help="Force error that the target's part must stay under, eV/Å.")
def main(frames: int, bound: float) -> None:
    """Write and print the table."""
    atoms, neighbours = vacancy(seed=1)
    whole = ask(EMT(), atoms, ["energy", "forces"])["forces"]
    rows = []
    for buffer in BUFFERS:
        forces, n_atoms = local_forces(EMT(), atoms, neighbours, buffer)
        rows.append(
            {"what": f"shell of {buffer:g} Å", "core": 12, "atoms_computed": n_atoms}
            | errors(forces, whole[neighbours])
        )
    found = converged_buffer(EMT(), atoms, neighbours, bound / 10)
    forces, _ = local_forces(EMT(), atoms, neighbours, found.thickness)
    rows.append(
        {
            "what": f"shell found for {bound / 10:g} eV/Å: {found.thickness:g} Å",
            "core": 12,
            "atoms_computed": found.n_atoms,
        }
        | errors(forces, whole[neighbours])
    )
    seen = [crystal(seed) for seed in range(10, 10 + frames)]
    surrogate = BayesianSoap()
    surrogate.fit([Frame(x, ask(EMT(), x, ["energy", "forces", "stress"]), i) for i, x in enumerate(seen)])
    prediction = surrogate.predict(atoms)
    spread = np.linalg.norm(prediction.std["forces"], axis=1)
    local = LocalCalculator(
        EMT(), surrogate.predict, threshold=2 * float(np.median(spread)), tolerance=bound / 10
    )
    mixed = ask(local, atoms, ["forces"])["forces"]
    core = local.unsure(prediction)
    for what, of in (("surrogate alone", prediction.results["forces"]), ("surrogate and target", mixed)):
        asked = of is mixed
        row = {"core": len(core), "atoms_computed": local.n_atoms_computed if asked else 0}
        rows.append({"what": f"{what}, atoms it is unsure of"} | row | errors(of[core], whole[core]))
        rows.append({"what": f"{what}, all atoms"} | row | errors(of, whole))
    table = pd.DataFrame(rows)
    table["share_computed"] = table["atoms_computed"] / len(atoms)
    table.to_csv(RESULTS, index=False, float_format="%.4g")
    click.echo(table.to_string(index=False))
    click.echo(f"atoms computed to find the shell: {local.n_atoms_checked}")


if __name__ == "__main__":
    main()
