"""The client of the Psi4 worker, against a worker without Psi4."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, SCFError
from ase.units import Bohr, Hartree

from ase_proxima.errors import InputError
from ase_proxima.targets import psi4_program
from ase_proxima.targets.psi4 import Psi4Calculator

FAKE = Path(__file__).with_name("fake_psi4_worker.py")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Makes calculators that talk to the fake worker, and closes them."""
    monkeypatch.setattr("ase_proxima.targets.psi4._SCRIPT", FAKE)
    made = []

    def make(options=None, **settings):
        settings = {"python": sys.executable, "scratch": tmp_path, **settings}
        made.append(Psi4Calculator(options=options, **settings))
        return made[-1]

    yield make
    for calculator in made:
        calculator.close()


def test_atomic_units_are_converted_once(fake):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 2 * Bohr]], calculator=fake())
    assert atoms.get_potential_energy() == pytest.approx(0.0125 * Hartree, rel=1e-12)
    assert atoms.get_forces()[0] == pytest.approx([0, 0, 0.05 * Hartree / Bohr], rel=1e-12)


def test_forces_fill_in_the_energy(fake, methane):
    calculator = fake()
    methane.calc = calculator
    methane.get_forces()
    methane.get_potential_energy()
    assert calculator.n_calls == 1


def test_energy_alone_leaves_the_forces_out(fake, methane):
    calculator = fake()
    calculator.calculate(methane, ["energy"])
    assert set(calculator.results) == {"energy"}


def test_dead_worker_is_replaced(fake, methane):
    calculator = fake()
    methane.calc = calculator
    energy = methane.get_potential_energy()
    os.kill(calculator.worker_pid, signal.SIGKILL)
    calculator.reset()
    assert methane.get_potential_energy() == energy
    assert (calculator.n_starts, calculator.n_calls) == (2, 2)


def test_call_on_which_the_worker_died_is_repeated(fake, methane, tmp_path):
    calculator = fake({"crash": str(tmp_path / "crashed")})
    methane.calc = calculator
    assert np.isfinite(methane.get_potential_energy())
    assert (calculator.n_starts, calculator.n_calls) == (2, 1)


def test_worker_that_dies_twice_is_an_error_with_its_last_words(fake, methane):
    calculator = fake({"always_crash": True})
    with pytest.raises(CalculationFailed, match="never any luck"):
        calculator.calculate(methane)
    assert (calculator.n_starts, calculator.n_calls) == (2, 0)


def test_worker_is_recycled(fake, methane, tmp_path):
    log = tmp_path / "pids"
    calculator = fake({"log": str(log)}, max_calls=2)
    for _ in range(5):
        calculator.calculate(methane)
    pids = log.read_text().split()
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 1]
    assert calculator.n_starts == 3


def test_slow_call_is_stopped_and_the_next_one_works(fake, methane, tmp_path, is_running):
    calculator = fake({"log": str(tmp_path / "pids"), "sleep": 60.0}, timeout_s=1.0)
    with pytest.raises(CalculationFailed, match=r"no result within 1 s: raise timeout_s"):
        calculator.calculate(methane)
    calculator.calculate(methane)
    first, second = (tmp_path / "pids").read_text().split()
    assert calculator.n_calls == 1
    assert (is_running(int(first)), is_running(int(second))) == (False, True)


def test_interrupted_call_does_not_spoil_the_next(fake, methane, tmp_path):
    expected = fake().get_potential_energy(methane)
    calculator = fake({"log": str(tmp_path / "pids"), "sleep": 60.0})
    calculator.validate()

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            calculator.calculate(methane)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    calculator.calculate(methane)
    assert calculator.results["energy"] == expected


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_energy_that_is_not_finite_is_refused(fake, methane, value):
    calculator = fake({"energy": value})
    with pytest.raises(CalculationFailed, match="not finite for CH4"):
        calculator.calculate(methane)
    assert calculator.results == {}


def test_answer_for_another_geometry_is_refused(fake, methane):
    calculator = fake({"repulsion": 0.0})
    with pytest.raises(CalculationFailed, match="another geometry than the one sent"):
        calculator.calculate(methane)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("scf", SCFError, "did not converge: as asked"),
        ("failed", CalculationFailed, "Psi4 failed: as asked"),
        ("method", InputError, "Psi4 0.0 has no method 'HF'"),
        ("basis", InputError, r"cannot use the basis '6-31G\*'"),
        ("options", InputError, "refuses an option"),
    ],
)
def test_refusals_become_errors_of_their_kind(fake, methane, kind, error, words):
    with pytest.raises(error, match=words):
        fake({"refuse": kind}).calculate(methane)


