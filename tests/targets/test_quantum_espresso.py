"""Quantum ESPRESSO: what it is given, what it returns, how it fails; the real program where it is installed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, SCFError

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target
from ase_proxima.targets.contract import ask
from ase_proxima.targets.quantum_espresso import (
    SYSTEM_PSEUDO_DIR,
    QuantumEspressoCalculator,
    find_pseudopotentials,
    kpoint_grid,
)

NAMES = ["energy", "forces", "stress"]


def real_program(test):
    """Mark a test that runs the real program, and skip it where there is none."""
    missing = shutil.which("pw.x") is None or not Path(SYSTEM_PSEUDO_DIR).is_dir()
    reason = "Quantum ESPRESSO or its pseudopotentials are not installed: run scripts/install-qe"
    return pytest.mark.qe(pytest.mark.skipif(missing, reason=reason)(test))


@pytest.fixture
def pseudo_dir(tmp_path):
    folder = tmp_path / "pseudo"
    folder.mkdir()
    for name in (
        "Si.pz-vbc.UPF",
        "Si.pbe-rrkj.UPF",
        "Si.rel-pbe-rrkj.UPF",
        "N.pbe-kjpaw.UPF",
        "N.pbe-n-kjpaw_psl.1.0.0.UPF",
        "al_pz_v1.upf",
        "Si.bhs",
    ):
        (folder / name).write_text("")
    return folder


def program(tmp_path, text):
    """A program in the place of pw.x, in shell."""
    path = tmp_path / "pw"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def silicon():
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_pseudopotentials_are_found_by_element_and_functional(pseudo_dir):
    found = find_pseudopotentials(pseudo_dir, {"Si", "Al"}, "pz", {})
    assert found == {"Si": "Si.pz-vbc.UPF", "Al": "al_pz_v1.upf"}
    assert find_pseudopotentials(pseudo_dir, {"Si"}, "PBE", {}) == {"Si": "Si.pbe-rrkj.UPF"}
    chosen = {"N": "N.pbe-kjpaw.UPF"}
    assert find_pseudopotentials(pseudo_dir, {"N"}, "pbe", chosen) == chosen
    for symbol, functional, words in (
        ("N", "pbe", r"several pseudopotentials of N for pbe \(N.pbe-kjpaw.UPF, N.pbe-n-kjpaw_psl"),
        (
            "Si",
            None,
            r"several pseudopotentials of Si \(Si.pbe-rrkj.UPF, Si.pz-vbc.UPF\): name the functional",
        ),
        ("Al", "pbe", r"no pseudopotential of Al for pbe \(al_pz_v1.upf\)"),
        ("Cu", "pz", "no pseudopotential of Cu for pz .none of any functional"),
    ):
        with pytest.raises(InputError, match=words):
            find_pseudopotentials(pseudo_dir, {symbol}, functional, {})
    with pytest.raises(InputError, match=r"there is no pseudopotential N\.UPF"):
        find_pseudopotentials(pseudo_dir, {"N"}, "pbe", {"N": "N.UPF"})


def test_k_points_are_no_further_apart_than_asked_for():
    cell = bulk("Al", cubic=True, a=4.0) * (1, 2, 3)
    assert kpoint_grid(cell, 0.4) == (4, 2, 2)  # 2 pi / 4 Å = 1.57 / Å
    assert kpoint_grid(cell, 2.0) == (1, 1, 1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("qe:pz,kpts=2x2", "kpts of target qe must be three numbers such as 2x2x2, got '2x2'"),
        ("qe:pz,kpts=0x1x1", "at least 1x1x1"),
        ("qe:pz,ecutwfc=-3", "ecutwfc of target qe must be a positive number, got -3"),
        ("qe:pz,ecut=3", "unknown option 'ecut'"),
        ("qe:pz,timeout=0", "timeout of target qe must be a positive number, got 0"),
        ("qe:pz,command=/no/pw.x", "Quantum ESPRESSO was not found: there is no program"),
        ("qe:pz,pseudo_dir=/nowhere", "no folder of pseudopotentials /nowhere"),
    ],
)
def test_bad_options_are_refused_in_one_line(spec, words, tmp_path, monkeypatch):
    program(tmp_path, "exit 0")
    (tmp_path / "pw").rename(tmp_path / "pw.x")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path))
    with pytest.raises(InputError, match=words) as caught:
        parse_target(spec)
    assert "\n" not in str(caught.value)


def test_structures_that_are_not_periodic_are_refused(pseudo_dir, tmp_path):
    target = QuantumEspressoCalculator("pz", pseudo_dir=pseudo_dir, command=program(tmp_path, "exit 0"))
    with pytest.raises(
        InputError, match=r"computes periodic cells.*put molecules and slabs into a cell with vacuum"
    ):
        target.validate(molecule("N2"))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("sleep 60 & wait", CalculationFailed, "no result within 0.5 s"),
        (
            "echo '%%%'; echo ' Error in routine readpp (2):'; echo ' file Si.UPF not found'; exit 2",
            CalculationFailed,
            "failed with exit code 2: Error in routine readpp .2.: file Si.UPF not found",
        ),
        ("echo ' convergence NOT achieved after 100 iterations'", SCFError, "did not converge"),
        ("echo ' This run was terminated'", CalculationFailed, "did not finish: This run was terminated"),
        ("exit 0", CalculationFailed, "did not finish: it wrote nothing"),
    ],
)
def test_failures_are_told_in_one_line_and_leave_nothing(
    text, kind, words, pseudo_dir, tmp_path, monkeypatch
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    target = QuantumEspressoCalculator(
        "pz", pseudo_dir=pseudo_dir, command=program(tmp_path, text), timeout_s=0.5 if "sleep" in text else 30
    )
    start = time.monotonic()
    with pytest.raises(kind, match=words):
        target.get_potential_energy(silicon())
    assert time.monotonic() - start < 30
    assert not any(scratch.iterdir())


def test_charge_spin_and_smearing_reach_the_input(pseudo_dir, tmp_path):
    copy = program(tmp_path, f"cat pw.in > {tmp_path / 'seen'}; exit 1")
    target = QuantumEspressoCalculator("pz", pseudo_dir=pseudo_dir, command=copy)
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.2]], cell=[8, 8, 8], pbc=True)
    atoms.info = {"charge": 1, "multiplicity": 4}
    with pytest.raises(CalculationFailed):
        target.get_potential_energy(atoms)
    text = " ".join((tmp_path / "seen").read_text().split())
    for line in (
        "tot_charge = 1.0",
        "tot_magnetization = 3.0",
        "nspin = 2",
        "smearing = 'cold'",
        "3 3 3 0 0 0",
    ):
        assert line in text


@pytest.fixture(scope="module")
def two_atoms():
    """Distorted silicon, a target, and what it gives."""
    atoms = silicon()
    target = parse_target("qe:pz,ecutwfc=12,kpts=2x2x2", atoms=atoms)
    return atoms, target, ask(target, atoms, NAMES)


@real_program
def test_silicon_has_the_slope_of_its_energy(two_atoms):
    atoms, target, found = two_atoms
    # Quantum ESPRESSO 6.7 with Debian's Si.pz-vbc.UPF.
    assert found["energy"] == pytest.approx(-212.414, abs=0.01)
    step, energies = 0.01, []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        energies.append(target.get_potential_energy(moved))
    assert found["forces"][0, 0] == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=2e-3)
    assert np.abs(found["forces"].sum(axis=0)).max() < 1e-3


@real_program
def test_a_result_does_not_depend_on_the_calls_before(two_atoms):
    atoms, _, found = two_atoms
    again = ask(parse_target("qe:pz,ecutwfc=12,kpts=2x2x2"), atoms, NAMES)
    assert all(np.array_equal(found[name], again[name]) for name in NAMES)


@real_program
def test_compressed_aluminium_wants_to_expand():
    stress = ask(parse_target("qe:pz,ecutwfc=15,kpts=4x4x4"), bulk("Al", a=3.8), NAMES)["stress"]
    assert stress[:3] == pytest.approx(stress[0], abs=1e-6)  # cubic
    assert stress[0] < -0.02  # eV/Å^3
