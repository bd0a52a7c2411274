"""Whether `risk` holds its bound in molecular dynamics of crystals, slabs and ions that start from nothing.

Each run starts from the perfect structure with random velocities and an untrained surrogate, every setting at its
default, and ends after a few hundred steps: the first steps are where control is hardest.  The true error of every call
that the surrogate answered is found by the target on the same positions.

Writes benchmarks/results/control_systems.csv, a row a run as it comes; what is there already is not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from surrogates import (
    MGO,
    STILLINGER_WEBER,
    Ions,
    copper_aluminium,
    langevin,
    manybody,
    slab_with_nitrogen,
)

from ase_proxima import Decision, ProximaCalculator

RESULTS = Path(__file__).parent / "results"
FRICTION_PER_FS = 0.01


@dataclass(frozen=True)
class System:
    """A structure, its target, temperatures (K) that follow each other, time step (fs), bound on `force_max` (eV/Å).

    The thermostat is Langevin's at constant volume; where `barostat` is set, Nosé-Hoover chains hold pressure zero.
    """

    make: Callable[[], Atoms]
    target: Callable[[], Calculator]
    temperatures: tuple[float, ...]
    timestep: float
    bound: float = 0.1
    checked: bool = False
    barostat: bool = False


def silicon() -> Atoms:
    """Return 64 atoms on the lattice of diamond."""
    return bulk("Si", cubic=True, a=5.431) * 2


def germanium() -> Calculator:
    """Return Stillinger and Weber's form with the parameters of Ding and Andersen, Phys. Rev. B 34, 6987 (1986)."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import stillinger_weber as forms

    known = forms.Stillinger_Weber_PRB_31_5262_Si
    return Manybody(
        **forms.StillingerWeber({**known, "el": "Ge", "epsilon": 1.93, "sigma": 2.181, "lambda1": 31.0})
    )


KCL = {
    "K-K": (0.2637, 2.926, 0.337, 15.2),
    "K-Cl": (0.2110, 3.048, 0.337, 30.0),
    "Cl-Cl": (0.1582, 3.170, 0.337, 77.4),
}
"""Fumi and Tosi, J. Phys. Chem. Solids 25, 31 (1964), without the terms in r^-8."""

SYSTEMS = {
    "Si64 1000 K": System(silicon, STILLINGER_WEBER, (1000.0,), 2.0),
    "Ge64 800 K": System(lambda: bulk("Ge", cubic=True, a=5.658) * 2, germanium, (800.0,), 3.0),
    "C64 1500 K": System(
        lambda: bulk("C", cubic=True, a=3.567) * 2,
        manybody("tersoff_brenner", "TersoffBrenner", "Brenner_PRB_42_9458_C_II"),
        (1500.0,),
        0.5,
    ),
    "BN64 1200 K": System(
        lambda: bulk("BN", "zincblende", cubic=True, a=3.672) * 2,
        manybody(
            "tersoff_brenner", "TersoffBrenner", "Matsunaga_Fisher_Matsubara_Jpn_J_Appl_Phys_39_48_B_C_N"
        ),
        (1200.0,),
        1.0,
    ),
    "BN64 600 K": System(
        lambda: bulk("BN", "zincblende", cubic=True, a=3.672) * 2,
        manybody(
            "tersoff_brenner", "TersoffBrenner", "Matsunaga_Fisher_Matsubara_Jpn_J_Appl_Phys_39_48_B_C_N"
        ),
        (600.0,),
        1.0,
    ),
    "KCl64 600 K": System(
        lambda: bulk("KCl", "rocksalt", cubic=True, a=6.29) * 2,
        lambda: Ions(KCL, {"K": 1.0, "Cl": -1.0}),
        (600.0,),
        3.0,
        0.02,
    ),
    "Al108 900 K": System(lambda: bulk("Al", cubic=True) * 3, EMT, (900.0,), 3.0, 0.05),
    "Al108 900 K, free volume": System(
        lambda: bulk("Al", cubic=True) * 3, EMT, (900.0,), 3.0, 0.05, barostat=True
    ),
    "Cu81Al27 600 K": System(copper_aluminium, EMT, (600.0,), 3.0),
    "Pt55 600 K": System(lambda: Icosahedron("Pt", 3), EMT, (600.0,), 3.0),
    "Si64 1200 K": System(silicon, STILLINGER_WEBER, (1200.0,), 2.0, checked=True),
    "MgO 1200 K": System(
        lambda: bulk("MgO", "rocksalt", a=4.21, cubic=True) * 2,
        lambda: Ions(MGO, {"Mg": 2.0, "O": -2.0}),
        (1200.0,),
        2.0,
        checked=True,
    ),
    "SiC 1200 K": System(
        lambda: bulk("SiC", "zincblende", a=4.36, cubic=True) * 2,
        manybody("tersoff_brenner", "TersoffBrenner", "Tersoff_PRB_39_5566_Si_C"),
        (1200.0,),
        1.0,
        checked=True,
    ),
    "Si64 Kumagai 1200 K": System(
        silicon, manybody("kumagai", "Kumagai", "Kumagai_Comp_Mat_Sci_39_Si"), (1200.0,), 2.0, checked=True
    ),
    "Ni108 1200 K": System(lambda: bulk("Ni", cubic=True) * 3, EMT, (1200.0,), 3.0, checked=True),
    "Cu slab with N 500 K": System(slab_with_nitrogen, EMT, (500.0,), 1.0, checked=True),
    "Al32 300-2300-300 K": System(
        lambda: bulk("Al", cubic=True) * 2, EMT, (300.0, 2300.0, 300.0), 3.0, 0.05, checked=True
    ),
}


