"""Reports of molecular dynamics: energy drift, temperature, structure and diffusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_proxima.apps.statistics import mean_of_chain
from ase_proxima.dynamics.md import read_md
from ase_proxima.errors import RunDirectoryError
from ase_proxima.reports.formatting import format_number, format_with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["diffusion", "md_lines", "plot_md", "report_md"]

SETTLING = 0.2
"""Share of a run that is left out of means, as it settles."""
OVERHEATED = 3.0
"""Mean temperature over that of the thermostat above which a run is told to have blown up; two atoms swing by 60 %."""
COOLED = 0.75
"""Share of the temperature at the start below which a run at constant energy is told why: a harmonic solid that begins
in its minimum keeps half."""
RDF_BINS, RDF_MOST = 100, 8.0
"""Bins of the radial distribution function, and the largest distance in Å, at most half the cell."""
FEW_FRAMES = 10
"""Below which a mean-square displacement says nothing."""
DIFFUSION_FS = 1000.0
"""Time that the displacements must reach for a diffusion constant: before, atoms swing about their places."""


def report_md(run_dir: Path) -> dict[str, Any]:
    """Numbers of a run, finished or still going on.

    Returns
    -------
    dict
        JSON values: `temperature_K` and its error; `drift_meV_per_atom`, the change of `K + E - switch_work` over the
        whole run along a straight line (None under a thermostat); `switch_work_meV_per_atom`; `rdf` (r in Å, g) and
        `msd` (t in fs, Å^2) of the trajectory, None where they say nothing; `diffusion_A2_per_fs`.

    Raises
    ------
    RunDirectoryError
        If the folder is no run of molecular dynamics.
    """
    settings, rows, start = read_md(run_dir)
    if not rows:
        raise RunDirectoryError(f"{run_dir} has made no step yet")
    columns = {
        name: np.array([float(row[name] or "nan") for row in rows])
        for name in ("step", "potential", "kinetic", "temperature", "volume", "switch_work")
    }
    settled = columns["step"] >= SETTLING * columns["step"][-1]
    temperature = mean_of_chain(columns["temperature"][settled])
    work = np.nan_to_num(columns["switch_work"])
    conserved = columns["potential"] + columns["kinetic"] - work
    trajectory = _trajectory(run_dir)
    rdf = _radial_distribution(trajectory)
    msd = _displacement(trajectory, settings.interval * settings.timestep_fs)
    return {
        "run": str(run_dir),
        "ensemble": settings.ensemble,
        "n_atoms": len(start),
        "n_steps": int(columns["step"][-1]),
        "time_fs": float(columns["step"][-1]) * settings.timestep_fs,
        "temperature_K": temperature.mean,
        "temperature_error_K": temperature.error,
        "temperature_set_K": None if settings.ensemble == "nve" else settings.temperature_K,
        "temperature_start_K": settings.temperature_K,
        "volume": float(np.mean(columns["volume"][settled])),
        "drift_meV_per_atom": (
            _rise(columns["step"], conserved) / len(start) * 1000 if settings.ensemble == "nve" else None
        ),
        "switch_work_meV_per_atom": (
            float(work[-1]) / len(start) * 1000 if settings.calls_of_a_ramp is not None else None
        ),
        "blending": settings.calls_of_a_ramp,
        "rdf": rdf,
        "msd": msd,
        # a molecule alone only turns
        "diffusion_A2_per_fs": diffusion(msd) if start.pbc.any() else None,
        "columns": {name: values.tolist() for name, values in columns.items()},
    }


def _rise(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Rise of the straight line through points, from the first to the last."""
    if len(x) < 2:
        return math.nan
    return float(np.polyfit(x - x[0], y - y[0], 1)[0] * (x[-1] - x[0]))


def _trajectory(run_dir: Path) -> list[Atoms]:
    """Frames, without one that a kill may have cut."""
    try:
        text = (run_dir / "trajectory.xyz").read_text()
    except FileNotFoundError:
        return []
    if not text:
        return []
    length = int(text.split("\n", 1)[0]) + 2
    whole = text.count("\n") // length
    return list(ase.io.read(run_dir / "trajectory.xyz", f":{whole}", format="extxyz")) if whole else []


def _radial_distribution(frames: list[Atoms]) -> dict[str, list[float]] | None:
    """g(r) over the frames after the first fifth, of periodic structures."""
    frames = frames[int(SETTLING * len(frames)) :]
    if not frames or not frames[0].pbc.all():
        return None
    import freud

    # half the smallest distance between faces of the smallest cell
    most = min(RDF_MOST, 0.499 * min(_least_height(atoms) for atoms in frames))
    rdf = freud.density.RDF(bins=RDF_BINS, r_max=most)
    for atoms in frames:
        box = freud.box.Box.from_matrix(atoms.cell.array.T)
        points = atoms.get_positions(wrap=True) - atoms.cell.array.sum(axis=0) / 2
        rdf.compute((box, box.wrap(points)), reset=False)
    return {"r": rdf.bin_centers.tolist(), "g": np.asarray(rdf.rdf).tolist()}


