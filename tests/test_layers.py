"""Imports point one way and in no circle, and importing the package brings nothing heavy."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("rooms", ROOT / "scripts" / "rooms.py")
rooms = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rooms)

SOURCES = sorted(
    path
    for folder in ("ase_proxima", "gpu_xarch", "cli", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
HEAVY = {
    "dask", "deepmd", "deephyper", "dscribe", "featomic", "freud", "matplotlib", "metatensor", "numba", "pandas",
    "psi4", "pyarrow", "pyscf", "sklearn", "skops", "tblite", "tensorflow", "torch",
}  # fmt: skip

# What each room may import of its own package; a room that is missing here fails the test.
GROUND = {"types", "errors", "protocols"}
PARTS = GROUND | {"metrics"}
LOOP = PARTS | {"controllers", "runs", "training"}
RUNNING = LOOP | {"executor", "assembly", "surrogates", "uncertainty", "targets"}
ALLOWED = {
    "ase_proxima": {
        "__init__": {"apps", "calculator", "decorator", "errors", "types"},
        "errors": set(),
        "types": {"errors"},
        "protocols": {"types"},
        "metrics": GROUND,
        "training": GROUND,
        "controllers": GROUND,
        "surrogates": PARTS,
        "uncertainty": PARTS | {"surrogates"},
        "targets": GROUND,
        "runs": GROUND | {"controllers", "metrics", "training"},
        "executor": LOOP,
        "testing": LOOP,
        "assembly": LOOP | {"executor", "surrogates", "uncertainty"},
        "calculator": RUNNING,
        "decorator": RUNNING,
        "dynamics": RUNNING | {"calculator"},
        "apps": RUNNING | {"calculator"},
        "reports": RUNNING | {"calculator", "apps", "dynamics"},
    },
    "gpu_xarch": {
        "errors": set(),
        "parallel": {"errors"},
        "progress": set(),
        "units": {"errors"},
        "specs": {"errors", "units"},
        "metrics": {"errors", "units"},
        "tables": {"errors", "metrics", "progress", "specs", "units"},
        "profiles": {"errors", "metrics", "progress", "specs", "units", "tables"},
        "models": {"errors", "metrics", "progress", "specs", "units", "tables"},
        "learning": {"errors", "metrics", "progress", "specs", "units", "tables", "models"},
        "advice": {"errors", "metrics", "progress", "specs", "units", "tables", "models", "learning"},
        "simulator": {"errors", "metrics", "progress", "specs", "units", "tables", "profiles"},
    },
}


@pytest.mark.parametrize("package", rooms.PACKAGES)
def test_every_arrow_between_rooms_is_allowed(package):
    allowed = ALLOWED[package]
    found = rooms.arrows(package)
    wrong = {
        f"{room} -> {target}"
        for room, targets in found.items()
        for target in targets - allowed.get(room, set())
        if not (package == "gpu_xarch" and room == "__init__")  # it exports what every room has
    }
    assert not wrong
    assert set(found) - set(allowed) <= {"__init__"}


@pytest.mark.parametrize("package", rooms.PACKAGES)
def test_no_circle_between_rooms_or_modules(package):
    assert rooms.circle(rooms.arrows(package)) == []
    assert rooms.circle(rooms.modules(package)) == []


def test_a_circle_is_seen(tmp_path):
    package = tmp_path / "loop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from loop import b\n")
    (package / "b.py").write_text("def late():\n    import loop.a\n")
    assert rooms.arrows("loop", tmp_path) == {"__init__": set(), "a": {"b"}, "b": {"a"}}
    assert set(rooms.circle(rooms.modules("loop", tmp_path))) == {"loop.a", "loop.b"}


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_the_libraries_import_neither_each_other_nor_the_commands(path):
    package = path.relative_to(ROOT).parts[0]
    heads = {name.split(".")[0] for name in rooms.imported(path)}
    if package in rooms.PACKAGES:
        assert not heads & ({*rooms.PACKAGES, "proxima_cli", "cli"} - {package})


@pytest.mark.parametrize(
    "module",
    ["ase_proxima", "ase_proxima.testing", "ase_proxima.apps.monte_carlo", "gpu_xarch", "proxima_cli.xarch"],
)
def test_importing_brings_no_heavy_package(module):
    script = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


def test_every_package_is_installed():
    tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in rooms.PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(named) == there | {"proxima_cli"}