def test_answer_that_is_no_json_is_an_error(fake, methane):
    with pytest.raises(CalculationFailed, match="what is JSON"):
        fake({"garbage": True}).calculate(methane)


def test_method_without_gradient_offers_energies_only(fake):
    calculator = fake({"has_gradient": False})
    calculator.validate()
    assert calculator.implemented_properties == ["energy"]
    assert Psi4Calculator.implemented_properties == ["energy", "forces"]


def test_changed_parameter_discards_results(fake, methane):
    calculator = fake()
    methane.calc = calculator
    methane.get_potential_energy()
    calculator.set(basis="STO-3G")
    methane.get_potential_energy()
    assert calculator.n_calls == 2


def test_close_ends_the_worker_and_deletes_its_scratch(fake, methane, tmp_path, is_running):
    calculator = fake()
    calculator.calculate(methane)
    pid, scratch = calculator.worker_pid, calculator.scratch_folder
    assert scratch.parent == tmp_path
    assert scratch.is_dir()
    calculator.close()
    calculator.close()
    assert not is_running(pid)
    assert not scratch.exists()
    assert (calculator.worker_pid, calculator.scratch_folder) == (None, None)
    calculator.calculate(methane)
    assert calculator.n_starts == 2


def test_dropped_calculator_takes_its_worker_along(fake, monkeypatch, tmp_path, methane, is_running):
    calculator = Psi4Calculator(python=sys.executable, scratch=tmp_path)
    monkeypatch.setattr("ase_proxima.targets.psi4._SCRIPT", FAKE)
    calculator.calculate(methane)
    pid = calculator.worker_pid
    del calculator
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:  # collection has no fixed time
        gc.collect()
        time.sleep(0.05)
    assert not is_running(pid)
    assert list(tmp_path.iterdir()) == []


FORK = """
import os, sys
from pathlib import Path
from ase.build import molecule
import ase_proxima.targets.psi4 as psi4
psi4._SCRIPT = Path(sys.argv[1])
calculator = psi4.Psi4Calculator(python=sys.executable, scratch=sys.argv[2])
atoms = molecule("H2O")
calculator.calculate(atoms)
parent = calculator.worker_pid
child = os.fork()
if child == 0:
    assert calculator.worker_pid is None
    calculator.calculate(atoms)
    assert calculator.worker_pid not in (None, parent)
    calculator.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
calculator.calculate(atoms)
assert calculator.worker_pid == parent
assert calculator.n_starts == 1
print("both worked")
"""


def test_forked_process_gets_a_worker_of_its_own(tmp_path):
    command = [sys.executable, "-W", "error", "-c", FORK, str(FAKE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("both worked\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_threads": 0}, "n_threads must be at least 1, got 0"),
        ({"memory_mb": float("nan")}, "memory_mb must be at least 1, got nan"),
        ({"max_calls": 0}, "max_calls must be at least 1, got 0"),
        ({"timeout_s": 0.0}, "timeout_s must be positive"),
        ({"multiplicity": 0}, "multiplicity must be at least 1"),
        ({"scratch": "/nowhere/at/all"}, "scratch must be an existing folder, got /nowhere/at/all"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Psi4Calculator(**settings)


def test_missing_psi4_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PROXIMA_PSI4_PYTHON", str(tmp_path / "python"))
    with pytest.raises(
        InputError, match=r"Psi4 was not found: install it with `apt install psi4`.*tried .*python"
    ):
        Psi4Calculator().validate()


def test_interpreters_come_from_the_variable_or_the_program(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "psi4"
    package.mkdir(parents=True)
    program = tmp_path / "psi4"
    program.write_text(f"#!{sys.executable}\nprint('export PYTHONPATH={tmp_path}/lib:$PYTHONPATH')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PROXIMA_PSI4_PYTHON", raising=False)
    assert psi4_program.interpreters(None) == [
        (sys.executable, [f"{tmp_path}/lib"]),
        ("/usr/bin/python3", [f"{tmp_path}/lib"]),
    ]
    monkeypatch.setenv("PROXIMA_PSI4_PYTHON", "/opt/python")
    assert psi4_program.interpreters(None) == [("/opt/python", [f"{tmp_path}/lib"])]
    assert psi4_program.interpreters("/my/python") == [("/my/python", [f"{tmp_path}/lib"])]


def test_environment_keeps_out_what_leads_another_python_astray(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MKL_DYNAMIC", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("PSIDATADIR", "/data")
    environment = psi4_program.environment(2)
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MKL_DYNAMIC"} & set(environment)
    assert (environment["OMP_NUM_THREADS"], environment["PSIDATADIR"]) == ("2", "/data")
