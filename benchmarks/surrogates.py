"""Force errors and cost of the surrogates, each on the same frames.

Every system is sampled once by molecular dynamics with its target, and the frames are kept in benchmarks/cache: the
first 80 of the trajectory are learnt from, in an order shuffled by a fixed seed, the last 20 are asked.  Errors are
means of the absolute force components over the latter; the time is the processor's of one prediction with standard
deviations, the least of several, and that of learning a frame the mean over those after the eighth.

The systems of the left column of the last table of benchmarks/README.md were developed on, those of the right column
(`checked` is true) only measured.

    python benchmarks/surrogates.py --system Pt55 --model bayesian_soap

Rows are kept in benchmarks/results/surrogates.csv: a row measured anew replaces the older one of the same system,
model and number of frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Icosahedron, Octahedron
from ase.constraints import FixBondLengths
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list
from scipy.special import erfc

from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates import BayesianSoap, GradientGP, JointGP
from ase_proxima.types import Frame

HERE = Path(__file__).parent
CACHE, RESULTS = HERE / "cache", HERE / "results"
STRUCTURES = HERE / "structures"
SIZES = (5, 20, 80)
N_TRAIN, N_TEST = 80, 20
FRICTION_PER_FS = 0.02
COULOMB = 14.399645
"""e² / (4 pi epsilon_0) in eV Å."""


@dataclass(frozen=True)
class System:
    """A structure, its target, the temperature (K), time step (fs), and steps before and between frames."""

    make: Callable[[], Atoms]
    target: Callable[[], Calculator]
    temperature: float
    timestep: float = 3.0
    start: int = 400
    every: int = 10
    checked: bool = False


class Ions(Calculator):  # type: ignore[misc]
    """Pairs with A exp((s - r) / rho) - C / r^6 and charges; Coulomb damped and shifted to zero at the cutoff.

    Parameters
    ----------
    pairs
        From a pair of symbols to A (eV), s (Å), rho (Å) and C (eV Å^6).
    charges
        From a symbol to its charge.
    cutoff, damping
        In Å and 1/Å.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(
        self,
        pairs: dict[str, tuple[float, float, float, float]],
        charges: dict[str, float],
        cutoff: float = 7.0,
        damping: float = 0.25,
    ) -> None:
        super().__init__()
        self.pairs, self.charges, self.cutoff, self.damping = pairs, charges, cutoff, damping

    def _pair(
        self, r: np.ndarray, A: Any, s: Any, rho: Any, C: Any, qq: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        a = self.damping
        repulsion, dispersion = A * np.exp((s - r) / rho), C / r**6
        coulomb = COULOMB * qq * erfc(a * r) / r
        slope = -repulsion / rho + 6.0 * dispersion / r - coulomb / r
        slope -= COULOMB * qq * 2.0 * a / np.sqrt(np.pi) * np.exp(-((a * r) ** 2)) / r
        return repulsion - dispersion + coulomb, slope

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Fill in energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        i, j, r, D = neighbor_list("ijdD", self.atoms, self.cutoff)
        symbols = np.array(self.atoms.get_chemical_symbols())
        rows = np.zeros((len(r), 5))
        for key, (A, s, rho, C) in self.pairs.items():
            a, b = key.split("-")
            among = ((symbols[i] == a) & (symbols[j] == b)) | ((symbols[i] == b) & (symbols[j] == a))
            rows[among] = (A, s, rho, C, self.charges.get(a, 0.0) * self.charges.get(b, 0.0))
        A, s, rho, C, qq = rows.T
        rho = np.where(rho > 0, rho, 1.0)
        energy, slope = self._pair(r, A, s, rho, C, qq)
        edge, edge_slope = self._pair(np.full_like(r, self.cutoff), A, s, rho, C, qq)
        energy = energy - edge - edge_slope * (r - self.cutoff)
        slope = slope - edge_slope
        pull = (slope / r)[:, None] * D
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, 0.5 * pull)
        np.add.at(forces, j, -0.5 * pull)
        self.results = {"energy": 0.5 * energy.sum(), "free_energy": 0.5 * energy.sum(), "forces": forces}
        if self.atoms.pbc.all():
            virial = 0.5 * D.T @ pull / self.atoms.get_volume()
            self.results["stress"] = virial.ravel()[[0, 4, 8, 5, 2, 1]]


