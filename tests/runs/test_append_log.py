"""Logs that grow by a row: what a kill cut is gone, everything else stays."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima import RunDirectoryError
from ase_proxima.runs.append_log import AppendLog, cut_rows, read_records, read_rows

ROWS = [{"step": k, "energy": -0.1 * k} for k in range(5)]


def write(path, rows):
    with AppendLog(path) as log:
        for row in rows:
            log.append(row)


@given(st.integers(0, 200))
def test_a_log_cut_anywhere_loses_its_last_line_at_most(tmp_path_factory, end):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    write(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[:end])
    kept = len(read_rows(path))
    assert kept == max(whole[:end].count(b"\n") - 1, 0)
    write(path, ROWS[kept:])
    assert path.read_bytes() == whole


@given(st.floats(allow_nan=False), st.booleans(), st.integers())
def test_records_come_back_to_the_last_bit(tmp_path_factory, energy, accepted, step):
    @dataclass(frozen=True)
    class Row:
        step: int
        energy: float
        accepted: bool

    path = tmp_path_factory.mktemp("log") / "log.csv"
    write(path, [Row(step, energy, accepted)])
    assert read_records(path, Row) == [Row(step, energy, accepted)]


def test_columns_keep_the_order_of_the_file(tmp_path):
    write(tmp_path / "log.csv", ROWS[:1])
    write(tmp_path / "log.csv", [{"energy": -0.1, "step": 1}])
    assert read_rows(tmp_path / "log.csv") == [
        {"step": "0", "energy": "-0.0"},
        {"step": "1", "energy": "-0.1"},
    ]


def test_rows_are_cut_from_the_end(tmp_path):
    write(tmp_path / "log.csv", ROWS)
    cut_rows(tmp_path / "log.csv", 2)
    assert [row["step"] for row in read_rows(tmp_path / "log.csv")] == ["0", "1"]
    cut_rows(tmp_path / "none.csv", 2)
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("content", [b"step,energy\n0,low\n", b"step\n0\n", b"\xff\xfe\n0,1\n"])
def test_a_file_that_is_no_such_log_is_one_clear_line(tmp_path, content):
    @dataclass(frozen=True)
    class Row:
        step: int
        energy: float

    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"log\.csv is damaged") as raised:
        read_records(tmp_path / "log.csv", Row)
    assert "\n" not in str(raised.value)


def test_a_row_that_changed_moved_went_or_has_other_columns_or_lost_its_seal_is_told(tmp_path):
    path = tmp_path / "log.csv"
    write(path, [{"step": i, "energy": -1.5} for i in range(4)])
    lines = path.read_text().splitlines()
    changed = [*lines[:2], lines[2].replace("-1.5", "-1.6"), *lines[3:]]
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    renamed = [lines[0].replace("energy", "enerhy"), *lines[1:]]
    for wrong, row in ((changed, 1), (swapped, 0), ([lines[0], *lines[2:]], 0), (renamed, 0)):
        path.write_text("\n".join(wrong) + "\n")
        with pytest.raises(RunDirectoryError, match=f"row {row} has changed"):
            read_rows(path)
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    with pytest.raises(RunDirectoryError, match="is damaged: KeyError: 'seal'"):
        read_rows(path)
    assert [row["step"] for row in read_rows(path, sealed=False)] == ["0", "1", "2", "3"]
