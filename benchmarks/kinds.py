"""Whole runs of kinds of systems that no setting was chosen on, with every default: was the bound held, what was saved.

As `general.py`, on metals and an alloy with a body-centred lattice, a glass former, a hexagonal crystal of
Lennard-Jones atoms, a molten salt and a molten alloy, quartz, diamond, sheets and tubes, a slab with a molecule, a
crystal of molecules, a cation, a radical, an organometallic molecule, a sugar, a long chain and small molecules.

    python benchmarks/kinds.py --run "molten NaCl" --run ferrocene

Writes benchmarks/results/kinds.csv, with the columns of general.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, nanotube
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.cluster import Decahedron
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from embedded_atoms import EmbeddedAtoms, along_pairs
from general import Run, command
from surrogates import NACL, Ions, System, manybody, stored, xtb

RESULTS = Path(__file__).parent / "results" / "kinds.csv"

TUNGSTEN = {"A": 1.896373, "d": 4.400224, "c": 3.25, "powers": (47.1346499, -33.7665655, 6.2541999)}
"""Finnis and Sinclair, Phil. Mag. A 50, 45 (1984): eV and Å."""
SILICA = {
    "Si-Si": (0.0, 0.0, 1.0, 0.0),
    "O-O": (1388.7730, 0.0, 1.0 / 2.76, 175.0),
    "Si-O": (18003.7572, 0.0, 1.0 / 4.87318, 133.5381),
}
"""van Beest, Kramer and van Santen, Phys. Rev. Lett. 64, 1955 (1990)."""
GLASS_EPSILON, GLASS_SIGMA = 0.08, 2.2
"""Units (eV, Å) of the mixture of Kob and Andersen, Phys. Rev. Lett. 73, 1376 (1994), like those of Ni with P."""


class FinnisSinclair(Calculator):  # type: ignore[misc]
    """Pairs with (r - c)² (c0 + c1 r + c2 r²), and -A times the root of each atom's sum of (r - d)²."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Fill in energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        A, d, c, powers = (TUNGSTEN[name] for name in ("A", "d", "c", "powers"))
        n = len(self.atoms)
        i, j, r, D = neighbor_list("ijdD", self.atoms, d)
        rho = np.bincount(i, (r - d) ** 2, minlength=n)
        pairs = np.polynomial.Polynomial(powers) * np.polynomial.Polynomial((-c, 1.0)) ** 2
        near = r < c
        energy = 0.5 * pairs(r[near]).sum() - A * np.sqrt(rho).sum()
        bent = -0.5 * A / np.sqrt(rho)
        slope = np.where(near, pairs.deriv()(r), 0.0) + 2.0 * (r - d) * (bent[i] + bent[j])
        self.results = along_pairs(self.atoms, energy, i, r, D, slope)


def glass_former() -> Calculator:
    """Return the binary Lennard-Jones mixture of Kob and Andersen."""
    from matscipy.calculators.pair_potential import LennardJonesCut, PairPotential

    sizes = {(28, 28): (1.0, 1.0), (15, 28): (1.5, 0.8), (15, 15): (0.5, 0.88)}
    return PairPotential(
        {
            pair: LennardJonesCut(e * GLASS_EPSILON, s * GLASS_SIGMA, 2.5 * s * GLASS_SIGMA)
            for pair, (e, s) in sizes.items()
        }
    )


def glass() -> Atoms:
    """Return 108 atoms on a cubic lattice at the mixture's density of 1.2, a fifth of them small, at random places."""
    atoms = bulk("Ni", cubic=True, a=GLASS_SIGMA * (4 / 1.2) ** (1 / 3)) * 3
    atoms.numbers[np.random.default_rng(0).permutation(108)[:21]] = 15
    return atoms


def body_centred_alloy() -> Atoms:
    """Return 54 atoms of Mo, Ta, W and Fe at random places."""
    atoms = bulk("W", cubic=True, a=3.21) * 3
    atoms.symbols = [("Mo", "Ta", "W", "Fe")[n % 4] for n in np.random.default_rng(0).permutation(len(atoms))]
    return atoms


def slab_with_carbon_monoxide() -> Atoms:
    """Return Pt(111), its lowest layer held, with CO on top of an atom."""
    slab = fcc111("Pt", (3, 3, 3), vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.positions[:, 2] < slab.positions[:, 2].min() + 0.1))
    add_adsorbate(slab, molecule("CO"), 2.0, "ontop", mol_index=1)
    return slab


def dry_ice() -> Atoms:
    """Return the cubic cell of CO2."""
    return crystal("CO", [(0, 0, 0), (0.1185, 0.1185, 0.1185)], spacegroup=205, cellpar=[5.62] * 3 + [90] * 3)


def quartz() -> Atoms:
    """Return 72 atoms of alpha quartz."""
    basis = [(0.4697, 0.0, 2 / 3), (0.4135, 0.2669, 0.7858)]
    return crystal("SiO", basis, spacegroup=154, cellpar=[4.913, 4.913, 5.405, 90, 90, 120]) * 2


def sheet() -> Atoms:
    """Return 32 atoms of graphene."""
    return graphene(size=(4, 4, 1), vacuum=10.0)


def tube(n: int) -> Callable[[], Atoms]:
    """Return a maker of two cells of the zigzag carbon tube (n, 0): 6 is metallic, 8 is not."""
    return lambda: nanotube(n, 0, length=2, vacuum=8.0)


def boron_nitride() -> Atoms:
    """Return a sheet of 32 atoms."""
    atoms = graphene(size=(4, 4, 1), a=2.5, vacuum=8.0)
    atoms.symbols = ["B", "N"] * 16
    return atoms


