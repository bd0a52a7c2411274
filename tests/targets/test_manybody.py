"""Many-body potentials by name."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target
from ase_proxima.targets.contract import ask

pytest.importorskip("matscipy")


@pytest.mark.parametrize(
    ("name", "crystal", "lattice", "cohesive"),
    [
        # Stillinger and Weber 1985: 2 epsilon an atom, of 2.1683 eV; Tersoff 1989 and Kumagai 2007: fitted to 4.63 eV.
        ("sw:Si", "diamond", 5.431, -4.336),
        ("tersoff:Si", "diamond", 5.432, -4.63),
        ("kumagai:si", "diamond", 5.429, -4.63),
    ],
)
def test_silicon_has_the_lattice_and_the_energy_of_the_paper(name, crystal, lattice, cohesive):
    atoms = bulk("Si", crystal, a=lattice)
    target = parse_target(name, atoms=atoms)
    assert target.name == name
    found = ask(target, atoms, ["energy", "forces", "stress"])
    assert found["energy"] / 2 == pytest.approx(cohesive, abs=0.01)
    assert np.abs(found["stress"]).max() < 2e-3  # eV/Å^3, of a bulk modulus of 0.6


def test_silicon_carbide_has_both_elements():
    carbide = bulk("SiC", "zincblende", a=4.32)
    assert ask(parse_target("tersoff:SiC", atoms=carbide), carbide, ["energy"])["energy"] < -12
    with pytest.raises(InputError, match=r"target 'tersoff:Si' has no parameters for C, only for Si"):
        parse_target("tersoff:Si", atoms=carbide)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("sw:Ge", "unknown target 'sw:Ge': use one of sw:Si, kumagai:Si"),
        ("sw", "must be a form and elements alone"),
        ("sw:Si,x=1", "must be a form and elements alone"),
    ],
)
def test_unknown_potentials_are_refused(spec, words):
    with pytest.raises(InputError, match=words):
        parse_target(spec)
