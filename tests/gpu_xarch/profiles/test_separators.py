"""Marks before decimals and between thousands are decided once a file, or the numbers are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_xarch import InputError, ingest, load_runs, read_runs
from gpu_xarch.profiles.readers import Run
from gpu_xarch.profiles.readers.separators import find_separators, told_by
from gpu_xarch.units import parse_ncu

HEADER = '"ID","Process ID","Process Name","Kernel Name","Block Size","Grid Size","CC","Metric Name","Metric Unit","Metric Value"\n'  # noqa: E501
DURATION, IPC = (
    ("gpu__time_duration.sum", "nsecond"),
    ("sm__inst_executed.avg.per_cycle_active", "inst/cycle"),
)
PEAK, READ = ("sm__throughput.avg.pct_of_peak_sustained_elapsed", "%"), ("dram__bytes_read.sum", "byte")


def page(*values, kernel="relax"):
    rows = "".join(
        f'"0","11","relax","{kernel}","(64, 1, 1)","(8, 1, 1)","8.6","{name}","{unit}","{text}"\n'
        for (name, unit), text in values
    )
    return HEADER + rows


def test_a_european_page_is_read_as_it_was_meant(profiles):
    text = page((DURATION, "512.300"), (IPC, "2,125"), (PEAK, "33,5"), (READ, "1.048.576"))
    (run,), problems = profiles.read(text)
    assert problems == []
    assert run.values["duration"] == pytest.approx(512300e-9)
    assert (run.values["ipc"], run.values["sm_throughput"], run.values["dram_read_bytes"]) == (
        2.125,
        0.335,
        1048576.0,
    )


def test_an_american_page_of_the_same_numbers(profiles):
    text = page((DURATION, "512,300"), (IPC, "2.125"), (PEAK, "33.5"), (READ, "1,048,576"))
    (run,), problems = profiles.read(text)
    assert problems == []
    assert run.values["duration"] == pytest.approx(512300e-9)
    assert (run.values["ipc"], run.values["sm_throughput"], run.values["dram_read_bytes"]) == (
        2.125,
        0.335,
        1048576.0,
    )


def test_what_can_be_read_two_ways_is_refused_in_one_line(profiles):
    runs, problems = profiles.read(page((DURATION, "512.300"), (IPC, "2,125")))
    assert runs == []
    (problem,) = problems
    assert (problem.kind, problem.line, problem.fatal) == ("ambiguous", 2, True)
    assert "2 numbers such as 512.300" in problem.message
    assert "no number of the file shows which" in problem.message
    assert "give --decimal . or --decimal ," in problem.message


def test_numbers_without_marks_stay_where_others_are_refused(profiles):
    (run,), problems = profiles.read(page((DURATION, "512.300"), (READ, "4096")))
    assert (run.values["dram_read_bytes"], "duration" in run.values) == (4096.0, False)
    assert [(p.kind, p.fatal) for p in problems] == [("ambiguous", False)]


@pytest.mark.parametrize(("decimal", "duration", "ipc"), [(",", 512300e-9, 2.125), (".", 512.3e-9, 2125.0)])
def test_the_user_may_say_which(profiles, decimal, duration, ipc):
    path = profiles.write(page((DURATION, "512.300"), (IPC, "2,125")))
    (run,) = read_runs(path, decimal=decimal)
    assert run.values["duration"] == pytest.approx(duration)
    assert run.values["ipc"] == ipc


def test_the_word_of_the_user_reaches_the_table(profiles, tmp_path):
    path = profiles.write(page((DURATION, "512.300"), (IPC, "2,125")))
    assert ingest(path, tmp_path / "runs.parquet", decimal=",").refused == 0
    assert load_runs(tmp_path / "runs.parquet")["ipc"].tolist() == [2.125]
    # read the other way the IPC is beyond every multiprocessor with a data sheet
    other = ingest(path, tmp_path / "wrong.parquet", decimal=".", naming=None)
    assert other.new == 1
    with pytest.raises(InputError, match=r"must be \. or ,"):
        list(read_runs(path, decimal=";"))


def test_a_file_that_shows_both_is_refused(profiles):
    runs, (problem,) = profiles.read(page((DURATION, "512.300"), (IPC, "2,12"), (PEAK, "33.5")))
    assert runs == []
    assert "1 numbers of the file show one and 1 the other" in problem.message


def test_one_damaged_cell_does_not_outvote_the_others(profiles):
    good = [((f"my__{i}", "cycle"), f"{i}.25") for i in range(40)]
    (run,), problems = profiles.read(page((DURATION, "512,300"), (IPC, "2,12"), *good))
    assert run.values["duration"] == pytest.approx(512300e-9)
    assert "ipc" not in run.values
    assert [(p.kind, p.line) for p in problems] == [("number", 3)]


def test_capabilities_addresses_and_sizes_tell_nothing(profiles):
    text = page((DURATION, "512.300")).replace('"relax"', '"127.0.0.1"')
    assert profiles.read(text)[0] == []


def test_raw_page_in_a_european_locale(profiles):
    text = (
        '"ID","Process ID","Kernel Name","CC","gpu__time_duration.sum","sm__inst_executed.avg.per_cycle_active"\n'
        '"","","","","usecond","inst/cycle"\n'
        '"0","9","relax","8.6","1.234,5","0,875"\n'
    )
    (run,), problems = profiles.read(text)
    assert problems == []
    assert (run.values["duration"], run.values["ipc"]) == (pytest.approx(1.2345e-3), 0.875)


@pytest.mark.parametrize("gap", [" ", "\u00a0", "\u202f", "'", "\u2019"])
def test_blanks_and_apostrophes_between_thousands(profiles, gap):
    (run,), problems = profiles.read(page((READ, f"1{gap}048{gap}576"), (PEAK, "33,5")))
    assert problems == []
    assert run.values["dram_read_bytes"] == 1048576.0


def written(value, places, decimal):
    text = f"{value:,.{places}f}"
    return text if decimal == "." else text.translate(str.maketrans(",.", ".,"))


@given(
    decimal=st.sampled_from([".", ","]),
    values=st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 4)), min_size=1, max_size=20),
)
def test_no_number_is_ever_read_the_wrong_way(decimal, values):
    texts = [written(value, places, decimal) for value, places in values]
    found = find_separators(texts).decimal
    assert found in (decimal, "")
    for text, (value, places) in zip(texts, values, strict=True):
        assert told_by(text) in ("", "?", decimal)
        if found:
            assert parse_ncu(text, "", found)[0] == pytest.approx(round(value, places), abs=1e-9)


def test_readers_and_commands_agree_on_the_type(profiles):
    assert all(isinstance(item, Run) for item in read_runs(profiles.write(page((READ, "7"), (PEAK, "3,5")))))
