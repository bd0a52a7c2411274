"""What is published: version, dependencies, extras, files."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

import ase_proxima

ROOT = Path(__file__).resolve().parents[1]
tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {
    "ase-db-backends": "ase_db_backends",
    "deepmd-kit": "deepmd",
    "freud-analysis": "freud",
    "torch": "torch",
}


def distribution(requirement):
    return re.match(r"[\w-]+", requirement)[0]


def test_the_version_is_that_of_the_installed_package():
    assert ase_proxima.__version__ == version("ase-proxima")


def test_the_constraints_are_the_lower_bounds():
    wanted = {distribution(line): re.split("[=;]+ *", line)[1] for line in PROJECT["dependencies"]}
    lines = [line for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if line[0] != "#"]
    pinned = dict(line.split("==") for line in lines)
    assert set(pinned) >= set(wanted)
    assert all(f"{pinned[name]}.".startswith(f"{wanted[name]}.") for name in wanted)


def test_an_extra_brings_only_what_is_imported():
    source = "\n".join(
        path.read_text()
        for folder in ("ase_proxima", "gpu_xarch", "cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    unused = [
        (extra, name)
        for extra, lines in PROJECT["optional-dependencies"].items()
        for name in map(distribution, lines)
        if extra not in ("test", "dev")
        and not re.search(rf"\b(import|from) {IMPORTED_AS.get(name, name)}\b", source)
    ]
    assert unused == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_the_source_distribution_takes_every_folder():
    named = set(re.findall(r"^graft (\w+)", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE))
    there = {
        path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*") if path.suffix in (".py", ".md")
    }
    assert named | {"ase_proxima", "gpu_xarch"} >= {name for name in there - {"build"} if name[0] != "."}
