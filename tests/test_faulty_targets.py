"""Calculators that return what they should not, or end in odd ways, behind a `ProximaCalculator`."""

from __future__ import annotations

import sys

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from ase_proxima import ProximaCalculator, TargetError


class Twisted(Calculator):
    """EMT, whose results pass through a function of the number of the calculation and the results."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, twist):
        super().__init__()
        self.twist, self.n = twist, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        emt = EMT()
        results = {
            name: emt.get_property(name, atoms)
            for name in ("energy", "forces", *(["stress"] if atoms.pbc.all() else []))
        }
        self.n += 1
        self.results = self.twist(self.n - 1, results)


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=4)
    return atoms


def full_stress(stress):
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def wrapped(twist, **options):
    return ProximaCalculator(Twisted(twist), error_bound=0.05, when_not_worthwhile="ignore", **options)


def test_a_full_stress_and_an_energy_in_an_array_are_read_as_ase_reads_them(tmp_path):
    atoms, plain = copper(), copper()
    plain.calc = EMT()
    atoms.calc = wrapped(
        lambda n, results: (
            results | {"energy": np.array([results["energy"]]), "stress": full_stress(results["stress"])}
        ),
        run_dir=tmp_path / "run",
    )
    assert atoms.get_potential_energy() == plain.get_potential_energy()
    assert np.array_equal(atoms.get_stress(), plain.get_stress())
    atoms.calc.close()
    [row] = ase.db.connect(tmp_path / "run" / "frames.db").select()
    assert np.array_equal(row.stress, plain.get_stress())


WRONG = {
    "one row": lambda forces: forces[:1],
    "turned": lambda forces: forces.T,
    "complex": lambda forces: forces + 0j,
    "masked": lambda forces: np.ma.masked_less(forces, 0.0),
    "not finite": lambda forces: forces * np.inf,
    "words": lambda forces: forces.astype(str),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_wrong_result_once_is_asked_for_again_and_never_stored(kind, tmp_path):
    def twist(n, results):
        return results | {"forces": WRONG[kind](results["forces"])} if n == 1 else results

    molecule_at, plain = molecule("N2"), molecule("N2")
    plain.calc = EMT()
    calculator = wrapped(twist, run_dir=tmp_path / "run", controller="baseline")
    molecule_at.calc = calculator
    for step in range(3):
        molecule_at.positions[0, 2] = plain.positions[0, 2] = 0.5 + 0.01 * step
        assert np.array_equal(molecule_at.get_forces(), plain.get_forces())
    assert calculator.target.n == 4  # one of them for nothing
    assert calculator.stats.n_frames == 3
    assert all(frame.results["forces"].shape == (2, 3) for frame in calculator.frames)
    calculator.close()


@pytest.mark.parametrize("kind", ["one row", "masked"])
def test_a_wrong_result_twice_ends_with_the_structure_saved_and_the_run_goes_on(kind, tmp_path):
    def twist(n, results):
        return results | {"forces": WRONG[kind](results["forces"])} if n in (1, 2) else results

    atoms = molecule("N2")
    atoms.calc = calculator = wrapped(twist, run_dir=tmp_path / "run")
    atoms.get_forces()
    atoms.positions[0, 2] += 0.05
    with pytest.raises(TargetError, match=r"failed at call 1, 2 times .*: the structure is in ") as caught:
        atoms.get_forces()
    assert "\n" not in str(caught.value)
    [saved] = (tmp_path / "run" / "failed").iterdir()
    assert np.allclose(ase.io.read(saved).positions, atoms.positions, atol=1e-7)
    assert calculator.stats.n_frames == 1
    assert atoms.get_forces().shape == (2, 3)
    assert calculator.stats.n_frames == 2
    calculator.close()


def test_a_target_that_exits_is_a_failure_of_the_target(tmp_path):
    def twist(n, results):
        return sys.exit(3) if n in (1, 2) else results

    atoms = molecule("N2")
    atoms.calc = calculator = wrapped(twist, run_dir=tmp_path / "run")
    atoms.get_forces()
    atoms.positions[0, 2] += 0.05
    with pytest.raises(TargetError, match="SystemExit: 3"):
        atoms.get_forces()
    atoms.get_forces()
    calculator.close()


def test_an_old_style_calculator_can_be_wrapped():
    class Old:
        def get_potential_energy(self, atoms):
            return EMT().get_potential_energy(atoms)

        def get_forces(self, atoms):
            return EMT().get_forces(atoms)

    atoms, plain = molecule("N2"), molecule("N2")
    plain.calc = EMT()
    atoms.calc = ProximaCalculator(Old(), error_bound=0.05, when_not_worthwhile="ignore")
    assert np.array_equal(atoms.get_forces(), plain.get_forces())
    assert atoms.calc.name == "proxima(old)"


def test_asaps_own_calculator_can_be_wrapped():
    asap3 = pytest.importorskip(
        "asap3", reason="asap3 is not installed: it is built where there is a C++ compiler"
    )
    atoms = bulk("Cu", cubic=True) * 3
    atoms.rattle(0.05, seed=1)
    atoms.calc = ProximaCalculator(asap3.EMT(), error_bound=0.05, when_not_worthwhile="ignore")
    wanted = EMT(asap_cutoff=True).get_forces(atoms)
    assert np.abs(atoms.get_forces() - wanted).max() < 1e-6
