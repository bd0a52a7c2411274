"""JSON for scripts, in which numbers that JSON does not know are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["echo_json", "json_text"]


def json_text(data: Any) -> str:
    """Data as JSON; NaN and infinities become null, numbers of NumPy plain ones, paths and the like text.

    Examples
    --------
    >>> print(json_text({"error": float("nan"), "n": [1.0]}))
    {
      "error": null,
      "n": [
        1.0
      ]
    }
    """
    return json.dumps(_finite(data), indent=2, allow_nan=False)


def echo_json(data: Any) -> None:
    """Print data as JSON."""
    click.echo(json_text(data))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "dtype"):
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
