"""Damaged profiles: never a traceback, never a wrong number in silence."""

from __future__ import annotations

import gzip
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_xarch.profiles.readers import Run, read_runs

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KERNELS = (
    "saxpy(int, float, float const *, float*)",
    "void reduce6<int, unsigned int=256, bool=1>(int*, int*)",
)
MANY = {
    "ipc": "0.727098",
    "sm_efficiency": "99.844129%",
    "inst_executed": "123456",
    "dram_read_throughput": "1.500000GB/s",
    "dram_utilization": "Low (1)",
    "flop_count_sp": "777",
    "flop_count_dp": "888",
}


def read(content: bytes) -> list[Any]:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(content)
        file.flush()
        return list(read_runs(file.name))


def expected(profiles: Any) -> tuple[bytes, dict[tuple[str, str, str], float]]:
    content = profiles.profile(MANY, kernels=KERNELS).encode()
    truth = values_of(read(content))
    assert len(truth) == len(MANY) * len(KERNELS)
    return content, truth


def values_of(items: list[Any]) -> dict[tuple[str, str, str], float]:
    return {
        (item.device, item.kernel, name): value
        for item in items
        if isinstance(item, Run)
        for name, value in item.values.items()
    }


def is_told(items: list[Any]) -> bool:
    return any(not isinstance(item, Run) for item in items)


def check_true(items: list[Any], truth: dict[tuple[str, str, str], float]) -> set[tuple[str, str, str]]:
    """Every value under a true name is the true value; returns the names that were lost."""
    got = values_of(items)
    wrong = {key: (got[key], truth[key]) for key in got.keys() & truth.keys() if got[key] != truth[key]}
    assert wrong == {}
    return truth.keys() - got.keys()


def check(items: list[Any], truth: dict[tuple[str, str, str], float]) -> None:
    """What is lost is told, or stands under another name of kernel or device."""
    lost = check_true(items, truth)
    assert not lost or is_told(items) or len(values_of(items).keys() - truth.keys()) >= len(lost)


@QUIET
@given(cut=st.integers(0, 5000))
def test_truncation_anywhere(make_profiles: Callable[[Path], Any], cut: int) -> None:
    content, truth = expected(make_profiles(Path()))
    items = read(content[:cut])
    n_whole = content[:cut].count(b"\n") - (content.count(b"\n") - len(truth))
    assert len(truth) - len(check_true(items, truth)) in (max(n_whole, 0), max(n_whole, 0) + 1)
    at_end = b"\n" in content[max(cut - 1, 0) : cut + 1] or cut >= len(content)  # of a line, or of all
    assert is_told(items) or at_end


@QUIET
@given(data=st.data())
def test_bytes_replaced_anywhere(make_profiles: Callable[[Path], Any], data: st.DataObject) -> None:
    content, truth = expected(make_profiles(Path()))
    damaged = bytearray(content)
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    check(read(bytes(damaged)), truth)


@QUIET
@given(data=st.data())
def test_a_digit_replaced_by_another_is_seen(
    make_profiles: Callable[[Path], Any], data: st.DataObject
) -> None:
    content, truth = expected(make_profiles(Path()))
    lines = content.decode().splitlines(keepends=True)
    index = data.draw(st.integers(5, len(lines) - 1))
    head, _, values = lines[index].rpartition('",')
    places = [i for i, char in enumerate(values) if char.isdigit()]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != values[place]]))
    lines[index] = head + '",' + values[:place] + digit + values[place + 1 :]
    items = read("".join(lines).encode())
    check_true(items, truth)
    # a throughput's Avg may differ a little from Min = Max, which then give the value
    kept = sum(len(item.values) for item in items if isinstance(item, Run))
    assert kept == len(truth) or any(not isinstance(item, Run) for item in items)
    assert kept < len(truth) or "GB/s" in lines[index]


@QUIET
@given(data=st.data())
def test_output_of_the_program_put_in_anywhere(
    make_profiles: Callable[[Path], Any], data: st.DataObject
) -> None:
    content, truth = expected(make_profiles(Path()))
    place = data.draw(st.integers(0, len(content)))
    words = data.draw(
        st.sampled_from(
            [
                b"Result = PASS\n",
                b"==5== Warning: slow\n",
                b"1,2,3\n",
                b'"quoted, text"\n',
                b"\x00\xff\n",
                b"50%\r",
                b'"',
                b"\n",
            ]
        )
    )
    check(read(content[:place] + words + content[place:]), truth)


@QUIET
@given(
    encoding=st.sampled_from(["utf-16", "utf-16-be", "utf-32", "cp037", "utf-7"]), cut=st.integers(0, 9000)
)
def test_wrong_encodings(make_profiles: Callable[[Path], Any], encoding: str, cut: int) -> None:
    content, truth = expected(make_profiles(Path()))
    encoded = content.decode().encode(encoding)
    items = read(encoded[:cut])
    lost = check_true(items, truth)
    assert is_told(items) or len(lost) < len(truth)
    assert is_told(items) or not lost or cut < len(encoded)