class Mixture(Calculator):  # type: ignore[misc]
    """Lennard-Jones between several species, Lorentz-Berthelot rules, no cutoff: for droplets."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, epsilon: dict[str, float], sigma: dict[str, float]) -> None:
        super().__init__()
        self.epsilon, self.sigma = epsilon, sigma

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Fill in energy and forces."""
        super().calculate(atoms, properties, system_changes)
        symbols = self.atoms.get_chemical_symbols()
        epsilon = np.sqrt(np.array([self.epsilon[a] for a in symbols]))
        sigma = np.array([self.sigma[a] for a in symbols])
        D = self.atoms.positions - self.atoms.positions[:, None]
        r = np.linalg.norm(D, axis=-1) + 1e9 * np.eye(len(self.atoms))
        six = (0.5 * (sigma + sigma[:, None]) / r) ** 6
        well = 4.0 * epsilon * epsilon[:, None]
        energy = 0.5 * float(np.sum(well * (six**2 - six)))
        slope = well * (6.0 * six - 12.0 * six**2) / r
        forces = np.einsum("ij,ijc->ic", slope / r, D)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


class RigidMolecules(FixBondLengths):  # type: ignore[misc]
    """Bonds of whole molecules kept as long as they are, all molecules at once.

    Bonds `n_bonds` places apart in `pairs` belong to different molecules, so that they are mended together; one by one
    a step of 27 molecules takes 0.4 s.
    """

    n_bonds = 3

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Move `new` along the old bonds until all have their lengths again (SHAKE)."""
        old, masses = atoms.positions, atoms.get_masses()[:, None]
        if self.bondlengths is None:
            self.bondlengths = self.initialize_bond_lengths(atoms)

        def error(a: np.ndarray, b: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            along, now = old[a] - old[b], new[a] - new[b]
            missing = length**2 - np.einsum("ij,ij->i", now, now)
            return along, 0.5 * missing / np.einsum("ij,ij->i", along, now)

        self._mend(error, new, 1.0 / masses, 1.0 / masses)

    def adjust_momenta(self, atoms: Atoms, momenta: np.ndarray) -> None:
        """Take from the momenta what would change the lengths (RATTLE)."""
        old, masses = atoms.positions, atoms.get_masses()[:, None]
        if self.bondlengths is None:
            self.bondlengths = self.initialize_bond_lengths(atoms)

        def error(a: np.ndarray, b: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            along = old[a] - old[b]
            closing = momenta[a] / masses[a] - momenta[b] / masses[b]
            return along, -np.einsum("ij,ij->i", closing, along) / length**2

        self._mend(error, momenta, np.ones_like(masses), 1.0 / masses)

    def _mend(self, error: Any, moved: np.ndarray, share: np.ndarray, inverse_masses: np.ndarray) -> None:
        for _ in range(self.maxiter):
            largest = 0.0
            for first in range(self.n_bonds):
                a, b = self.pairs[first :: self.n_bonds].T
                along, x = error(a, b, self.bondlengths[first :: self.n_bonds])
                step = x[:, None] * along / (inverse_masses[a] + inverse_masses[b])
                moved[a] += share[a] * step
                moved[b] -= share[b] * step
                largest = max(largest, float(np.abs(x).max()))
            if largest <= self.tolerance:
                return
        raise RuntimeError(f"bonds are not mended after {self.maxiter} rounds: take a shorter time step")


def random_alloy(symbols: str, a: float) -> Callable[[], Atoms]:
    """Return a maker of 108 atoms on an fcc lattice, equal shares of `symbols` at random places."""

    def make() -> Atoms:
        atoms = bulk("Cu", cubic=True, a=a) * 3
        names = symbols.split()
        kinds = np.resize(np.arange(len(names)), len(atoms))
        np.random.default_rng(0).shuffle(kinds)
        atoms.symbols = [names[kind] for kind in kinds]
        return atoms

    return make


def copper_aluminium() -> Atoms:
    """Return Cu3Al on the lattice of copper, 108 atoms, the species at random places."""
    atoms = bulk("Cu", cubic=True, a=3.7) * 3
    atoms.numbers[np.random.default_rng(0).permutation(len(atoms))[: len(atoms) // 4]] = 13
    return atoms


def water_box(n: int, spacing: float, *, pbc: bool) -> Atoms:
    """Return `n` cubed molecules of water on a grid, turned at random."""
    rng, atoms = np.random.default_rng(0), Atoms()
    single = Atoms("OHH", [[0, 0, 0], [0.9572, 0, 0], [-0.23999, 0.92663, 0]])
    for place in np.ndindex(n, n, n):
        one = single.copy()
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.translate(np.array(place) * spacing)
        atoms += one
    atoms.set_cell(np.full(3, n * spacing))
    atoms.pbc = pbc
    return atoms


def water_16() -> Atoms:
    """Return a droplet of 16 molecules of water."""
    atoms = water_box(3, 3.1, pbc=False)
    centre = atoms.get_center_of_mass()
    oxygen = atoms.positions[atoms.numbers == 8]
    near = np.argsort(np.linalg.norm(oxygen - centre, axis=1))[:16]
    droplet = atoms[np.concatenate([3 * near, 3 * near + 1, 3 * near + 2])]
    droplet.set_cell(None)
    return droplet[np.argsort(droplet.numbers == 1, kind="stable")]


def slab_with_nitrogen() -> Atoms:
    """Return three layers of Cu(111) with one N in a hollow."""
    slab = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    add_adsorbate(slab, "N", 1.2, "fcc")
    return slab


def noble_droplet() -> Atoms:
    """Return an icosahedron of 55 atoms, Ar with Kr at random places."""
    atoms = Icosahedron("Ar", 3, latticeconstant=5.4)
    atoms.numbers[np.random.default_rng(0).permutation(55)[:20]] = 36
    return Atoms(atoms.numbers, atoms.positions)


def xtb() -> Calculator:
    """Return GFN2-xTB."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def manybody(module: str, function: str, parameters: str) -> Callable[[], Calculator]:
    """Return a maker of one of matscipy's many-body potentials."""

    def make() -> Calculator:
        import importlib

        from matscipy.calculators.manybody import Manybody

        forms = importlib.import_module(f"matscipy.calculators.manybody.explicit_forms.{module}")
        return Manybody(**getattr(forms, function)(getattr(forms, parameters)))

    return make


