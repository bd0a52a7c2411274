"""Who may go on with a run, and what happens to one that broke off."""

import json
import os
import sqlite3
import threading

import numpy as np
import pytest
from ase.build import molecule

from ase_proxima import Decision, InputError, ProximaCalculator, RunDirectoryError, proxima
from ase_proxima.controllers import FixedController
from ase_proxima.runs.store import RunDirectory
from ase_proxima.testing import HarmonicWells, NearestFrame, random_walk

pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")

WATER = molecule("H2O")


def parts(threshold=0.02):
    nearest = NearestFrame(incremental=True)
    return {"surrogate": nearest, "uncertainty": nearest, "controller": FixedController(threshold)}


def open_run(path, target=None, threshold=0.02, **options):
    settings = {"error_bound": 0.05, "error_metric": "energy", **options}
    target = target or HarmonicWells(WATER.positions)
    return ProximaCalculator(target, run_dir=path, **settings, **parts(threshold))


def resume(path, target=None, threshold=0.02):
    return ProximaCalculator.resume(path, target or HarmonicWells(WATER.positions), **parts(threshold))


def ask(calc, inputs):
    return [(calc.get_property("energy", atoms), calc.last_decision) for atoms in inputs]


def test_a_forked_child_is_refused(tmp_path):
    calc = open_run(tmp_path / "run")
    inputs = list(random_walk(WATER, 4))
    ask(calc, inputs[:2])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            calc.get_property("energy", inputs[2])
            os.write(writer, b"went on")
        except InputError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    message = os.read(reader, 1000).decode()
    assert f"belongs to process {os.getpid()}" in message
    assert "\n" not in message
    ask(calc, inputs[2:])
    assert calc.stats.n_calls == 4
    calc.close()


