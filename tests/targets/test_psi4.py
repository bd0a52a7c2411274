"""The real Psi4, in its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import SCFError
from ase.units import Hartree

from ase_proxima.errors import InputError
from ase_proxima.targets.psi4 import Psi4Calculator

pytestmark = [pytest.mark.psi4, pytest.mark.usefixtures("needs_psi4")]


@pytest.fixture(scope="module")
def hf(needs_psi4):
    with Psi4Calculator("HF", "6-31G*") as calculator:
        yield calculator


@pytest.fixture(scope="module")
def hf_sto3g(needs_psi4):
    with Psi4Calculator("HF", "STO-3G") as calculator:
        yield calculator


def test_methane_has_the_published_energy():
    # Hehre, Radom, Schleyer, Pople, Ab Initio Molecular Orbital Theory (1986): HF/6-31G* at its minimum,
    # r(CH) = 1.084 Å, -40.19517 Hartree; computed without density fitting.
    side = 1.0837 / np.sqrt(3)
    corners = side * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    atoms = Atoms("CH4", positions=[[0, 0, 0], *corners])
    with Psi4Calculator("HF", "6-31G*", options={"scf_type": "pk"}) as calculator:
        atoms.calc = calculator
        assert atoms.get_potential_energy() / Hartree == pytest.approx(-40.19517, abs=1e-5)
        assert np.abs(atoms.get_forces()).max() < 0.02


def test_energy_and_gradient_calls_agree(hf, methane):
    methane.calc = hf
    energy = methane.get_potential_energy()
    methane.get_forces()
    assert methane.get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_results_are_converged_to_a_microelectronvolt(hf, methane):
    with Psi4Calculator(options={"e_convergence": 1e-12, "d_convergence": 1e-10}) as tight:
        methane.calc = tight
        energy, forces = methane.get_potential_energy(), methane.get_forces()
    methane.calc = hf
    assert methane.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert methane.get_forces() == pytest.approx(forces, abs=1e-6)


@pytest.mark.parametrize(("index", "axis"), [(0, 1), (2, 0)])
def test_forces_are_the_slope_of_the_energy(hf, methane, numerical_force, index, axis):
    methane.calc = hf
    assert methane.get_forces()[index, axis] == pytest.approx(numerical_force(methane, index, axis), abs=2e-5)


def test_forces_turn_and_move_with_the_molecule(hf, methane, rotation):
    methane.calc = hf
    energy, forces = methane.get_potential_energy(), methane.get_forces()
    turned = methane.copy()
    turned.positions = methane.positions @ rotation.T + [1.0, -2.0, 0.5]
    turned.calc = hf
    assert turned.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert turned.get_forces() == pytest.approx(forces @ rotation.T, abs=1e-6)


def test_symmetric_molecule_is_not_turned_either(hf_sto3g):
    atoms = molecule("H2O")
    atoms.rotate(40.0, (1, 1, 0))
    atoms.calc = hf_sto3g
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    # On the bisector of the angle, whichever way it points.
    bisector = atoms.get_distances(0, [1, 2], vector=True).sum(axis=0)
    assert np.cross(forces[0], bisector) == pytest.approx(np.zeros(3), abs=1e-5)


def test_two_workers_give_the_same_bits_whatever_they_did_before(hf_sto3g, methane):
    def results(calculator):
        calculator.calculate(methane, ["energy", "forces"])
        return calculator.results["energy"], calculator.results["forces"].tolist()

    hf_sto3g.calculate(molecule("H2O"))
    with Psi4Calculator("HF", "STO-3G", max_calls=1) as other:
        assert results(hf_sto3g) == results(other) == results(other)
        assert other.n_starts == 2


def test_radical_is_unrestricted(hf_sto3g):
    # Szabo and Ostlund: a hydrogen atom in STO-3G has -0.4666 Hartree.
    assert hf_sto3g.get_potential_energy(Atoms("H")) / Hartree == pytest.approx(-0.46658, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "basis", "words"),
    [
        ("HFF", "6-31G*", r"Psi4 \S+ has no method 'HFF'; close to it: hf"),
        ("HF", "6-31G**x", r"cannot use the basis '6-31G\*\*x'; close to it: 6-31gss"),
    ],
)
def test_unknown_names_are_refused_before_any_calculation(method, basis, words):
    with Psi4Calculator(method, basis) as calculator:
        with pytest.raises(InputError, match=words):
            calculator.validate()
        assert calculator.n_calls == 0


def test_basis_without_the_element_is_refused():
    with Psi4Calculator("HF", "6-31G*") as calculator, pytest.raises(InputError, match="lacks an element"):
        calculator.validate(Atoms("U", positions=[[0, 0, 0]]))


def test_unknown_option_is_refused():
    with (
        Psi4Calculator(options={"maxitter": 5}) as calculator,
        pytest.raises(InputError, match="refuses an option: MAXITTER is not a valid option"),
    ):
        calculator.validate()


def test_method_without_gradient_offers_energies_only():
    with Psi4Calculator("FCI", "STO-3G") as calculator:
        calculator.validate()
        assert calculator.implemented_properties == ["energy"]


def test_scf_that_does_not_converge_is_an_error_and_the_worker_lives(methane):
    with Psi4Calculator("HF", "STO-3G", options={"maxiter": 2}) as calculator:
        for _ in range(2):
            with pytest.raises(SCFError, match="did not converge"):
                calculator.calculate(methane)
        assert (calculator.n_starts, calculator.n_calls) == (1, 0)


def test_killed_worker_is_replaced_with_the_same_result(hf_sto3g, methane):
    hf_sto3g.calculate(methane)
    energy, starts = hf_sto3g.results["energy"], hf_sto3g.n_starts
    os.kill(hf_sto3g.worker_pid, signal.SIGKILL)
    hf_sto3g.calculate(methane)
    assert hf_sto3g.results["energy"] == energy
    assert hf_sto3g.n_starts == starts + 1


CLIENT = """
import sys
from ase.build import molecule
from ase_proxima.targets.psi4 import Psi4Calculator
calculator = Psi4Calculator("HF", "cc-pVDZ", scratch=sys.argv[1])
calculator.validate()
print(calculator.worker_pid, flush=True)
if sys.argv[2] == "busy":
    calculator.calculate(molecule("C6H6"), ["forces"])
else:
    sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_nothing_outlives_a_client_that_was_killed(tmp_path, wait_until, is_running, state):
    command = [sys.executable, "-c", CLIENT, str(tmp_path), state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        worker = int(client.stdout.readline())
        assert is_running(worker)
        if state == "busy":
            time.sleep(1.5)
        client.kill()
    assert wait_until(lambda: not is_running(worker))
    assert list(tmp_path.iterdir()) == []
