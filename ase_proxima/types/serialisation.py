"""Frozen dataclasses to JSON values and back."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

__all__ = ["state_from_json", "state_to_json"]

State = TypeVar("State")


def state_to_json(value: Any) -> Any:
    """JSON values of a dataclass of numbers, strings, tuples and further dataclasses.

    Examples
    --------
    >>> from ase_proxima.controllers.calibration import Ratio
    >>> state_to_json(Ratio(mean=0.5, upper=0.8))
    {'mean': 0.5, 'upper': 0.8}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: state_to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [state_to_json(item) for item in value]
    return value


def state_from_json(template: State, data: Any) -> State:
    """Inverse of `state_to_json`; `template` is any instance of the dataclass.

    Examples
    --------
    >>> from ase_proxima.controllers.calibration import Ratio
    >>> state_from_json(Ratio(0.0, 0.0), {"mean": 0.5, "upper": 0.8})
    Ratio(mean=0.5, upper=0.8)
    """
    if dataclasses.is_dataclass(template) and not isinstance(template, type):
        fields = {name: state_from_json(getattr(template, name), value) for name, value in data.items()}
        return type(template)(**fields)
    if isinstance(data, list):
        return tuple(state_from_json(None, item) for item in data)  # type: ignore[return-value]
    return data  # type: ignore[no-any-return]