def in_thread(function):
    caught = []

    def body():
        try:
            function()
        except InputError as error:
            caught.append(str(error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return caught


def test_another_thread_is_refused_where_there_are_files(tmp_path):
    calc = open_run(tmp_path / "run")
    inputs = list(random_walk(WATER, 3))
    ask(calc, inputs[:1])
    (message,) = in_thread(lambda: calc.get_property("energy", inputs[1]))
    assert message.startswith("this run belongs to another thread")
    ask(calc, inputs)
    assert calc.stats.n_calls == 3
    calc.close()


def test_a_call_while_another_one_runs_is_refused():
    begun, may_end = threading.Event(), threading.Event()

    @proxima(error_bound=0.1)
    def slow(x, y):
        begun.set()
        may_end.wait(10)
        return x + y

    answers = []
    thread = threading.Thread(target=lambda: answers.append(slow(1.0, 2.0)))
    thread.start()
    begun.wait(10)
    with pytest.raises(InputError, match="another call is still running"):
        slow(3.0, 4.0)
    may_end.set()
    thread.join()
    assert answers == [3.0]
    assert slow(3.0, 4.0) == 7.0


def test_a_closed_calculator_is_refused(tmp_path):
    calc = open_run(tmp_path / "run")
    inputs = list(random_walk(WATER, 2))
    ask(calc, inputs[:1])
    calc.close()
    with pytest.raises(RunDirectoryError, match="this run is closed: go on with it by"):
        calc.get_property("energy", inputs[1])
    unused = open_run(tmp_path / "unused")
    unused.close()
    with pytest.raises(RunDirectoryError, match="is closed"):
        unused.get_property("energy", inputs[1])


def test_a_lock_file_that_a_killed_process_left_does_not_hold_a_resume_up(tmp_path):
    calc = open_run(tmp_path / "run")
    inputs = list(random_walk(WATER, 6))
    expected = ask(calc, inputs)
    calc.close()
    (tmp_path / "run" / "frames.db.lock").touch()
    calc = resume(tmp_path / "run")
    assert ask(calc, inputs[-1:]) == expected[-1:]
    ask(calc, random_walk(WATER, 3, seed=5))
    calc.close()
    assert not (tmp_path / "run" / "frames.db.lock").exists()


class Interrupted(HarmonicWells):
    """Is interrupted by the user at chosen runs."""

    interrupts = ()

    def calculate(self, *args, **kwargs):
        if self.n_runs in self.interrupts:
            self.interrupts = ()
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


def test_an_interrupt_in_the_target_leaves_a_calculator_that_goes_on_exactly(tmp_path):
    inputs = list(random_walk(WATER, 40))
    expected = ask(open_run(None), inputs)
    target = Interrupted(WATER.positions)
    target.interrupts = (3,)
    calc = open_run(tmp_path / "run", target)
    asked = []
    for atoms in inputs:
        try:
            asked += ask(calc, [atoms])
        except KeyboardInterrupt:
            asked += ask(calc, [atoms])
    assert asked == expected
    calc.close()


@pytest.mark.parametrize("where", ["append", "log", "save_state", "save_model"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_call_that_broke_off_half_written_says_close_and_resume(tmp_path, monkeypatch, where, error):
    inputs = list(random_walk(WATER, 40))
    expected = ask(open_run(None), inputs)
    calc = open_run(tmp_path / "run")
    asked = ask(calc, inputs[:10])
    original, left = getattr(RunDirectory, where), [3]

    def fail(self, *arguments):
        left[0] -= 1
        if not left[0]:
            raise error
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, where, fail)
        stopped = None
        for k in range(10, 40):
            try:
                asked += ask(calc, inputs[k : k + 1])
            except (KeyboardInterrupt, OSError):
                stopped = k
                break
    assert stopped is not None
    with pytest.raises(RunDirectoryError, match=r"broke off while .*: close it and resume"):
        ask(calc, inputs[stopped : stopped + 1])
    calc.close()
    calc = resume(tmp_path / "run")
    asked += ask(calc, inputs[stopped:])
    assert asked == expected
    calc.close()


def edit_database(statement):
    def damage(path):
        with sqlite3.connect(path / "frames.db") as database:
            database.execute(statement[0], statement[1:])
        database.close()

    return damage


def move_an_atom(path):
    with sqlite3.connect(path / "frames.db") as database:
        ((identifier, blob),) = database.execute("SELECT id, positions FROM systems LIMIT 1")
        positions = np.frombuffer(blob).copy()
        positions[0] += 0.01
        database.execute("UPDATE systems SET positions = ? WHERE id = ?", (positions.tobytes(), identifier))
    database.close()


def take_rows_of_another_run(path):
    other = path.parent / "other"
    calc = open_run(other)
    ask(calc, random_walk(WATER, 20, seed=9))
    calc.close()
    (path / "steps.csv").write_bytes((other / "steps.csv").read_bytes())


CHANGES = {
    "a position": move_an_atom,
    "an energy": edit_database(("UPDATE systems SET energy = energy + 0.01 WHERE id = 2",)),
    "the rows of another run": take_rows_of_another_run,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_since_it_was_written_is_refused(tmp_path, change):
    calc = open_run(tmp_path / "run")
    ask(calc, random_walk(WATER, 20))
    calc.close()
    change(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="is not what this run wrote: the frame of call") as raised:
        resume(tmp_path / "run")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["frames.db", "steps.csv"])
def test_a_file_that_is_gone_is_named(name, tmp_path):
    calc = open_run(tmp_path / "run")
    ask(calc, random_walk(WATER, 3))
    calc.close()
    (tmp_path / "run" / name).unlink()
    for _ in range(2):  # and it is not made anew
        with pytest.raises(RunDirectoryError, match=f"{name} is gone: take the files from a copy"):
            resume(tmp_path / "run")


def test_a_directory_that_is_deleted_or_replaced_is_told_at_the_next_trusted_call(tmp_path):
    run = tmp_path / "run"
    calc = open_run(run, threshold=1.0)
    inputs = list(random_walk(WATER, 5))
    expected = ask(calc, inputs[:3])
    assert expected[-1][1] is Decision.SURROGATE
    run.rename(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match=r"steps.csv cannot be written \(.*No such file"):
        ask(calc, inputs[3:4])
    calc.close()
    (tmp_path / "elsewhere").rename(run)
    calc = resume(run, threshold=1.0)
    (steps := run / "steps.csv").with_suffix(".new").write_bytes(steps.read_bytes())
    ask(calc, inputs[3:4])
    steps.with_suffix(".new").rename(steps)
    with pytest.raises(RunDirectoryError, match="another file has taken its place"):
        ask(calc, inputs[4:])
    calc.close()


def test_a_target_of_another_name_or_other_parameters_is_refused(tmp_path):
    class Tuned(HarmonicWells):
        def __init__(self, level):
            super().__init__(WATER.positions)
            self.parameters["level"] = level

    calc = open_run(tmp_path / "run", Tuned("GFN2"))
    ask(calc, random_walk(WATER, 3))
    calc.close()
    with pytest.raises(RunDirectoryError, match=r"GFN2.*now it is.*GFN1"):
        resume(tmp_path / "run", Tuned("GFN1"))
    with pytest.raises(RunDirectoryError, match=r"target of the name 'tuned', now it is 'harmonicwells'"):
        resume(tmp_path / "run")
    resume(tmp_path / "run", Tuned("GFN2")).close()


def test_a_target_that_no_longer_gives_what_was_stored_is_refused_before_the_surrogate_answers(tmp_path):
    inputs = list(random_walk(WATER, 30))
    calc = open_run(tmp_path / "run", threshold=1.0)
    ask(calc, inputs[:10])
    calc.close()
    calc = resume(tmp_path / "run", HarmonicWells(WATER.positions + 0.5), threshold=1.0)
    with pytest.raises(RunDirectoryError, match="gives another energy than the run has stored for call 0"):
        ask(calc, inputs[10:])
    assert calc.stats.n_calls == 10
    calc.close()
    calc = resume(tmp_path / "run", threshold=1.0)
    ask(calc, inputs[10:])
    assert calc.stats.n_calls == 30
    calc.close()


def test_another_charge_is_refused_at_the_resume(tmp_path):
    def ions(charge):
        for atoms in random_walk(WATER, 4):
            atoms.info["charge"] = charge
            yield atoms

    calc = open_run(tmp_path / "run", threshold=1.0)
    ask(calc, ions(1))
    calc.close()
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["target"]["electronic_state"] == {"charge": 1.0}
    calc = resume(tmp_path / "run", threshold=1.0)
    with pytest.raises(InputError, match="another electronic state"):
        ask(calc, ions(0))
    ask(calc, ions(1))
    assert calc.stats.n_calls == 4
    calc.close()