@QUIET
@given(cut=st.integers(0, 700), flip=st.integers(0, 699))
def test_damaged_gzip(make_profiles: Callable[[Path], Any], cut: int, flip: int) -> None:
    content, truth = expected(make_profiles(Path()))
    packed = bytearray(gzip.compress(content))
    packed[flip % len(packed)] ^= 0x10
    items = read(bytes(packed[: max(cut, 20)]))
    check(items, truth)
    assert items


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_end_in_a_verdict(content: bytes) -> None:
    items = read(content)
    assert items
    assert not any(isinstance(item, Run) for item in items)


@settings(max_examples=150, deadline=None)
@given(
    header=st.sampled_from(
        [
            '"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"',
            '"Device","Kernel","Invocations","Event Name","Min","Max","Avg","Total"',
            '"Start","Duration","Device","Context","Stream","Name"',
            '"Time(%)","Time","Calls","Avg","Min","Max","Name"',
            '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"',
            '"ID","Process ID","Kernel Name","ipc"',
        ]
    ),
    body=st.lists(st.text(alphabet='"0129,.%()aK \n=', max_size=40), max_size=8),
)
def test_any_body_under_a_true_header_gives_finite_numbers(header: str, body: list[str]) -> None:
    items = read((header + "\n" + "\n".join(body)).encode())
    assert all(math.isfinite(value) for value in values_of(items).values())
    assert any(isinstance(item, Run) and item.values for item in items) or is_told(items)


@pytest.mark.parametrize("seed", range(5))
def test_interleaved_processes(make_profiles: Callable[[Path], Any], seed: int) -> None:
    import random

    profiles = make_profiles(Path())
    rows = [profiles.row(name, value, kernel) for kernel in KERNELS for name, value in MANY.items()]
    random.Random(seed).shuffle(rows)  # noqa: S311
    _, truth = expected(profiles)
    items = read((profiles.preamble + profiles.header + "\n" + "".join(rows)).encode())
    assert sum(len(item.values) for item in items if isinstance(item, Run)) == len(truth)
    check(items, truth)


WIDE = {
    "trace": (
        "==1== NVPROF is profiling process 1, command: ./a\n==1== Profiling result:\n"
        '"Start","Duration","Grid X","Registers Per Thread","Static SMem","Device","Context","Stream","Name","ipc"\n'
        "ms,us,,,KB,,,,,\n"
        '1.5,20.5,196,32,1.0625,"Tesla K40c (0)","1","7","f(int) [11]",0.125\n'
        '2.5,30.5,197,33,2.0625,"Tesla K40c (0)","1","7","f(int) [12]",0.375\n'
    ),
    "details": (
        "==PROF== Connected to process 9 (/a)\n"
        '"ID","Process ID","Kernel Name","CC","Metric Name","Metric Unit","Metric Value"\n'
        '"0","9","f(int)","7.0","Duration","ns","12,345"\n"0","9","f(int)","7.0","Executed Ipc Active","","1.25"\n'
        '"1","9","f(int)","7.0","Duration","ns","23,456"\n"1","9","f(int)","7.0","Executed Ipc Active","","2.25"\n'
    ),
    "raw": (
        '"ID","Process ID","Kernel Name","CC","gpu__time_duration.sum","sm__inst_executed.avg.per_cycle_active"\n'
        '"","","","","nsecond","inst/cycle"\n'
        '"0","9","f(int)","7.0","12,345","1.25"\n"1","9","f(int)","7.0","23,456","2.25"\n'
    ),
}


def by_launch(items: list[Any]) -> dict[tuple[str, str], float]:
    return {
        (run.launch_id, name): value
        for run in items
        if isinstance(run, Run)
        for name, value in run.values.items()
    }


@pytest.mark.parametrize("page", sorted(WIDE))
def test_wide_tables_cut_anywhere_lose_but_never_change_values(page: str) -> None:
    content = WIDE[page].encode()
    truth = by_launch(read(content))
    assert len(truth) >= 4
    for cut in range(len(content)):
        got = by_launch(read(content[:cut]))
        assert got.items() <= truth.items(), (cut, content[:cut][-60:])


@settings(max_examples=200, deadline=None)
@given(page=st.sampled_from(sorted(WIDE)), place=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_a_byte_of_a_wide_table_spoils_no_other_row(page: str, place: float, byte: int) -> None:
    lines = [line.encode() for line in WIDE[page].splitlines(keepends=True)]
    first = len(lines) - (4 if page == "details" else 2)
    content = bytearray(b"".join(lines[first:]))
    index = int(place * len(content))
    hit = first + bytes(content[:index]).count(b"\n")
    content[index] = byte
    launch = re.findall(rb"\[(\d+)\]" if page == "trace" else rb'^"(\d+)"', lines[hit])[0].decode()
    truth = by_launch(read(WIDE[page].encode()))
    for key, value in by_launch(read(b"".join(lines[:first]) + bytes(content))).items():
        if key[0] != launch and key in truth:
            assert value == truth[key], (key, lines[hit])


def test_memory_does_not_grow_with_the_file(tmp_path: Path, make_profiles: Callable[[Path], Any]) -> None:
    import tracemalloc

    profiles = make_profiles(tmp_path)
    peaks = []
    for kernels in (300, 3000):
        path = profiles.write(profiles.profile(MANY, kernels=[f"kernel_{i}(int)" for i in range(kernels)]))
        tracemalloc.start()
        assert sum(isinstance(item, Run) for item in read_runs(path)) == kernels
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
