"""Tables that somebody else made of profiles: CSV with one row a run, read through a column map.

The map is a small JSON file. Units are nvprof's suffixes ("%", "GB/s", "us", ...; 1 KB is 1024 bytes)::

    {
      "device": {"column": "gpu_name"},
      "kernel": {"column": "name"},
      "application": {"column": "name", "values": {"lud_diagonal": "lud"}},
      "input": {"columns": ["size.1", "size.2"]},
      "launch": {"column": "id"},
      "invocations": {"value": 1},
      "metrics": {
        "duration": {"column": "duration", "unit": "s"},
        "shared_static": {"column": "smem", "unit": "B",
                          "unit_where": {"column": "gpu_name", "units": {"P100": "KB"}}},
        "ipc": {"multiply": ["inst_executed"], "divide": ["active_cycles"]}
      },
      "ignore": ["row"]
    }

A column that is neither mapped nor ignored keeps its own name. A metric may be a product and quotient
of columns, times a "factor".
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from gpu_xarch.errors import InputError
from gpu_xarch.profiles.readers.rows import split_row
from gpu_xarch.profiles.readers.separators import Separators, find_separators, told_by
from gpu_xarch.profiles.readers.source import DamagedFileError, open_lines
from gpu_xarch.tables.records import Problem, Run
from gpu_xarch.units import NVPROF_SUFFIXES, parse_nvprof

__all__ = ["TableMap", "builtin_maps", "load_map", "table_reader"]

_ROLES = ("device", "kernel", "application", "input", "launch", "invocations")
_INTEGER = re.compile(r"\d{1,15}(?:\.0+)?", re.ASCII)


@dataclass(frozen=True)
class MetricRule:
    """How one metric follows from the columns of a row."""

    multiply: tuple[str, ...]
    divide: tuple[str, ...]
    factor: float
    unit: str
    where: str
    units: Mapping[str, str]


@dataclass(frozen=True)
class TableMap:
    """A column map, checked."""

    name: str
    roles: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, MetricRule]
    ignore: frozenset[str]

    @cached_property
    def columns(self) -> frozenset[str]:
        """All columns that the map speaks of."""
        names: set[str] = set(self.ignore)
        for role in self.roles.values():
            names.update([role["column"]] if "column" in role else role.get("columns", []))
        for rule in self.metrics.values():
            names.update((*rule.multiply, *rule.divide), [rule.where] if rule.units else [])
        return frozenset(names)


def builtin_maps() -> list[str]:
    """Return the names of the maps that come with the package.

    Examples
    --------
    >>> builtin_maps()
    ['gpuperfpredict']
    """
    folder = resources.files("gpu_xarch").joinpath("data")
    return sorted(
        item.name[len("map_") : -len(".json")] for item in folder.iterdir() if item.name.startswith("map_")
    )


def load_map(name: str) -> TableMap:
    """Read a column map: a file, or the name of one that comes with the package.

    Raises
    ------
    InputError
        If there is no such map or it is not of the form that the module's description shows.
    """
    try:
        if name in builtin_maps():
            text = (
                resources.files("gpu_xarch").joinpath("data", f"map_{name}.json").read_text(encoding="utf-8")
            )
        else:
            text = Path(name).read_text(encoding="utf-8-sig")
        data = json.loads(text)
    except OSError as error:
        known = ", ".join(builtin_maps())
        raise InputError(f"no column map {name!r}: give a JSON file or one of {known}") from error
    except ValueError as error:
        raise InputError(f"the column map {name} is no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("metrics"), dict):
        raise InputError(f'the column map {name} needs an object with "metrics"')
    unknown = set(data) - {*_ROLES, "metrics", "ignore", "notes"}
    if unknown:
        raise InputError(f"the column map {name} has the unknown entries {sorted(unknown)}")
    for role in ("device", "kernel"):
        if role not in data:
            raise InputError(f'the column map {name} needs "{role}"')
    roles = {role: data[role] for role in _ROLES if role in data}
    for role, rule in roles.items():
        if not isinstance(rule, dict) or not {"column", "columns", "value"} & set(rule):
            raise InputError(
                f'"{role}" of the column map {name} needs "column", "columns" or "value", got {rule!r}'
            )
    metrics = {metric: _rule(name, metric, rule) for metric, rule in data["metrics"].items()}
    return TableMap(name, roles, metrics, frozenset(data.get("ignore", ())))


def _rule(name: str, metric: str, rule: object) -> MetricRule:
    if isinstance(rule, str):
        rule = {"column": rule}
    if not isinstance(rule, dict) or ("column" in rule) == ("multiply" in rule):
        raise InputError(
            f'{metric!r} of the column map {name} needs either "column" or "multiply", got {rule!r}'
        )
    extra = set(rule) - {"column", "multiply", "divide", "factor", "unit", "unit_where"}
    if extra:
        raise InputError(f"{metric!r} of the column map {name} has the unknown entries {sorted(extra)}")
    where = rule.get("unit_where", {"column": "", "units": {}})
    found = MetricRule(
        multiply=(rule["column"],) if "column" in rule else tuple(rule["multiply"]),
        divide=tuple(rule.get("divide", ())),
        factor=float(rule.get("factor", 1.0)),
        unit=rule.get("unit", ""),
        where=where.get("column", ""),
        units=where.get("units", {}),
    )
    for unit in (found.unit, *found.units.values()):
        if unit not in NVPROF_SUFFIXES:
            raise InputError(
                f"{metric!r} of the column map {name}: unknown unit {unit!r}, "
                f"known: {', '.join(NVPROF_SUFFIXES)}"
            )
    return found


def table_reader(
    mapping: TableMap, *, decimal: str | None = None
) -> Callable[[Path], Iterator[Run | Problem]]:
    """Return a reader of CSV tables with these columns.

    Parameters
    ----------
    mapping : TableMap
    decimal : str, optional
        The mark before decimals, "." or ","; unless given it is "," in a table whose numbers show it (``71,04``).
    """

    def read(path: Path) -> Iterator[Run | Problem]:
        found = Separators(decimal) if decimal is not None else find_separators(_numbers(path, mapping))
        if found.contradicts:
            message = f"of the marks in its numbers, {found.why}: give --decimal . or --decimal ,"
            yield Problem(str(path), 0, "ambiguous", message, fatal=True)
            return
        yield from _read(path, mapping, european=found.decimal == ",")

    return read


def _numbers(path: Path, mapping: TableMap) -> Iterator[str]:
    """Yield the cells of a table that are no roles of its rows."""
    roles = {role["column"] for role in mapping.roles.values() if "column" in role}
    places: list[int] | None = None
    try:
        for _, line in open_lines(path):
            fields = split_row(line.rstrip("\r\n")) or []
            if places is None:
                places = [place for place, name in enumerate(fields) if name not in roles]
            else:
                yield from (fields[place] for place in places if place < len(fields))
    except DamagedFileError:
        return


def _american(text: str) -> str:
    """Return a European number with a point before its decimals, any other text as it is."""
    return text.replace(".", "").replace(",", ".") if told_by(text) else text


def _read(path: Path, mapping: TableMap, *, european: bool) -> Iterator[Run | Problem]:
    file = str(path)
    header: list[str] | None = None
    runs = 0
    try:
        for number, line in open_lines(path):
            text = line.rstrip("\r\n")
            if not text:
                continue
            try:
                fields = next(csv.reader([text], strict=True))
            except (csv.Error, StopIteration):
                fields = []
            if header is None:
                missing = mapping.columns - set(fields)
                if missing:
                    names = ", ".join(repr(name) for name in sorted(missing)[:5])
                    message = f"no table of the map {mapping.name}: the columns {names} are not in it"
                    yield Problem(file, number, "not-a-profile", message, fatal=True)
                    return
                header = fields
                continue
            if len(fields) != len(header) or not (line.endswith("\n") or text.endswith('"')):
                message = (
                    f"{len(fields)} fields, perhaps cut, where the header has {len(header)}; row left out"
                )
                yield Problem(file, number, "row", message)
                continue
            if european:
                fields = [_american(field) for field in fields]
            for item in _row(file, number, dict(zip(header, fields, strict=True)), mapping):
                runs += isinstance(item, Run)
                yield item
    except DamagedFileError as error:
        yield Problem(file, error.line, "truncated", str(error), fatal=not runs)
        return
    if not runs:
        yield Problem(file, 0, "no-metrics", "no readable row", fatal=True)


def _role(row: Mapping[str, str], rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return ""
    if "value" in rule:
        return str(rule["value"])
    if "columns" in rule:
        return " ".join(f"{name}={row[name]}" for name in rule["columns"])
    text = row[rule["column"]]
    return str(rule.get("values", {}).get(text, text))


def _whole(text: str, what: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{what} is {text[:30]!r}, not a whole number")
    return int(float(text))


def _row(file: str, number: int, row: Mapping[str, str], mapping: TableMap) -> Iterator[Run | Problem]:
    roles = mapping.roles
    try:
        launch = _whole(_role(row, roles["launch"]), "launch") if "launch" in roles else None
        invocations = _whole(_role(row, roles["invocations"]), "invocations") if "invocations" in roles else 1
    except ValueError as error:
        yield Problem(file, number, "number", f"{error}; row left out")
        return
    run = Run(
        device=_role(row, roles["device"]),
        kernel=_role(row, roles["kernel"]),
        invocations=invocations,
        launch=launch,
        line=number,
        tool="table",
        application=_role(row, roles["application"]) if "application" in roles else None,
        input=_role(row, roles["input"]) if "input" in roles else None,
        launch_id=str(launch) if launch is not None else "",
    )
    for name, rule in mapping.metrics.items():
        if any(row[column] in ("", "NA", "NaN") for column in (*rule.multiply, *rule.divide)):
            continue
        try:
            run.values[name] = _value(row, rule)
        except (ValueError, ZeroDivisionError) as error:
            yield Problem(file, number, "number", f"{name}: {error}; value left out")
    for column, text in row.items():
        if column not in mapping.columns and text not in ("", "NA", "NaN"):
            try:
                run.values[column], run.unknown_units[column] = parse_nvprof(text)
            except ValueError:
                yield Problem(file, number, "number", f"{column}: {text[:40]!r} is no number; value left out")
    if run.values:
        yield run


@lru_cache(maxsize=65536)
def _number(text: str) -> float:
    return parse_nvprof(text)[0]


def _value(row: Mapping[str, str], rule: MetricRule) -> float:
    unit = rule.units.get(row[rule.where], rule.unit) if rule.units else rule.unit
    result = _number(row[rule.multiply[0]] + unit) * rule.factor
    for column in rule.multiply[1:]:
        result *= _number(row[column])
    for column in rule.divide:
        result /= _number(row[column])
    if not math.isfinite(result):
        raise ValueError(f"the product or quotient is {result}")
    return result