def _least_height(atoms: Atoms) -> float:
    return float(1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1).max())


def _displacement(frames: list[Atoms], spacing_fs: float) -> dict[str, list[float]] | None:
    """Mean-square displacement over all time origins, the centre of mass at rest; up to half the run."""
    if len(frames) < FEW_FRAMES:
        return None
    import freud

    positions = np.array([atoms.positions - atoms.get_center_of_mass() for atoms in frames])
    msd = np.asarray(freud.msd.MSD(mode="window").compute(positions).msd)
    half = len(msd) // 2
    return {"t": (np.arange(half) * spacing_fs).tolist(), "msd": msd[:half].tolist()}


def diffusion(msd: Mapping[str, list[float]] | None) -> float | None:
    """Diffusion constant in Å^2/fs: a sixth of the slope of the second half; None before vibrations have passed."""
    if msd is None or not msd["t"][-1] >= DIFFUSION_FS:
        return None
    t, values = np.array(msd["t"]), np.array(msd["msd"])
    half = len(t) // 2
    return float(np.polyfit(t[half:], values[half:], 1)[0] / 6.0)


def md_lines(report: Mapping[str, Any]) -> list[str]:
    """What a run of dynamics found, in lines of text."""
    lines = [
        f"{report['ensemble']}, {report['n_atoms']} atoms, {report['n_steps']:,} steps, {report['time_fs']:,.0f} fs",
        f"temperature {format_with_error(report['temperature_K'], report['temperature_error_K'])} K",
    ]
    wanted = report["temperature_set_K"]
    if wanted and not report["temperature_K"] <= OVERHEATED * wanted:
        lines.append(
            f"far above the {wanted:g} K of the thermostat: the run means nothing; look at the first steps, "
            "then shorten the time step, or change the structure or the target"
        )
    start = report["temperature_start_K"]
    if not wanted and start and report["temperature_K"] < COOLED * start:
        lines.append(
            f"below the {start:g} K of the momenta at the start: without a thermostat half of that energy goes into "
            "vibrations; begin from a structure out of an nvt run, or with up to twice the temperature"
        )
    if report["drift_meV_per_atom"] is not None:
        known = ", work of switches taken off" if report["blending"] else ""
        lines.append(f"energy drift {format_number(report['drift_meV_per_atom'])} meV an atom{known}")
    if report["switch_work_meV_per_atom"] is not None:
        lines.append(
            f"work of switches {format_number(report['switch_work_meV_per_atom'])} meV an atom; "
            f"ramps of {report['blending']} calls"
        )
    if report["diffusion_A2_per_fs"] is not None:
        lines.append(f"diffusion {format_number(report['diffusion_A2_per_fs'] * 0.1)} cm^2/s")
    return lines


def plot_md(report: Mapping[str, Any]) -> Figure:
    """Plot temperature, energy, radial distribution and displacement of a run."""
    from ase_proxima.reports.plots import BLUE, GREY, INK, ORANGE, add_legend, draw_panels

    columns = {name: np.array(values) for name, values in report["columns"].items()}
    time_fs = columns["step"] * report["time_fs"] / max(report["n_steps"], 1)
    total = (columns["potential"] + columns["kinetic"]) / report["n_atoms"] * 1000
    work = np.nan_to_num(columns["switch_work"]) / report["n_atoms"] * 1000

    def temperature(axes: Axes) -> None:
        axes.plot(time_fs, columns["temperature"], color=GREY, lw=1, label="run")
        if report["temperature_set_K"]:
            axes.axhline(report["temperature_set_K"], color=INK, lw=1.1, ls="--", label="thermostat")
        axes.set(xlabel="time (fs)", ylabel="temperature (K)")
        add_legend(axes)

    def energy(axes: Axes) -> None:
        axes.plot(time_fs, total - total[0], color=GREY, lw=1, label="K + E")
        if report["blending"]:
            axes.plot(time_fs, total - total[0] - work, color=BLUE, lw=1, label="K + E - work of switches")
        axes.set(xlabel="time (fs)", ylabel="energy (meV an atom)")
        add_legend(axes)

    def structure(axes: Axes) -> None:
        axes.plot(report["rdf"]["r"], report["rdf"]["g"], color=ORANGE, lw=1)
        axes.set(xlabel="distance (Å)", ylabel="g(r)")

    def displacement(axes: Axes) -> None:
        axes.plot(report["msd"]["t"], report["msd"]["msd"], color=ORANGE, lw=1)
        axes.set(xlabel="time (fs)", ylabel="mean-square displacement (Å²)")

    panels = [temperature, energy]
    panels += [structure] * (report["rdf"] is not None) + [displacement] * (report["msd"] is not None)
    name = Path(report["run"]).name
    return draw_panels(panels, f"{name}: {report['ensemble']}, {report['n_atoms']} atoms")