def simulate(name: str, n_steps: int, seed: int) -> dict[str, Any]:
    """Run the dynamics; return the row of the run."""
    system = SYSTEMS[name]
    atoms, exact, rng = system.make(), system.target(), np.random.default_rng(seed)
    calculator = ProximaCalculator(
        system.target(),
        error_bound=system.bound,
        error_metric="force_max",
        seed=seed,
        when_not_worthwhile="ignore",
    )
    atoms.calc = calculator
    dynamics: MolecularDynamics = langevin(
        atoms, system.temperatures[0], system.timestep, FRICTION_PER_FS, rng
    )
    if system.barostat:
        dynamics = IsotropicMTKNPT(
            atoms,
            system.timestep * units.fs,
            temperature_K=system.temperatures[0],
            pressure_au=0.0,
            tdamp=100 * units.fs,
            pdamp=1000 * units.fs,
        )
    errors = []

    def compare() -> None:
        if calculator.last_decision is Decision.SURROGATE:
            copy = atoms.copy()
            copy.calc = exact
            # as the calculator sees it, without constraints
            gap = calculator.results["forces"] - copy.get_forces(apply_constraint=False)
            errors.append(float(np.linalg.norm(gap, axis=1).max()))

    dynamics.attach(compare)
    for temperature in system.temperatures:
        if not system.barostat:
            dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(n_steps // len(system.temperatures))
    stats = calculator.stats
    true = float(np.mean(errors)) if errors else 0.0
    return {
        "system": name,
        "seed": seed,
        "steps": n_steps,
        "bound": system.bound,
        "checked": system.checked,
        "target_calls": stats.n_target_runs,
        "audits": stats.n_audit,
        "share_trusted": stats.share_trusted,
        "true_error": true,
        "held": true <= system.bound,
        "error_estimate": stats.error_estimate,
        "error_estimate_se": stats.error_estimate_se,
        "error_upper": stats.error_upper,
        "notes": "; ".join(stats.notes),
    }


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row a system."""
    over = table["true_error"] / table["bound"]
    return (
        table.assign(over=over, estimate=table["error_estimate"] / table["bound"])
        .groupby("system", sort=False)
        .agg(
            runs=("seed", "size"),
            held=("held", "sum"),
            mean_over_bound=("over", "mean"),
            worst_over_bound=("over", "max"),
            estimate_over_bound=("estimate", "mean"),
            target_calls=("target_calls", "mean"),
            share_trusted=("share_trusted", "mean"),
        )
    )


@click.command(context_settings={"show_default": True})
@click.option("--system", "names", multiple=True, type=click.Choice(list(SYSTEMS)), help="By default all.")
@click.option("--seeds", default=20, help="Runs of each system.")
@click.option("--steps", default=300, help="Steps of each run.")
@click.option("--path", type=click.Path(path_type=Path), default=RESULTS / "control_systems.csv")
def main(names: tuple[str, ...], seeds: int, steps: int, path: Path) -> None:
    """Share of runs that hold the bound, for each system."""
    path.parent.mkdir(exist_ok=True)
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["system"], row["seed"], row["steps"]) for row in rows}
    for seed in range(seeds):
        for name in names or SYSTEMS:
            if (name, seed, steps) in done:
                continue
            rows.append(simulate(name, steps, seed))
            pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g")
            row = rows[-1]
            true, estimated = (row[column] / row["bound"] for column in ("true_error", "error_estimate"))
            click.echo(
                f"{name} seed {seed}: {row['target_calls']} target calls, true error {true:.2f} of the bound, "
                f"estimated {estimated:.2f}"
            )
    click.echo(summarise(pd.DataFrame(rows)).round(3).to_string())


if __name__ == "__main__":
    main()
