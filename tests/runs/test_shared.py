"""Walkers that share their frames: what each learns, what it is not counted for, and what a resume finds."""

import json
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import ase.db
import numpy as np
import pytest
from ase.build import molecule
from click.testing import CliRunner

from ase_proxima import ProximaCalculator
from ase_proxima.errors import InputError, RunDirectoryError
from ase_proxima.runs.shared import FOREIGN, SharedFrames
from ase_proxima.targets import parse_target
from ase_proxima.types import Decision, Frame
from ase_proxima.types.identity import checksum
from proxima_cli.proxima_mc import main

sys.path.append(str(Path(__file__).parents[1]))
from postgresql import running_server

TARGET = """
def springs(atoms):
    distances = atoms.get_all_distances()
    energy = ((distances - 1.2) ** 2).sum() / 2
    difference = atoms.positions[:, None] - atoms.positions[None]
    with_self = distances + (distances == 0)
    forces = -2 * ((distances - 1.2) / with_self)[:, :, None] * difference
    return {"energy": float(energy), "forces": forces.sum(axis=1)}

def stiff(atoms):
    return {name: 2 * value for name, value in springs(atoms).items()}
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "shared_target.py").write_text(TARGET)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("shared_target", None)


@pytest.fixture(scope="module")
def server():
    with running_server() as address:
        yield address


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """A file, or a database of a server that is empty again afterwards."""
    if request.param == "sqlite":
        yield str(tmp_path / "shared.db")
        return
    address = request.getfixturevalue("server")
    yield address
    import psycopg2

    connection = psycopg2.connect(address)
    connection.autocommit = True
    connection.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    connection.close()


def moved(seed, symbol="CH4"):
    atoms = molecule(symbol)
    atoms.rattle(0.05, seed=seed)
    return atoms


def calculator(run_dir, share, **options):
    settings = {"error_bound": 0.01, "error_metric": "energy", "surrogate": "gradient_gp", **options}
    return ProximaCalculator(
        parse_target("shared_target:springs"),
        run_dir=run_dir,
        share=share,
        when_not_worthwhile="ignore",
        **settings,
    )


def ask(calc, seeds):
    return [calc.get_potential_energy(moved(seed)) for seed in seeds]


def test_a_walker_learns_what_another_one_paid_for_and_is_not_counted_for_it(place, tmp_path):
    first = calculator(tmp_path / "a", place)
    with first.target_only():
        ask(first, range(30))
    alone = calculator(tmp_path / "alone", None)
    second = calculator(tmp_path / "b", place)
    ask(alone, range(100, 130))
    ask(second, range(100, 130))
    assert second.stats.n_foreign == 30
    assert second.stats.n_calls == 30
    assert second.stats.n_target_runs < alone.stats.n_target_runs / 2
    assert second.stats.n_frames == 30 + second.stats.n_target_runs
    assert [frame.step for frame in second.frames[:30]] == [FOREIGN] * 30
    assert [checksum(frame) for frame in second.frames[:30]] == [checksum(frame) for frame in first.frames]
    ask(first, [200])
    assert first.stats.n_foreign == second.stats.n_target_runs
    assert first.stats.n_target <= 31
    for calc in (first, second, alone):
        calc.close()


def test_a_resumed_walker_goes_on_bit_for_bit(tmp_path):
    seeds = range(100, 140)
    runs = []
    for name in ("whole", "cut"):
        place = tmp_path / f"{name}.db"
        giver = calculator(tmp_path / f"giver-{name}", place)
        with giver.target_only():
            ask(giver, range(8))
        giver.close()
        runs.append(calculator(tmp_path / name, place, seed=3))
    whole, cut = runs
    energies, begun = ask(whole, seeds), ask(cut, seeds[:17])
    cut.close()
    resumed = ProximaCalculator.resume(tmp_path / "cut", parse_target("shared_target:springs"))
    assert begun + ask(resumed, seeds[17:]) == energies
    assert resumed.stats.n_foreign == whole.stats.n_foreign == 8
    assert resumed.stats.n_target_runs == whole.stats.n_target_runs
    assert resumed.stats.model_version == whole.stats.model_version
    assert [checksum(a) for a in resumed.frames] == [checksum(a) for a in whole.frames]
    whole.close()
    resumed.close()


def test_frames_that_came_after_the_checkpoint_come_again_in_their_order(tmp_path):
    place = tmp_path / "shared.db"
    walker = calculator(tmp_path / "walker", place)
    with walker.target_only():
        ask(walker, range(3))
    giver = calculator(tmp_path / "giver", place)
    with giver.target_only():
        ask(giver, range(10, 12))
    walker._store.foreign(moved(0))  # and here the process is killed
    n_rows = len(list(ase.db.connect(tmp_path / "walker" / "frames.db").select()))
    walker.close()
    assert n_rows == 5
    resumed = ProximaCalculator.resume(tmp_path / "walker", parse_target("shared_target:springs"))
    assert len(resumed.frames) == 3
    with resumed.target_only():
        ask(resumed, [50])
    assert [frame.step for frame in resumed.frames] == [0, 1, 2, FOREIGN, FOREIGN, 3]
    resumed.close()
    again = ProximaCalculator.resume(tmp_path / "walker", parse_target("shared_target:springs"))
    assert [checksum(a) for a in again.frames] == [checksum(a) for a in resumed.frames]
    ask(again, [51])
    assert again.stats.n_foreign == 2
    again.close()
    giver.close()


def test_a_frame_that_was_paid_for_before_a_kill_is_given_once_and_stands_after_those_that_came_since(
    tmp_path,
):
    place = tmp_path / "shared.db"
    walker = calculator(tmp_path / "walker", place)
    with walker.target_only():
        ask(walker, range(2))
    results = {name: walker.target.get_property(name, moved(7)) for name in ("energy", "forces")}
    walker._store.append(Frame(moved(7), results, 2), {})  # and here the process is killed
    walker.close()
    giver = calculator(tmp_path / "giver", place)
    with giver.target_only():
        ask(giver, [10])
    resumed = ProximaCalculator.resume(tmp_path / "walker", parse_target("shared_target:springs"))
    with resumed.target_only():
        ask(resumed, [7])
    steps = [frame.step for frame in resumed.frames]
    resumed.close()
    assert steps == [0, 1, FOREIGN, 2]
    again = ProximaCalculator.resume(tmp_path / "walker", parse_target("shared_target:springs"))
    assert [frame.step for frame in again.frames] == steps
    again.close()
    giver.close()
    assert ase.db.connect(place).count() == 4


def test_walkers_that_write_at_once_lose_nothing_and_see_the_same_order(place):
    kind = {"the target": "springs"}
    start = Barrier(4)

    def walk(number):
        shared = SharedFrames(place, f"w{number}", kind)
        start.wait()
        seen = []
        for step in range(15):
            atoms = moved(100 * number + step)
            shared.add(Frame(atoms, {"energy": float(step), "forces": atoms.positions}, step))
            seen += shared.news(atoms)
        start.wait()
        seen += shared.news(atoms)
        shared.close()
        return [(row, checksum(frame)) for row, frame in seen]

    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(walk, range(4)))
    assert [len(rows) for rows in seen] == [45] * 4
    assert all(rows == sorted(rows) for rows in seen)
    everything = set().union(*seen)
    assert len(everything) == 60
    assert len({row for row, _ in everything}) == 60


def test_a_frame_that_was_changed_is_refused(tmp_path):
    place = tmp_path / "shared.db"
    giver = calculator(tmp_path / "giver", place)
    ask(giver, [1])
    giver.close()
    database = sqlite3.connect(place)
    database.execute("UPDATE systems SET energy = energy + 0.001")
    database.commit()
    database.close()
    walker = calculator(tmp_path / "walker", place)
    with pytest.raises(RunDirectoryError, match="row 1 is not as it was written"):
        ask(walker, [2])
    walker.close()


def test_walkers_of_another_target_or_other_atoms_are_refused(tmp_path):
    place = tmp_path / "shared.db"
    giver = calculator(tmp_path / "giver", place)
    ask(giver, [1])
    giver.close()
    with pytest.raises(InputError, match="is shared by walkers with the target"):
        ProximaCalculator(
            parse_target("shared_target:stiff"), error_bound=0.01, run_dir=tmp_path / "other", share=place
        )
    walker = calculator(tmp_path / "walker", place)
    with pytest.raises(RunDirectoryError, match=r"has frames of CH4 in the state \{\}, this walker has H2O"):
        walker.get_potential_energy(moved(1, "H2O"))
    walker.close()
    with pytest.raises(InputError, match="needs a run_dir of its own"):
        calculator(None, place)


def test_a_server_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("ase_db_backends", reason="ASE's back ends for servers are not installed")
    with pytest.raises(InputError, match=r"cannot be reached in postgresql://127\.0\.0\.1:1/none") as error:
        calculator(tmp_path / "walker", "postgresql://127.0.0.1:1/none")
    assert "\n" not in str(error.value)


def walk(*arguments):
    common = [
        "--target",
        "shared_target:springs",
        "--steps",
        "60",
        "--perturb",
        "0.02",
        "--error-bound",
        "0.005",
    ]
    return CliRunner().invoke(main, [*common, "--json", *map(str, arguments)])


def test_walkers_that_share_ask_the_target_less_often(place, tmp_path):
    share = [] if place.endswith(".db") else [place]
    together = walk("--temp", "300,900", "--seed", "1,2", "--out", tmp_path / "together", "--share", *share)
    alone = walk("--temp", "300,900", "--seed", "1,2", "--out", tmp_path / "alone")
    assert together.exit_code == alone.exit_code == 0, together.output
    runs, own = json.loads(together.stdout), json.loads(alone.stdout)
    paid = [run["n_target"] + run["n_audit"] for run in runs]
    assert [run["n_foreign"] for run in runs] == [0, *np.cumsum(paid)[:-1]]
    assert sum(paid) < 0.7 * sum(run["n_target"] + run["n_audit"] for run in own)
    assert runs[0]["n_target"] == own[0]["n_target"]
    more = walk(
        "--temp", "300,900", "--seed", "1,2", "--out", tmp_path / "together", "--steps", "80", "--resume"
    )
    assert more.exit_code == 2
    assert "was made with share = " in more.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--share"], "--share is for several walkers"),
        (["--share", "--temp", "300,500", "--exact"], "exact sampling rests on a surrogate that is trained no more"),
        (["--share", "--temp", "300,500", "--strategy", "baseline"], "the strategy baseline learns nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(arguments, complaint, tmp_path):
    result = walk(*arguments, "--out", tmp_path / "runs")
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_the_first_walker_decides_as_it_would_alone(tmp_path):
    with_others, alone = calculator(tmp_path / "a", tmp_path / "shared.db"), calculator(tmp_path / "b", None)
    assert ask(with_others, range(40)) == ask(alone, range(40))
    assert with_others.last_decision is alone.last_decision is not Decision.TARGET
    with_others.close()
    alone.close()