def liquid_silver_gold() -> Atoms:
    """Return 108 atoms in turn, at the density of the liquid, still on their lattice."""
    atoms = bulk("Ag", cubic=True, a=4.25) * 3
    atoms.symbols = ["Ag", "Au"] * 54
    return atoms


def benzene_dimer() -> Atoms:
    """Return two parallel molecules 3.8 Å apart."""
    lower, upper = molecule("C6H6"), molecule("C6H6")
    upper.translate((0.0, 0.0, 3.8))
    return lower + upper


def gfn(method: str, **options: Any) -> Callable[[], Calculator]:
    """Return a maker of tblite's calculator."""

    def make() -> Calculator:
        from tblite.ase import TBLite

        return TBLite(method=method, verbosity=0, **options)

    return make


SYSTEMS = {
    "W54": System(lambda: bulk("W", cubic=True, a=3.1652) * 3, FinnisSinclair, 1500.0, 2.0, checked=True),
    "Fe54": System(lambda: bulk("Fe", cubic=True) * 3, EmbeddedAtoms, 1000.0, 2.0, checked=True),
    "Mo-Ta-W-Fe": System(body_centred_alloy, EmbeddedAtoms, 1000.0, 2.0, checked=True),
    "glass former": System(glass, glass_former, 800.0, 2.0, checked=True),
    "hcp Lennard-Jones": System(
        lambda: bulk("Mg") * (4, 4, 2),
        lambda: LennardJones(sigma=2.92, epsilon=0.175, rc=8.0, smooth=True),
        500.0,
        checked=True,
    ),
    "molten NaCl": System(
        lambda: bulk("NaCl", "rocksalt", a=6.3, cubic=True) * 2,
        lambda: Ions(NACL, {"Na": 1.0, "Cl": -1.0}),
        1800.0,
        2.0,
        checked=True,
    ),
    "quartz": System(quartz, lambda: Ions(SILICA, {"Si": 2.4, "O": -1.2}), 600.0, 1.0, checked=True),
    "graphene": System(
        sheet,
        manybody("tersoff_brenner", "TersoffBrenner", "Brenner_PRB_42_9458_C_II"),
        300.0,
        1.0,
        checked=True,
    ),
    "Pt slab with CO": System(slab_with_carbon_monoxide, EMT, 500.0, 1.0, checked=True),
    "CO2 crystal": System(dry_ice, gfn("GFN1-xTB"), 150.0, 1.0, checked=True),
    "H9O4+": System(stored("hydronium_with_water"), gfn("GFN2-xTB", charge=1), 300.0, 0.5, checked=True),
    "tert-butyl radical": System(
        lambda: molecule("C3H9C"), gfn("GFN2-xTB", multiplicity=2), 300.0, 0.5, checked=True
    ),
    "ferrocene": System(stored("ferrocene"), xtb, 300.0, 0.5, checked=True),
    "glucose": System(stored("glucose"), xtb, 300.0, 0.5, checked=True),
    "eicosane": System(stored("eicosane"), xtb, 300.0, 0.5, checked=True),
    "carbon tube (6, 0)": System(tube(6), gfn("GFN1-xTB"), 500.0, 1.0, checked=True),
    "carbon tube (8, 0)": System(tube(8), gfn("GFN1-xTB"), 500.0, 1.0, checked=True),
    "BN sheet": System(boron_nitride, gfn("GFN1-xTB"), 500.0, 1.0, checked=True),
    "diamond": System(lambda: bulk("C", cubic=True) * 2, gfn("GFN1-xTB"), 800.0, 1.0, checked=True),
    "liquid Ag-Au": System(liquid_silver_gold, EMT, 2000.0, 2.0, checked=True),
    "Ni decahedron": System(lambda: Decahedron("Ni", 3, 2, 0), EMT, 700.0, 4.0, checked=True),
    "benzene dimer": System(benzene_dimer, xtb, 300.0, 0.5, checked=True),
    "nitromethane": System(lambda: molecule("CH3NO2"), xtb, 400.0, 0.5, checked=True),
    "isobutene": System(lambda: molecule("isobutene"), xtb, 500.0, 0.5, checked=True),
}

RUNS = {
    name: Run(name, "force_max", bound, n_steps)
    for name, bound, n_steps in (
        ("W54", 0.1, 300),
        ("Fe54", 0.1, 300),
        ("Mo-Ta-W-Fe", 0.1, 300),
        ("glass former", 0.1, 300),
        ("hcp Lennard-Jones", 0.05, 300),
        ("molten NaCl", 0.1, 300),
        ("quartz", 0.1, 300),
        ("graphene", 0.1, 300),
        ("Pt slab with CO", 0.1, 300),
        ("CO2 crystal", 0.1, 300),
        ("H9O4+", 0.1, 300),
        ("tert-butyl radical", 0.1, 300),
        ("ferrocene", 0.1, 300),
        ("glucose", 0.1, 300),
        ("eicosane", 0.1, 200),
        ("carbon tube (6, 0)", 0.2, 100),
        ("carbon tube (8, 0)", 0.2, 100),
        ("BN sheet", 0.2, 100),
        ("diamond", 0.2, 100),
        ("liquid Ag-Au", 0.1, 300),
        ("Ni decahedron", 0.05, 300),
        ("benzene dimer", 0.1, 300),
        ("nitromethane", 0.1, 300),
        ("isobutene", 0.05, 400),
    )
}

main = command(RUNS, SYSTEMS, RESULTS)

if __name__ == "__main__":
    main()
