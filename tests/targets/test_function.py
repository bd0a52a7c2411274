from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.emt import EMT

from ase_proxima.errors import InputError
from ase_proxima.targets.function import FunctionCalculator, load_target

MODULE = """
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

def make(sigma=1.0):
    return LennardJones(sigma=sigma)

def spring(atoms) -> float:
    return 0.5 * atoms.get_distance(0, 1) ** 2

def nothing():
    return None

ready = EMT()
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_targets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return "my_targets"


def test_factory_is_called_with_the_options(mine):
    assert load_target(mine, "make", sigma=2.5).parameters["sigma"] == 2.5


def test_ready_calculator_is_taken_as_it_is(mine):
    assert isinstance(load_target(mine, "ready"), EMT)


def test_class_is_called():
    assert isinstance(load_target("ase.calculators.emt", "EMT"), EMT)


def test_function_of_the_structure_is_wrapped(mine):
    calculator = load_target(mine, "spring")
    assert calculator.implemented_properties == ["energy"]
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]])
    assert calculator.get_potential_energy(atoms) == pytest.approx(0.32, rel=1e-12)


@pytest.mark.parametrize(
    ("module", "name", "options", "words"),
    [
        ("no_such_module", "make", {}, "cannot import the module of target 'no_such_module:make'"),
        ("my_targets", "mike", {}, "module 'my_targets' has no 'mike'"),
        ("my_targets", "number", {}, "is a int: name a calculator or a function"),
        ("my_targets", "nothing", {}, "returned a NoneType: return an ASE calculator"),
        (
            "my_targets",
            "make",
            {"sgima": 1},
            r"cannot call target 'my_targets:make' with options \['sgima'\]",
        ),
        ("my_targets", "spring", {"k": 1}, r"takes the structure alone, got options \['k'\]"),
    ],
)
def test_what_is_no_target_is_refused(mine, module, name, options, words):
    with pytest.raises(InputError, match=words):
        load_target(module, name, **options)


def test_mapping_becomes_the_results():
    def pull(atoms):
        return {"energy": 1.0, "forces": np.ones((len(atoms), 3)), "dipole": [0, 0, 1]}

    water = molecule("H2O")
    water.calc = FunctionCalculator(pull)
    assert water.get_forces().sum() == 9.0
    assert water.get_potential_energy() == 1.0
    assert water.calc.n_calls == 1
    assert water.calc.results["dipole"].tolist() == [0, 0, 1]


def test_attribute_names_the_properties():
    def stressed(atoms):
        return {"energy": 0.0, "stress": np.zeros(6)}

    stressed.implemented_properties = ("energy", "stress")
    assert FunctionCalculator(stressed).implemented_properties == ["energy", "stress"]
    assert FunctionCalculator(stressed, ["energy"]).implemented_properties == ["energy"]


def test_function_cannot_move_the_atoms():
    def mover(atoms) -> float:
        atoms.positions += 1.0
        return 0.0

    water = molecule("H2O")
    before = water.positions.copy()
    water.calc = FunctionCalculator(mover)
    water.get_potential_energy()
    assert (water.positions == before).all()
    assert (water.calc.atoms.positions == before).all()


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (float("nan"), "function returned energy that is not finite"),
        (
            {"energy": 0.0, "forces": np.zeros(9)},
            r"function returned forces of shape \(9,\) for 3 atoms: they must be \(3, 3\)",
        ),
        ({"energy": np.zeros(2)}, r"energy of shape \(2,\)"),
        ("low", "returned energy with values of type <U3"),
    ],
)
def test_unsound_results_are_refused(returned, words):
    def function(atoms):
        return returned

    with pytest.raises(CalculationFailed, match=words):
        FunctionCalculator(function).get_potential_energy(molecule("H2O"))


def test_missing_result_names_what_there_is():
    water = molecule("H2O")
    water.calc = FunctionCalculator(lambda atoms: {"energy": 0.0})
    with pytest.raises(PropertyNotImplementedError, match=r"returned no 'forces', only \['energy'\]"):
        water.get_forces()
