"""Damaged profiles: never a traceback, never a wrong number in silence."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_xarch.readers import Run, read_runs

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
    truth = {
        (item.device, item.kernel, name): value
        for item in read(content)
        if isinstance(item, Run)
        for name, value in item.values.items()
    }
    assert len(truth) == len(MANY) * len(KERNELS)
    return content, truth


def check(items: list[Any], truth: dict[tuple[str, str, str], float]) -> None:
    """Every value under a true name is the true value; names may be lost."""
    for item in items:
        if isinstance(item, Run):
            for name, value in item.values.items():
                want = truth.get((item.device, item.kernel, name))
                assert want is None or value == want, (item.kernel, name, value, want)


@QUIET
@given(cut=st.integers(0, 5000))
def test_truncation_anywhere(make_profiles: Callable[[Path], Any], cut: int) -> None:
    content, truth = expected(make_profiles(Path()))
    check(read(content[: min(cut, len(content))]), truth)


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
    check(items, truth)
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
    check(read(content.decode().encode(encoding)[:cut]), truth)


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
    for item in read((header + "\n" + "\n".join(body)).encode()):
        if isinstance(item, Run):
            assert all(value - value == 0 for value in item.values.values())


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
