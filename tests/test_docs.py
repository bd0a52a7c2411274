"""The Python of README and docs runs: the blocks of a page one after the other."""

import importlib
import re
from pathlib import Path

import click
import numpy as np
import pytest

from ase_proxima import Decision
from ase_proxima.apps.monte_carlo_run import RunSettings, run

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("ase_proxima", "gpu_xarch", "cli", "tests")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def play(name, folder, monkeypatch):
    """Names that the blocks of a page leave, run in a folder of their own."""
    monkeypatch.chdir(folder)
    names = {"__name__": name}
    for block in blocks(ROOT / name):
        exec(compile(block, name, "exec"), names)  # noqa: S102  our own text
    return names


def test_every_page_with_python_is_run_here():
    text = Path(__file__).read_text()
    with_python = [str(page.relative_to(ROOT)) for page in PAGES if blocks(page)]
    assert len(with_python) >= 6
    assert [name for name in with_python if f'play("{name}"' not in text] == []


def test_calculator(tmp_path, monkeypatch):
    names = play("docs/calculator.md", tmp_path, monkeypatch)
    assert (names["atoms"].calc.stats.n_calls, len(names["atoms"].calc.frames)) == (1, 1)
    names["atoms"].calc.close()


def test_surrogates(tmp_path, monkeypatch):
    calc = play("docs/surrogates.md", tmp_path, monkeypatch)["atoms"].calc
    assert calc.stats.n_calls == 1
    assert type(calc.surrogate).__name__ == "BayesianSoap"


def test_clusters(tmp_path, monkeypatch):
    names = play("docs/clusters.md", tmp_path, monkeypatch)
    assert len(names["forest"].estimators_) == 20


def test_costs(tmp_path, monkeypatch):
    names = play("docs/costs.md", tmp_path, monkeypatch)
    assert np.isfinite(names["atoms"].get_potential_energy())


@pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")
def test_dynamics(tmp_path, monkeypatch):
    names = play("docs/dynamics.md", tmp_path, monkeypatch)
    assert names["atoms"].calc.last_decision is Decision.TARGET
    assert len(names["committee"].member_results) == 3


def test_derived(tmp_path, monkeypatch):
    names = play("docs/derived.md", tmp_path, monkeypatch)
    assert names["converged"] is True
    assert np.abs(names["forces"]).max() < 0.01


def test_functions(tmp_path, monkeypatch):
    slow = play("docs/functions.md", tmp_path, monkeypatch)["slow"]
    assert slow.last_decision is Decision.TARGET
    assert slow.frames[0].results["value"] == pytest.approx(np.sin(0.1) + np.sin(0.2))


def test_reports(tmp_path, monkeypatch):
    settings = RunSettings(
        molecule="CH4",
        temperature_K=500.0,
        perturb=0.01,
        seed=1,
        target="emt",
        strategy="proxima",
        error_bound=0.002,
    )
    (tmp_path / "runs").mkdir()
    run(settings, 20, tmp_path / "runs" / "methane")
    play("docs/reports.md", tmp_path, monkeypatch)
    assert (tmp_path / "methane.png").stat().st_size > 10_000


def test_xarch(tmp_path, monkeypatch):
    names = play("docs/xarch.md", tmp_path, monkeypatch)
    assert names["report"].new == 240
    assert len(names["pairing"].pairs) == len(names["table"]) == 120
    assert names["table"]["predicted"].between(0, 4).all()


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
def test_targets(tmp_path, monkeypatch):
    names = play("docs/targets.md", tmp_path, monkeypatch)
    assert names["forces"].shape == (5, 3)
    assert np.abs(names["forces"].sum(axis=0)).max() < 1e-3


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
def test_readme(tmp_path, monkeypatch):
    atoms = play("README.md", tmp_path, monkeypatch)["atoms"]
    assert atoms.get_potential_energy() == pytest.approx(-1093.7, abs=0.5)
    assert atoms.calc.last_decision is Decision.TARGET
    atoms.calc.target.close()


def documented_commands():
    """Each command that is installed, and each below a group, by the words that call it."""
    scripts = re.search(
        r"^\[project\.scripts\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE
    )
    for name, module in re.findall(r'^([\w-]+) = "([\w.]+):main"', scripts[1], re.MULTILINE):
        command = importlib.import_module(module).main
        below = getattr(command, "commands", {})
        yield from ((f"{name} {word}", command) for word, command in below.items())
        yield name, command


@pytest.mark.parametrize(("call", "command"), list(documented_commands()))
def test_every_command_and_option_is_documented(call, command):
    text = "\n".join(page.read_text() for page in PAGES)
    assert call in text
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{call} {option}"


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_and_name_that_the_page_sends_one_to_exists(name):
    text = (ROOT / name).read_text()
    paths = re.findall(r"`((?:ase_proxima|gpu_xarch|cli|tests|docs|benchmarks|scripts)/[\w./-]+)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    source = "\n".join(path.read_text() for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    names = re.findall(r"`(?:\w+\.)?([A-Z_]{4,}|[A-Z]\w+|_?[a-z]+(?:_[a-z]+)+)(?:\(.*?\))?`", text)
    names = set(names) - {"MODULE", "FUNCTION", "CalculatorError"}
    assert [word for word in names if not re.search(rf"\b{word}\b", source)] == []
