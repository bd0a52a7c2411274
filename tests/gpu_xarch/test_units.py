"""Numbers as the profilers print them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_xarch.units import named_in, parse_ncu, parse_nvprof, squared, unit_class, unit_factor


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
        ("0", "byte", 0.0, "bytes"),
        ("2.5", "Pbyte", 2.5e15, "bytes"),
        ("8", "KiB/block", 8192.0, "bytes"),
        ("1.5", "GiB/s", 1.5 * 2**30, "bytes/s"),
        ("100", "ns", 1e-7, "s"),
        ("12.5", "us", 12.5e-6, "s"),
    ],
)
def test_nsight_values_become_si(text: str, unit: str, value: float, kind: str) -> None:
    assert parse_ncu(text, unit) == (value, kind)


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
    assert math.isfinite(value)
    assert any(char in "0123456789" for char in text)


@pytest.mark.parametrize(
    ("prefix", "factor"),
    [
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("", 1.0),
        ("K", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ],
)
def test_prefixes_of_nsight_are_exact(prefix: str, factor: float) -> None:
    assert unit_factor(f"{prefix}byte") == (factor, "bytes")


SUFFIXES = [
    ("", 1.0, "plain"),
    ("%", 0.01, "fraction"),
    ("B", 1.0, "bytes"),
    ("KB", 2.0**10, "bytes"),
    ("MB", 2.0**20, "bytes"),
    ("GB", 2.0**30, "bytes"),
    ("B/s", 1.0, "bytes/s"),
    ("KB/s", 2.0**10, "bytes/s"),
    ("MB/s", 2.0**20, "bytes/s"),
    ("GB/s", 2.0**30, "bytes/s"),
    ("TB/s", 2.0**40, "bytes/s"),
    ("s", 1.0, "s"),
    ("ms", 1e-3, "s"),
    ("us", 1e-6, "s"),
    ("ns", 1e-9, "s"),
]


@pytest.mark.parametrize(
    ("suffix", "factor", "kind"),
    SUFFIXES,
)
def test_each_suffix_of_nvprof_has_its_factor(suffix: str, factor: float, kind: str) -> None:
    value, found = parse_nvprof(f"2.5{suffix}")
    assert value == pytest.approx(2.5 * factor, rel=1e-15)
    assert found == kind


@pytest.mark.parametrize("text", ["2.5e1%", "2.5E1%"])
def test_a_percentage_may_have_an_exponent(text: str) -> None:
    assert parse_nvprof(text) == (0.25, "fraction")


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("Idle", {0}),
        ("Low", set(range(11))),
        ("Mid", set(range(11))),
        ("High", set(range(11))),
        ("Max", {10}),
    ],
)
def test_each_level_has_its_numbers(word: str, allowed: set[int]) -> None:
    found = set()
    for number in range(13):
        try:
            value, kind = parse_nvprof(f"{word} ({number})")
        except ValueError:
            continue
        assert (value, kind) == (float(number), "level")
        found.add(number)
    assert found == allowed


@pytest.mark.parametrize(
    ("unit", "factor", "kind"),
    [
        ("byte", 1.0, "bytes"),
        ("B", 1.0, "bytes"),
        ("nbyte", 1e-9, "bytes"),
        ("Kbyte", 1e3, "bytes"),
        ("kB", 1e3, "bytes"),
        ("Mbyte", 1e6, "bytes"),
        ("GB", 1e9, "bytes"),
        ("Tbyte", 1e12, "bytes"),
        ("Pbyte", 1e15, "bytes"),
        ("second", 1.0, "s"),
        ("s", 1.0, "s"),
        ("msecond", 1e-3, "s"),
        ("us", 1e-6, "s"),
        ("nsecond", 1e-9, "s"),
        ("hz", 1.0, "1/s"),
        ("Hz", 1.0, "1/s"),
        ("MHz", 1e6, "1/s"),
        ("Ghz", 1e9, "1/s"),
        ("cycle", 1.0, "plain"),
        ("Kcycle", 1e3, "plain"),
        ("inst", 1.0, "plain"),
        ("warp", 1.0, "plain"),
        ("sector", 1.0, "plain"),
        ("request", 1.0, "plain"),
        ("", 1.0, "plain"),
        ("block", 1.0, "plain"),
        ("byte/second", 1.0, "bytes/s"),
        ("Gbyte/second", 1e9, "bytes/s"),
        ("byte/nsecond", 1e9, "bytes/s"),
        ("cycle/usecond", 1e6, "1/s"),
        ("inst/cycle", 1.0, "plain"),
        ("Kinst/cycle", 1e3, "plain"),
        ("inst/Kcycle", 1e-3, "plain"),
        ("byte/block", 1.0, "bytes"),
        ("Kbyte/block", 1e3, "bytes"),
        ("inst/Kbyte", 1e-3, "plain"),
        ("byte/Kbyte", 1e-3, "plain"),
    ],
)
def test_each_unit_of_nsight_has_its_factor(unit: str, factor: float, kind: str) -> None:
    found, of_kind = unit_factor(unit)
    assert found == pytest.approx(factor, rel=1e-15)
    assert of_kind == kind


@pytest.mark.parametrize("unit", ["Xbyte", "Xsecond", "Xhz", "XHz", "byte/Xsecond"])
def test_unknown_prefixes_are_refused_for_each_base(unit: str) -> None:
    with pytest.raises(ValueError, match="unknown prefix in the unit"):
        unit_factor(unit)


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("33,554,432.5", ".", 33554432.5),
        ("33.554.432,5", ",", 33554432.5),
        ("1 234 567", ".", 1234567.0),
        ("1\u00a0234,5", ",", 1234.5),
        ("1\u202f234,5", ",", 1234.5),
        ("1'234.5", ".", 1234.5),
        ("1\u2019234.5", ".", 1234.5),
        ("-1,234", ".", -1234.0),
        ("+5e3", ".", 5000.0),
        ("2,5E-1", ",", 0.25),
    ],
)
def test_marks_between_thousands_and_before_decimals(text: str, decimal: str, value: float) -> None:
    assert parse_ncu(text, "", decimal) == (value, "plain")


@pytest.mark.parametrize(
    ("text", "decimal"),
    [("1 23", "."), ("1 2345", "."), (" 1", "."), ("1'", "."), ("1.5", ","), ("1,5", "."), ("1é", ".")],
)
def test_marks_in_the_wrong_place_are_refused(text: str, decimal: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_ncu(text, "", decimal)


def test_an_infinite_number_is_refused_by_either_reader() -> None:
    with pytest.raises(ValueError, match="not a finite number: '1e999'"):
        parse_ncu("1e999", "")
    with pytest.raises(ValueError, match="not a finite number: '1e999'"):
        parse_nvprof("1e999")
    with pytest.raises(ValueError, match="not a finite number"):
        parse_ncu("1e308", "Kbyte")


def test_a_long_text_is_told_by_its_beginning() -> None:
    for read in (parse_nvprof, lambda text: parse_ncu(text, "")):
        with pytest.raises(ValueError, match=f": '{'x' * 40}'$"):
            read("x" * 60)


@pytest.mark.parametrize(
    ("unit", "classes"),
    [
        ("fraction", {"fraction"}),
        ("bytes/s", {"bytes/s"}),
        ("bytes", {"bytes", "plain"}),
        ("s", {"s"}),
        ("1/s", {"1/s"}),
        ("level", {"level", "fraction"}),
        ("count", {"plain"}),
        ("1/cycle", {"plain"}),
    ],
)
def test_a_unit_may_be_printed_in_its_classes(unit: str, classes: set[str]) -> None:
    assert unit_class(unit) == classes


def test_squares_and_names() -> None:
    assert [squared(unit) for unit in ("s", "1/s", "", "unknown")] == ["s²", "(1/s)²", "", "unknown"]
    assert [named_in("MAE", unit) for unit in ("s", "", "unknown")] == ["MAE, s", "MAE", "MAE"]


def test_messages_show_the_first_forty_letters_of_what_was_read() -> None:
    long = "1e999" + "9" * 60
    for read in (parse_nvprof, lambda text: parse_ncu(text, "byte")):
        with pytest.raises(ValueError, match=r"not a finite number") as refused:
            read(long)
        assert str(refused.value) == f"not a finite number: {long[:40]!r}"


@given(
    st.integers(0, 10**12),
    st.integers(0, 999_999),
    st.sampled_from([suffix for suffix, _, _ in SUFFIXES]) | st.text("KMGB/s%xn", min_size=1, max_size=4),
)
def test_a_number_with_a_unit_is_their_product_or_refused(whole: int, digits: int, suffix: str) -> None:
    number, known = f"{whole}.{digits:06d}", {name: (factor, kind) for name, factor, kind in SUFFIXES}
    if suffix in known:
        factor, kind = known[suffix]
        value, found = parse_nvprof(number + suffix)
        assert (value, found) == (pytest.approx(float(number) * factor, rel=1e-15), kind)
    else:
        with pytest.raises(ValueError, match=r"."):
            parse_nvprof(number + suffix)
