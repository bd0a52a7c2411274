from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule


@pytest.fixture
def methane() -> Atoms:
    """Methane, a little out of shape, in no special orientation."""
    atoms = molecule("CH4")
    atoms.rattle(0.05, seed=3)
    atoms.rotate(31.0, (1.0, 2.0, -0.5))
    atoms.translate((0.3, -1.2, 0.7))
    return atoms


@pytest.fixture
def numerical_force() -> Callable[[Atoms, int, int], float]:
    """Minus the fourth-order central difference of the energy along one coordinate, eV/Å."""

    def force(atoms: Atoms, index: int, axis: int) -> float:
        energies = {}
        for step in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions[index, axis] += 0.004 * step
            moved.calc = atoms.calc
            energies[step] = moved.get_potential_energy()
        return -(energies[-2] - 8 * energies[-1] + 8 * energies[1] - energies[2]) / (12 * 0.004)

    return force


@pytest.fixture
def rotation() -> np.ndarray:
    """A proper rotation, (3, 3)."""
    matrix, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], bool]:
    """Poll a condition for ten seconds at most."""

    def wait(condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.05)
        return condition()

    return wait


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """Whether a process runs; one that nobody has reaped does not."""

    def running(pid: int) -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"

    return running
