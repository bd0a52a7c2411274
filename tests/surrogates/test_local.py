"""A target on part of the atoms in a run: what is computed, that the bound holds for it, what is refused."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_proxima import Decision, InputError, ProximaCalculator
from ase_proxima.surrogates.local import WithLocalTarget
from ase_proxima.targets.contract import ask
from ase_proxima.targets.function import FunctionCalculator
from ase_proxima.targets.local import LocalTarget
from ase_proxima.types import Frame, Prediction
from ase_proxima.types.serialisation import state_to_json

PERFECT = bulk("Al", cubic=True) * 4
CORE = [0, 1, 2]  # neighbours of each other


class Guess:
    """The target's own forces, but for three atoms, of which it is unsure, and rightly so."""

    incremental, min_frames, properties = True, 1, ("energy", "forces")

    def fit(self, frames):
        self.n = len(frames)

    def predict(self, x):
        results = dict(ask(EMT(), x, ["energy", "forces"]))
        std = np.full((len(x), 3), 0.005)
        noise = np.random.default_rng(int(1e6 * abs(x.positions[0, 0]))).normal(0, 0.005, (len(x), 3))
        if x.positions[0, 0] > 0.001:
            std[CORE] = 0.2
            noise[CORE] = 0.2
        results["forces"] = results["forces"] + noise
        return Prediction(results, {"energy": 1e-3, "forces": std})

    def save(self, folder):
        (folder / "n").write_text(str(self.n))

    def load(self, folder, frames):
        self.n = int((folder / "n").read_text())


class Counting(EMT):
    """EMT that counts its calculations and their atoms."""

    n_atoms: list

    def calculate(self, atoms=None, *arguments):
        self.n_atoms = [*getattr(self, "n_atoms", []), len(atoms)]
        super().calculate(atoms, *arguments)


def structures(n, seed=1, shift=0.01):
    found = []
    for k in range(n):
        atoms = PERFECT.copy()
        atoms.rattle(0.02, seed=seed * 100 + k)
        atoms.positions[0, 0] = -0.01 if k < 6 else shift  # sure of all at first
        found.append(atoms)
    return found


def run(target, xs, **arguments):
    calculator = ProximaCalculator(
        target,
        error_bound=arguments.pop("error_bound", 0.05),
        surrogate=Guess(),
        properties=["energy", "forces"],
        **arguments,
    )
    answers = []
    for x in xs:
        x.calc = calculator
        answers.append((x.get_forces(), calculator.last_decision))
    return calculator, answers


def test_the_target_answers_for_what_the_surrogate_is_unsure_of():
    target = Counting()
    calculator, answers = run(LocalTarget(target, tolerance=0.005), structures(16))
    local = [(f, d) for f, d in answers[6:] if d is Decision.SURROGATE]
    assert len(local) >= 5
    for forces, x in zip([f for f, _ in answers[6:]], structures(16)[6:], strict=True):
        off = np.linalg.norm(forces - EMT().get_property("forces", x), axis=1)
        assert off[CORE].max() < 0.005
        assert off.max() < 0.05
    surrogate = calculator.surrogate
    assert surrogate.n_local == 10
    assert surrogate.n_core == 30
    stats = calculator.stats
    whole = stats.n_target + stats.n_audit
    assert sorted(target.n_atoms)[-whole:] == [256] * whole
    assert sum(n for n in target.n_atoms if n < 256) == surrogate.n_computed + surrogate.n_checked
    assert 0 < surrogate.n_computed < 10 * 0.6 * 256
    assert "of which the surrogate was unsure, with a shell of" in stats.notes[-1]


def test_without_parts_each_such_call_is_the_targets():
    calculator, answers = run(EMT(), structures(12))
    assert all(decision is Decision.TARGET for _, decision in answers[6:])
    assert calculator.stats.n_target >= 6


def test_a_run_is_resumed_with_the_same_answers(tmp_path):
    xs = structures(14)
    whole, wanted = run(LocalTarget(EMT(), tolerance=0.005), xs, run_dir=tmp_path / "whole")
    whole.close()
    first, _ = run(LocalTarget(EMT(), tolerance=0.005), structures(10), run_dir=tmp_path / "run")
    first.close()
    again = ProximaCalculator.resume(tmp_path / "run", LocalTarget(EMT(), tolerance=0.005), surrogate=Guess())
    for x, (forces, decision) in zip(structures(14)[9:], wanted[9:], strict=True):
        x.calc = again
        assert np.array_equal(x.get_forces(), forces)
        assert again.last_decision is decision
    assert state_to_json(again.stats)["n_calls"] == 14
    assert again.surrogate.thickness == whole.surrogate.thickness
    again.close()


def test_a_copy_goes_by_its_own_threshold():
    calculator, _ = run(LocalTarget(EMT(), tolerance=0.005), structures(6))
    copied = deepcopy(calculator)
    for x in structures(16)[6:]:
        copied.get_property("forces", x)
    assert copied.stats.threshold != calculator.stats.threshold
    for one in (calculator, copied):
        assert one.surrogate.threshold() == one.stats.threshold


def test_a_part_on_which_the_target_fails_leaves_the_whole_to_it():
    class Choosy(EMT):
        def calculate(self, atoms=None, *arguments):
            if len(atoms) < 256 and atoms.positions.size and abs(atoms.positions[0, 0] - 0.01) < 1e-9:
                raise RuntimeError("no parts today")
            super().calculate(atoms, *arguments)

    calculator, answers = run(LocalTarget(Choosy(), tolerance=0.005), structures(9))
    assert all(decision is Decision.TARGET for _, decision in answers[6:])
    assert calculator.surrogate.n_local == 0


def coulomb(atoms):
    """Repulsion of unit charges, which reaches through everything."""
    gaps = atoms.positions[:, None] - atoms.positions
    distance = np.linalg.norm(gaps, axis=2) + np.eye(len(atoms))
    return {"energy": 0.0, "forces": (gaps / distance[..., None] ** 3).sum(axis=1)}


def test_long_ranged_targets_and_silent_surrogates_are_refused():
    target = LocalTarget(FunctionCalculator(coulomb), tolerance=1e-4)
    frame = Frame(PERFECT, coulomb(PERFECT))
    with pytest.raises(InputError, match="not short-ranged enough for a structure of this size"):
        WithLocalTarget(Guess(), target, threshold=lambda: 0.1).fit([frame])

    class Silent(Guess):
        def predict(self, x):
            return Prediction(super().predict(x).results)

    with pytest.raises(InputError, match="knows no standard deviation of the forces"):
        WithLocalTarget(Silent(), target, threshold=lambda: 0.1).fit([frame])
    with pytest.raises(InputError, match="no error bound is on forces: bound them"):
        run(LocalTarget(EMT(), tolerance=0.005), structures(1), error_metric="energy")

    class Slow(Guess):
        incremental = False

    calculator = ProximaCalculator(
        LocalTarget(EMT(), tolerance=0.005), error_bound=0.05, surrogate=Slow(), training="background"
    )
    with pytest.raises(InputError, match='"background" goes with targets that compute whole structures'):
        calculator.get_property("forces", PERFECT)


def test_no_part_is_computed_where_nothing_is_trusted():
    target = LocalTarget(EMT(), tolerance=0.005)
    for threshold in (0.0, 0.004, float("inf"), float("nan")):
        surrogate = WithLocalTarget(Guess(), target, threshold=lambda value=threshold: value)
        surrogate.fit([Frame(x, ask(EMT(), x, ["energy", "forces"])) for x in structures(1)])
        surrogate.predict(structures(7)[-1])
        assert surrogate.n_local == 0
