"""Numbers as a reader wants them in a table; a dash for what is not known."""

from __future__ import annotations

import math

__all__ = ["format_number", "format_share", "format_speedup", "format_time", "format_with_error"]


def format_number(value: float | None, digits: int = 3) -> str:
    """Number to some significant digits; a dash where it is not known.

    Examples
    --------
    >>> format_number(0.00032219, 2), format_number(float("nan"))
    ('0.00032', '-')
    """
    return f"{value:.{digits}g}" if value is not None and math.isfinite(value) else "-"


def format_share(value: float | None) -> str:
    """Share in per cent.

    Examples
    --------
    >>> format_share(0.9271)
    '92.7 %'
    """
    return f"{100 * value:.1f} %" if value is not None and math.isfinite(value) else "-"


def format_time(seconds: float | None) -> str:
    """Seconds, with as many digits as one reads.

    Examples
    --------
    >>> format_time(0.0123), format_time(1234.5)
    ('0.012', '1,234')
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}"


def format_speedup(value: float | None) -> str:
    """Ratio of times.

    Examples
    --------
    >>> format_speedup(5.523), format_speedup(124.15)
    ('5.52x', '124x')
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}x" if value >= 100 else f"{value:.1f}x" if value >= 10 else f"{value:.2f}x"


def format_with_error(value: float | None, error: float | None) -> str:
    """Value with its standard error, to the digit that its error leaves.

    Examples
    --------
    >>> format_with_error(0.545013, 0.000943), format_with_error(0.5450131, float("nan"))
    ('0.5450 ± 0.0009', '0.545 ± ?')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if error is None or not math.isfinite(error) or not error > 0:
        return f"{value:.3f} ± ?"
    digits = max(0, -math.floor(math.log10(error / 2)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