def rigid_water() -> Atoms:
    """Return 27 rigid molecules of water in a periodic box."""
    atoms = water_box(3, 3.106, pbc=True)
    bonds = [(3 * n + a, 3 * n + b) for n in range(27) for a, b in ((0, 1), (0, 2), (1, 2))]
    atoms.set_constraint(RigidMolecules(bonds))
    return atoms


def tip3p() -> Calculator:
    """Return TIP3P with a cutoff that fits the box."""
    from ase.calculators.tip3p import TIP3P

    return TIP3P(rc=4.5)


def argon() -> Calculator:
    """Return the Lennard-Jones potential of argon."""
    return LennardJones(sigma=3.4, epsilon=0.0103, rc=20.0)


def stored(name: str) -> Callable[[], Atoms]:
    """Return a maker of a molecule of benchmarks/structures."""
    return lambda: read(STRUCTURES / f"{name}.xyz")


MGO = {"Mg-Mg": (0.0, 0.0, 1.0, 0.0), "Mg-O": (1428.5, 0.0, 0.2945, 0.0), "O-O": (22764.3, 0.0, 0.149, 27.88)}
"""Lewis and Catlow, J. Phys. C 18, 1149 (1985)."""
NACL = {
    "Na-Na": (0.2637, 2.340, 0.317, 1.05),
    "Na-Cl": (0.2110, 2.755, 0.317, 6.99),
    "Cl-Cl": (0.1582, 3.170, 0.317, 72.4),
}
"""Fumi and Tosi, J. Phys. Chem. Solids 25, 31 (1964), without the terms in r^-8."""
STILLINGER_WEBER = manybody("stillinger_weber", "StillingerWeber", "Stillinger_Weber_PRB_31_5262_Si")

