"""Numbers as the profilers print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_xarch.units import parse_ncu, parse_nvprof, unit_factor


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("0.727098", 0.727098, "plain"),
        ("99.844129%", 0.99844129, "fraction"),
        ("1.000000GB/s", 1024.0**3, "bytes/s"),
        ("1.500000MB/s", 1.5 * 1024.0**2, "bytes/s"),
        ("0.000000B/s", 0.0, "bytes/s"),
        ("Idle (0)", 0.0, "level"),
        ("Low (1)", 1.0, "level"),
        ("Max (10)", 10.0, "level"),
        ("1.0625KB", 1088.0, "bytes"),
        ("467.481us", 467.481e-6, "s"),
        ("1.2e+10", 1.2e10, "plain"),
    ],
)
def test_nvprof_values_become_si(text: str, value: float, kind: str) -> None:
    got, unit = parse_nvprof(text)
    assert got == pytest.approx(value, rel=1e-15)
    assert unit == kind


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1_000", "nan", "inf", "1e999", "0x10", "1,5", "<OVERFLOW>", "n/a", "٣", "Low (1", "Low (11)", "Huge (3)",  # noqa: E501
     "1.5Gb/s", "1.5 KB/s", "--1", "1.2.3", "Max (3)", "Idle (4)"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_nvprof(text)


@pytest.mark.parametrize(
    ("text", "unit", "value", "kind"),
    [
        ("10,240,000", "byte", 10240000.0, "bytes"),
        ("1,234.5", "Kbyte/second", 1234500.0, "bytes/s"),
        ("406240", "ns", 4.0624e-4, "s"),
        ("3995313115.40", "hz", 3995313115.40, "1/s"),
        ("1.24", "cycle/nsecond", 1.24e9, "1/s"),
        ("23.59", "%", 0.2359, "fraction"),
        ("205696", "byte/block", 205696.0, "bytes"),
        ("1.89", "", 1.89, "plain"),
    ],
)
def test_nsight_values_become_si(text: str, unit: str, value: float, kind: str) -> None:
    got, found = parse_ncu(text, unit)
    assert got == pytest.approx(value, rel=1e-12)
    assert found == kind


@pytest.mark.parametrize("text", ["1,23", "12,3456", "1.234.567", "n/a", "", "1,2,3"])
def test_misplaced_separators_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_ncu(text, "")


def test_unknown_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown prefix"):
        unit_factor("Xbyte")


@given(st.floats(min_value=0, max_value=1e300, allow_nan=False))
def test_plain_numbers_come_back(value: float) -> None:
    assert parse_nvprof(repr(value)) == (value, "plain")


@given(st.text(max_size=12))
def test_text_is_refused_or_finite(text: str) -> None:
    try:
        value, _ = parse_nvprof(text)
    except ValueError:
        return
    assert value - value == 0.0
