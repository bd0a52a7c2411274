"""Functions and calculators of the user's own that return less than they announce, or other things."""

import pytest
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from click.testing import CliRunner

from ase_proxima import ProximaCalculator
from ase_proxima.errors import InputError
from ase_proxima.targets.contract import MissingPropertyError, drop_assumed
from ase_proxima.targets.function import FunctionCalculator
from proxima_cli.proxima import main as proxima
from proxima_cli.proxima_mc import main as proxima_mc

MODULE = """
import numpy as np
from ase.calculators.calculator import Calculator

N_CALLS = []

def springs(atoms):
    N_CALLS.append(atoms)
    return {"energy": float(((atoms.get_all_distances() - 1.4) ** 2).sum()), "n_iterations": "12"}

def only_forces(atoms):
    return {"forces": np.zeros((len(atoms), 3))}

def announces(atoms):
    return springs(atoms)
announces.implemented_properties = ("energy", "forces")

def mistyped(atoms):
    return springs(atoms)
mistyped.implemented_properties = "energy"

def nothing(atoms):
    return {}

def abstract(atoms):
    raise NotImplementedError

class Liar(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results = springs(self.atoms)

class Mute(Liar):
    implemented_properties = None
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    name = f"own_{tmp_path.name[-20:].replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return name


def sample(target, *more, steps=20):
    options = ["--target", target, "--steps", str(steps), "--surrogate", "gradient_gp", "--out", "run"]
    return CliRunner().invoke(proxima_mc, [*options, *more])


@pytest.mark.parametrize("options", ["", ",timeout=60"])
def test_monte_carlo_goes_on_where_a_function_returns_the_energy_alone(mine, options):
    assert sample(f"{mine}:springs{options}").exit_code == 0
    resumed = sample(f"{mine}:springs{options}", "--resume", steps=25)
    assert resumed.exit_code == 0, resumed.output


def test_the_look_at_what_a_function_returns_costs_no_call(mine):
    springs = __import__(mine).springs
    calculator = FunctionCalculator(springs)
    water = molecule("H2O")
    drop_assumed(calculator, water)
    assert calculator.implemented_properties == ["energy"]
    calc = ProximaCalculator(calculator, error_bound=0.01, error_metric="energy")
    calc.get_potential_energy(water)
    assert (calc.stats.n_target, calculator.n_calls) == (1, 1)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("only_forces", 2, "the error metric 'energy' needs energy; the target offers forces"),
        ("announces", 2, "announces returned no 'forces', only ['energy', 'n_iterations']"),
        ("mistyped", 2, "implemented_properties of mistyped must be a list of ASE's names, got 'energy'"),
        ("nothing", 2, "nothing returned no 'forces', only []"),
        ("abstract", 2, "cannot compute forces of"),
        ("Liar", 2, "liar announces forces and did not return them (forces not present"),
        ("Mute", 2, "implemented_properties of target Mute must be a list of ASE's names, got None"),
    ],
)
def test_what_gives_no_energy_or_breaks_its_word_is_told_in_one_line(mine, target, code, words):
    result = sample(f"{mine}:{target}")
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert (result.exit_code, len(errors)) == (code, 1), result.output
    assert words in errors[0]
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("target", "metric", "words"),
    [
        ("springs", "force_max", "dynamics needs energy and forces; target"),
        ("springs", "energy", "offers no forces"),
        ("only_forces", "force_max", "offers no energy"),
        ("Liar", "force_max", "liar announces forces and did not return them"),
    ],
)
def test_dynamics_refuses_a_target_without_energy_or_forces_in_one_line(mine, target, metric, words):
    options = ["CH4", "--temp", "300", "--steps", "5", "--error-bound", "0.05", "--error-metric", metric]
    result = CliRunner().invoke(proxima, ["md", *options, "--target", f"{mine}:{target}", "--out", "run"])
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_broken_word_is_bad_input_and_for_ase_a_property_that_is_not_implemented(mine):
    calc = ProximaCalculator(__import__(mine).Liar(), error_bound=0.05)
    with pytest.raises(InputError, match="announces forces"):
        calc.get_potential_energy(molecule("H2O"))
    assert issubclass(MissingPropertyError, PropertyNotImplementedError)
    energy_only = ProximaCalculator(
        __import__(mine).Liar(), error_bound=0.05, error_metric="energy", properties=["energy"]
    )
    assert energy_only.get_potential_energy(molecule("H2O")) > 0