SYSTEMS = {
    "Pt55": System(lambda: Icosahedron("Pt", 3), EMT, 600.0),
    "alloy of five": System(random_alloy("Cu Ag Au Ni Pd", 3.9), EMT, 1000.0),
    "alloy of three": System(random_alloy("Cu Au Ni", 3.8), EMT, 1000.0),
    "aspirin": System(stored("aspirin"), xtb, 300.0, 0.5, 400, 20),
    "alanine dipeptide": System(stored("alanine_dipeptide"), xtb, 300.0, 0.5, 400, 20),
    "alanine tripeptide": System(stored("alanine_tripeptide"), xtb, 300.0, 0.5, 400, 20),
    "phenyldecane": System(stored("phenyldecane"), xtb, 300.0, 0.5, 400, 20),
    "water 16": System(water_16, xtb, 300.0, 0.5, 400, 15),
    "Al108 2500 K": System(lambda: bulk("Al", cubic=True) * 3, EMT, 2500.0),
    "liquid Si": System(lambda: bulk("Si", cubic=True) * 2, STILLINGER_WEBER, 3500.0, 2.0),
    "Si64 1000 K": System(lambda: bulk("Si", cubic=True) * 2, STILLINGER_WEBER, 1000.0, 2.0),
    "Cu81Al27": System(copper_aluminium, EMT, 1200.0),
    "Ar13": System(lambda: Icosahedron("Ar", 2, latticeconstant=5.4), argon, 20.0, 5.0, 1000, 20),
    "Ni108 1200 K": System(lambda: bulk("Ni", cubic=True) * 3, EMT, 1200.0, checked=True),
    "Au38": System(lambda: Octahedron("Au", 4, 1), EMT, 600.0, checked=True),
    "Ag-Pd-Cu": System(random_alloy("Ag Pd Cu", 3.85), EMT, 1000.0, checked=True),
    "Cu slab with N": System(slab_with_nitrogen, EMT, 500.0, 1.0, checked=True),
    "Si64 Kumagai": System(
        lambda: bulk("Si", cubic=True) * 2,
        manybody("kumagai", "Kumagai", "Kumagai_Comp_Mat_Sci_39_Si"),
        1200.0,
        2.0,
        checked=True,
    ),
    "SiC Tersoff": System(
        lambda: bulk("SiC", "zincblende", a=4.36, cubic=True) * 2,
        manybody("tersoff_brenner", "TersoffBrenner", "Tersoff_PRB_39_5566_Si_C"),
        1200.0,
        1.0,
        checked=True,
    ),
    "NaCl": System(
        lambda: bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 2,
        lambda: Ions(NACL, {"Na": 1.0, "Cl": -1.0}),
        600.0,
        2.0,
        checked=True,
    ),
    "MgO": System(
        lambda: bulk("MgO", "rocksalt", a=4.21, cubic=True) * 2,
        lambda: Ions(MGO, {"Mg": 2.0, "O": -2.0}),
        1200.0,
        2.0,
        checked=True,
    ),
    "Ar-Kr droplet": System(
        noble_droplet,
        lambda: Mixture({"Ar": 0.0103, "Kr": 0.0142}, {"Ar": 3.4, "Kr": 3.65}),
        40.0,
        5.0,
        checked=True,
    ),
    "TIP3P 27": System(rigid_water, tip3p, 300.0, 1.0, 800, 20, checked=True),
    "caffeine": System(stored("caffeine"), xtb, 300.0, 0.5, 400, 20, checked=True),
    "paracetamol": System(stored("paracetamol"), xtb, 300.0, 0.5, 400, 20, checked=True),
    "ibuprofen": System(stored("ibuprofen"), xtb, 300.0, 0.5, 400, 20, checked=True),
}


def langevin(
    atoms: Atoms, temperature_K: float, timestep_fs: float, friction_per_fs: float, rng: np.random.Generator
) -> Langevin:
    """Draw the velocities of `atoms`; return the dynamics."""
    thermal = np.sqrt(atoms.get_masses() * units.kB * temperature_K)
    atoms.set_momenta(thermal[:, None] * rng.normal(size=(len(atoms), 3)))
    return Langevin(
        atoms,
        timestep_fs * units.fs,
        temperature_K=temperature_K,
        friction=friction_per_fs / units.fs,
        rng=rng,
        fixcm=False,
    )


