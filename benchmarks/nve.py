"""Drift of the energy in dynamics at constant energy, with switches at once and with ramps.

108 aluminium atoms, EMT by Asap as the target, 600 K at the start. In the surrogate's place stands a committee of the
same EMT at lengths that are scaled by up to 1 %: each member has an energy of its own that its forces conserve, so that
all drift comes from the switches. A fixed threshold near the middle of the uncertainties makes switches frequent.

The true energy is kinetic energy plus the target's, which runs beside the dynamics and is not counted. Each row is a
run: the rise of the true energy, of the answers' energy, and of that less the ledger, along straight lines, in meV an
atom.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

from ase_proxima import NotWorthwhileWarning, ProximaCalculator
from ase_proxima.dynamics.phases import thermalise
from ase_proxima.surrogates.committee import Committee
from ase_proxima.targets import parse_target

RESULTS = Path(__file__).parent / "results"
SCALES = (0.99, 1.0, 1.006)
THRESHOLD = 0.085
"""eV/Å; the surrogate then answers some two thirds of the calls."""
TEMPERATURE_K, TIMESTEP_FS = 600.0, 1.0
EVERY = 20
"""Steps between two looks at the energies."""
VARIANTS: dict[str, tuple[str, int | None]] = {
    "target": ("baseline", None),
    "surrogate": ("fixed:1e9", None),
    "at once": (f"fixed:{THRESHOLD}", None),
    "at once, with ledger": (f"fixed:{THRESHOLD}", 1),
    "ramps of 10": (f"fixed:{THRESHOLD}", 10),
}


class ScaledEMT(Calculator):  # type: ignore[misc]
    """EMT at scaled lengths, whose forces are the derivative of its energy."""

    implemented_properties = ("energy", "forces")

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.exact = parse_target("asap")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy and forces."""
        super().calculate(atoms, properties, system_changes)
        scaled = self.atoms.copy()
        scaled.set_cell(scaled.cell * self.scale, scale_atoms=True)
        self.results = {
            "energy": self.exact.get_property("energy", scaled),
            "forces": self.scale * self.exact.get_property("forces", scaled),
        }


def run(variant: str, seed: int, steps: int) -> dict[str, Any]:
    """One trajectory."""
    controller, blending = VARIANTS[variant]
    atoms = bulk("Al", cubic=True) * 3
    thermalise(atoms, 2.0 * TEMPERATURE_K, np.random.default_rng(seed))
    exact = parse_target("asap")
    calc = ProximaCalculator(
        parse_target("asap"),
        error_bound=1.0,
        properties=("energy", "forces"),
        surrogate=Committee(ScaledEMT(scale) for scale in SCALES),
        training="never",
        controller=controller,
        blending=blending,
        seed=seed,
    )
    atoms.calc = calc
    begun = time.process_time()
    rows = []
    dynamics = VelocityVerlet(atoms, TIMESTEP_FS * units.fs)
    for step, _ in enumerate(dynamics.irun(steps)):
        if step % EVERY == 0:
            kinetic = atoms.get_kinetic_energy()
            work = np.nan_to_num(calc.switch_work)
            answer = atoms.get_potential_energy()
            rows.append((step, kinetic + exact.get_property("energy", atoms.copy()), kinetic + answer, work))
    columns = np.array(rows)
    data = columns[len(columns) // 10 :]  # the start is a lattice without potential energy
    per_atom = 1000.0 / len(atoms)

    def rise(values: np.ndarray) -> float:
        return float(np.polyfit(data[:, 0], values, 1)[0] * (data[-1, 0] - data[0, 0]) * per_atom)

    stats = calc.stats
    return {
        "variant": variant,
        "seed": seed,
        "steps": steps,
        "true_energy": rise(data[:, 1]),
        "answers": rise(data[:, 2]),
        "less_ledger": rise(data[:, 2] - data[:, 3]) if blending else float("nan"),
        "trusted": stats.share_trusted,
        "target_runs": stats.n_target_runs,
        "switches": stats.n_switches,
        "temperature_K": atoms.get_temperature(),
        "cpu_s": time.process_time() - begun,
    }


@click.command()
@click.option("--seeds", default=5, show_default=True)
@click.option("--steps", default=5000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "nve.csv")
def main(seeds: int, steps: int, out: Path) -> None:
    """Make all runs, seed by seed, writing the table after each."""
    warnings.simplefilter("ignore", NotWorthwhileWarning)
    rows = []
    for seed in range(seeds):
        for variant in VARIANTS:
            rows.append(run(variant, seed, steps))
            pd.DataFrame(rows).to_csv(out, index=False, float_format="%.5g")
    table = pd.DataFrame(rows).groupby("variant", sort=False)
    columns = ["true_energy", "less_ledger", "trusted", "switches"]
    click.echo(table[columns].agg(["mean", "std"]).to_string(float_format="%.3g"))


if __name__ == "__main__":
    main()
