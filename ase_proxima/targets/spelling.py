"""How the options of a target are written in its name."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ase_proxima.errors import InputError

__all__ = ["check_options", "parse_options", "split_options"]


def split_options(spec: str, text: str) -> tuple[str, dict[str, Any]]:
    """What precedes the first option, and the options; a basis such as 6-31G(d,p) has commas of its own.

    Examples
    --------
    >>> split_options("psi4", "HF/6-31G(d,p),charge=1,multiplicity=2")
    ('HF/6-31G(d,p)', {'charge': 1, 'multiplicity': 2})
    """
    start = re.search(r"(^|,)\s*[^\W\d]\w*\s*=", text)
    if start is None:
        return text, {}
    return text[: start.start()], parse_options(spec, text[start.start() :].lstrip(","))


def parse_options(spec: str, text: str) -> dict[str, Any]:
    """Options written as `name=value,name=value`.

    Examples
    --------
    >>> parse_options("lj", "sigma=3.4,smooth=true")
    {'sigma': 3.4, 'smooth': True}
    """
    options: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name.isidentifier() or not value:
            raise InputError(f"target {spec!r} has an option {part!r}: write NAME:option=value,option=value")
        if name in options:
            raise InputError(f"target {spec!r} has the option {name!r} twice: give it once")
        options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    """Number, truth value or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_options(spec: str, calculator_class: Any, options: dict[str, Any]) -> None:
    """Refuse options that the calculator does not know; ASE's base class takes any."""
    signature = inspect.signature(calculator_class).parameters.values()
    known = {p.name for p in signature if p.kind is not inspect.Parameter.VAR_KEYWORD}
    known |= set(getattr(calculator_class, "default_parameters", {}))
    unknown = sorted(set(options) - known)
    if known and unknown:
        raise InputError(
            f"unknown option {unknown[0]!r} of target {spec!r}: use one of {', '.join(sorted(known))}"
        )