def sample(name: str) -> list[Atoms]:
    """Frames of a system in the order of its trajectory, from the cache or made now."""
    path = CACHE / f"{name.replace(' ', '_')}.extxyz"
    if path.exists():
        return read(path, ":")
    system, rng = SYSTEMS[name], np.random.default_rng(1)
    atoms = system.make()
    atoms.calc = system.target()
    dynamics = langevin(atoms, system.temperature, system.timestep, FRICTION_PER_FS, rng)
    dynamics.run(system.start)
    frames = []
    for _ in range(N_TRAIN + N_TEST):
        dynamics.run(system.every)
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(apply_constraint=False)}
        if atoms.pbc.all() and "stress" in atoms.calc.implemented_properties:
            results["stress"] = atoms.get_stress(apply_constraint=False)
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    CACHE.mkdir(exist_ok=True)
    write(path, frames)
    return frames


MODELS: dict[str, Callable[[], Surrogate]] = {
    "bayesian_soap": BayesianSoap,
    "gradient_gp": lambda: GradientGP(force_std=True),
    "joint_gp": JointGP,
}


def make_model(name: str) -> Surrogate:
    """Return an untrained surrogate."""
    return MODELS[name]()


def measure(system: str, model: str, sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows of the table for one system and model: errors in eV/Å and eV/Å³, times in ms of the processor."""
    frames = [Frame(atoms, atoms.calc.results, step) for step, atoms in enumerate(sample(system))]
    order = np.random.default_rng(0).permutation(N_TRAIN)
    train, unseen = [frames[n] for n in order], frames[N_TRAIN:]
    surrogate, spent = make_model(model), []
    for n in range(1, max(sizes) + 1):
        start = time.process_time()
        surrogate.fit(train[:n])
        spent.append(time.process_time() - start)
        if n not in sizes:
            continue
        answers, took = [], []
        for frame in unseen:
            start = time.process_time()
            answers.append(surrogate.predict(frame.x))
            took.append(time.process_time() - start)
        errors = np.concatenate(
            [a.results["forces"] - f.results["forces"] for a, f in zip(answers, unseen, strict=True)]
        )
        std = np.concatenate([a.std["forces"] for a in answers])
        energies = [a.results["energy"] - f.results["energy"] for a, f in zip(answers, unseen, strict=True)]
        stress = [
            np.abs(a.results["stress"] - f.results["stress"]).mean()
            for a, f in zip(answers, unseen, strict=True)
            if "stress" in f.results
        ]
        described = surrogate.describe() if hasattr(surrogate, "describe") else {}
        yield {
            "system": system,
            "checked": SYSTEMS[system].checked,
            "model": model,
            "frames": n,
            "n_atoms": len(unseen[0].x),
            "force_mae": np.abs(errors).mean(),
            "force_rms": np.sqrt(np.mean(errors**2)),
            "rms_over_std": np.sqrt(np.mean(errors**2) / np.mean(std**2)),
            "energy_mae_meV_atom": 1e3 * np.mean(np.abs(energies)) / len(unseen[0].x),
            "stress_mae": np.mean(stress) if stress else np.nan,
            "call_ms": 1e3 * min(took),
            "first_frames_s": sum(spent[:8]),
            "learn_ms": 1e3 * np.mean(spent[8:]) if n > 8 else np.nan,
            "n_features": described.get("n_features"),
            "r_cut": described.get("r_cut"),
            "width": described.get("width"),
        }


@click.command(context_settings={"show_default": True})
@click.option("--system", "systems", multiple=True, type=click.Choice(list(SYSTEMS)), help="By default all.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(list(MODELS)),
    default=["bayesian_soap"],
)
@click.option("--most", default=max(SIZES), help="Largest number of frames.")
@click.option("--table", "path", type=click.Path(path_type=Path), default=RESULTS / "surrogates.csv")
def main(systems: tuple[str, ...], models: tuple[str, ...], most: int, path: Path) -> None:
    """Measure the models on the systems, and write the rows into the table."""
    key = ["system", "model", "frames"]
    for system in systems or SYSTEMS:
        for model in models:
            for row in measure(system, model, [n for n in SIZES if n <= most]):
                known = [pd.read_csv(path)] if path.exists() else []
                table = pd.concat([*known, pd.DataFrame([row])])
                table = table.drop_duplicates(key, keep="last")
                table.to_csv(path, index=False, float_format="%.4g")
                click.echo(
                    "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items())
                )


if __name__ == "__main__":
    main()
