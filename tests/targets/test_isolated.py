"""Targets in a process of their own: hanging, exiting, crashing, and the same numbers as without."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.emt import EMT

from ase_proxima.errors import InputError
from ase_proxima.targets import parse_target, target_state
from ase_proxima.targets.contract import ask
from ase_proxima.targets.isolated import IsolatedCalculator

TROUBLE = '''
"""Does to its process what the distance of two atoms says."""
import os
import sys
import time


def trouble(atoms) -> float:
    print("words that are no answer")
    distance = atoms.get_distance(0, 1)
    if distance > 4:
        sys.exit(3)
    if distance > 3:
        os.abort()
    if distance > 2:
        time.sleep(60)
    if distance > 1:
        raise RuntimeError("no\\nconvergence")
    return distance + atoms.info.get("charge", 0)
'''


def pair(distance):
    return Atoms("H2", positions=[[0, 0, 0], [0, 0, distance]])


@pytest.fixture
def trouble(tmp_path, monkeypatch):
    (tmp_path / "trouble_at.py").write_text(TROUBLE)
    monkeypatch.chdir(tmp_path)
    with parse_target("trouble_at:trouble,timeout=5") as target:
        yield target


def test_whatever_a_target_does_is_a_failure_and_the_next_call_is_answered(trouble):
    for distance, words in (
        (1.5, "RuntimeError: no convergence"),
        (2.5, "target 'trouble_at:trouble' gave no result within 5 s"),
        (3.5, "the process of target 'trouble_at:trouble' died: exit code -6"),
        (4.5, "SystemExit: 3"),
    ):
        with pytest.raises(CalculationFailed, match=words) as caught:
            trouble.get_potential_energy(pair(distance))
        assert "\n" not in str(caught.value)
        assert trouble.get_potential_energy(pair(0.5)) == 0.5
    assert trouble.n_starts == 3  # the first one, and after the two that ended


def test_an_isolated_target_reads_the_electronic_state(trouble):
    ion = pair(0.5)
    assert trouble.get_potential_energy(ion) == 0.5
    ion.info["charge"] = np.int64(1)
    assert trouble.get_potential_energy(ion) == 1.5


def test_an_isolated_target_gives_the_same_bits():
    copper = bulk("Cu", cubic=True) * 2
    copper.rattle(0.1, seed=2)
    names = ["energy", "forces", "stress"]
    with parse_target("emt:timeout=60", atoms=copper) as target:
        assert target.name == "emt"
        found, wanted = ask(target, copper, names), ask(EMT(), copper, names)
        assert all(np.array_equal(found[name], wanted[name]) for name in names)
        with pytest.raises(PropertyNotImplementedError):
            target.get_property("dipole", copper)


@pytest.mark.xtb
def test_an_isolated_target_tells_its_charge():
    pytest.importorskip("tblite")
    with parse_target("xtb:GFN2,charge=1,timeout=60", atoms=Atoms("Li")) as target:
        assert target_state(target, Atoms("Li")).charge == 1
        with pytest.raises(InputError, match=r"has charge 0 by .* and 1 by the target"):
            target_state(target, Atoms("Li", info={"charge": 0}))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("emt:timeout=0", "timeout of target 'emt' must be a positive number of seconds, got 0"),
        ("emt:timeout=long", "timeout of target 'emt' must be a positive number of seconds, got 'long'"),
        ("psi4:HF/STO-3G,timeout=-1", "timeout_s must be positive, or None"),
        ("lj:sigma=-1,timeout=5", "sigma of target lj must be a positive number, got -1"),
    ],
)
def test_a_wrong_target_is_refused_before_a_run(spec, words):
    with pytest.raises(InputError, match=words):
        parse_target(spec)
    with pytest.raises(InputError, match="must be words and numbers"):
        IsolatedCalculator("emt", timeout_s=1, thing=object())


def test_closing_ends_the_process(trouble, is_running, wait_until):
    pid = trouble._worker.pid
    assert is_running(pid)
    trouble.close()
    assert wait_until(lambda: not is_running(pid))
    assert trouble.get_potential_energy(pair(0.25)) == 0.25
    assert trouble.n_starts == 2
