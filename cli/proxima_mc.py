"""`proxima-mc`: Metropolis sampling with an error-bounded surrogate."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ase_proxima.errors import InputError, ProximaError
from proxima_cli.endings import ResumableCommand, tell
from proxima_cli.executors import executor_option, open_place
from proxima_cli.options import (
    HELP_NAMES,
    MOST_NUMBERS,
    NumberList,
    json_option,
    prior_option,
    surrogate_option,
    version_option,
)
from proxima_cli.output import echo_json, show_table, write_figure
from proxima_cli.side_by_side import ProcessDiedError, run_all, run_all_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase_proxima.apps.delayed_acceptance_run import ExactSettings
    from ase_proxima.apps.monte_carlo_run import Progress, RunSettings
    from proxima_cli.side_by_side import Failures, Summaries

    Settings = RunSettings | ExactSettings

Summary = dict[str, Any]

BESIDE = "shared.db"
"""Where walkers share their frames, beside their run directories, unless it is said."""
WIDE_TERMINAL = 110  # columns that a bar and all its numbers take


@click.command("proxima-mc", cls=ResumableCommand, context_settings={"show_default": True, **HELP_NAMES})
@click.option("--temp", "temperatures", type=NumberList(), default="500", help="Temperature in K.")
@click.option("--molecule", default="CH4", help="A name of ASE's g2 collection, or a structure file.")
@click.option("--steps", default=1000, help="Steps of each chain.")
@click.option("--perturb", default=0.003, help="Standard deviation of a step of each coordinate, in Å.")
@click.option("--seed", "seeds", type=NumberList(int), default="1", help="Seed of chain and audits.")
@click.option("--charge", type=int, help="Total charge of the molecule.  [default: of the structure, else 0]")
@click.option(
    "--multiplicity", type=int, help="2S + 1 of the molecule.  [default: of the structure, else lowest]"
)
@click.option("--target", default="psi4:HF/6-31G*", help="What gives the exact energies; see the docs.")
@click.option("--error-bound", default=0.002, help="Mean error of the energy to hold, in eV.")
@click.option(
    "--strategy",
    type=click.Choice(["proxima", "published", "fixed", "baseline"]),
    default="proxima",
    help="How the surrogate is used.",
)
@surrogate_option
@prior_option
@click.option("--threshold", type=float, help="Threshold of the fixed strategy.  [default: 0.3]")
@click.option("--retrain-interval", type=int, help="Frames between trainings, fixed strategy.  [default: 50]")
@click.option(
    "--exact", is_flag=True, help="Sample the target's own distribution; --steps are calls of the target."
)
@click.option(
    "--burn-in", type=int, help="Steps that train the surrogate first, with --exact.  [default: 2000]"
)
@click.option(
    "--inner-steps", type=int, help="Surrogate steps to a target call, with --exact.  [default: chosen]"
)
@click.option(
    "--on-target-failure",
    type=click.Choice(["raise", "reject"]),
    default="raise",
    help="Where the target cannot give a move's energy: end the run, or reject the move.",
)
@click.option("--reference", type=click.Path(path_type=Path), help="Run whose structures are gone through.")
@click.option(
    "--share",
    is_flag=False,
    flag_value=BESIDE,
    metavar="[DATABASE]",
    help="Let the walkers learn from each other's target calls, through a file in --out or one that is named, or "
    "postgresql://HOST/NAME.",
)
@click.option("--jobs", default=1, help="Runs side by side, one target worker each.")
@executor_option("processes")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs.  [default: runs/TIME]")
@click.option("--resume", is_flag=True, help="Go on with the runs in --out.")
@click.option("--plot", is_flag=True, help="Write plots into the run directories.")
@json_option
@version_option
def main(
    *,
    temperatures: tuple[float, ...],
    seeds: tuple[int, ...],
    steps: int,
    exact: bool,
    burn_in: int | None,
    inner_steps: int | None,
    on_target_failure: str,
    reference: Path | None,
    share: str | None,
    jobs: int,
    where: str,
    out: Path | None,
    resume: bool,
    plot: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Sample a molecule at one temperature or several, and say what it cost.

    \b
    proxima-mc --temp 500
    proxima-mc --temp 100:1000:100 --seed 1,2,3 --jobs 2 --out runs/methane
    proxima-mc --temp 500 --exact --steps 500
    """  # noqa: D301  click takes the backspace for "keep these lines as they are"
    from ase_proxima.apps.run_settings import RunSettings, check_same
    from ase_proxima.runs.folder import discard_unstarted

    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}")
    if resume and out is None:
        raise InputError("--resume needs --out: name the folder of the runs to go on with")
    if steps < 1:
        raise InputError(f"--steps must be at least 1, got {steps}")
    if not exact and (burn_in is not None or inner_steps is not None):
        raise InputError("--burn-in and --inner-steps belong to --exact: add it, or leave them out")
    given = {name: value for name, value in settings.items() if value is not None}
    if given["strategy"] != "fixed" and not {"threshold", "retrain_interval"}.isdisjoint(given):
        raise InputError(
            "--threshold and --retrain-interval belong to --strategy fixed: add it, or leave them out"
        )
    if len(temperatures) * len(seeds) > MOST_NUMBERS:
        raise InputError(
            f"--temp and --seed ask for {len(temperatures) * len(seeds):,} runs: ask for {MOST_NUMBERS:,} at most"
        )
    named, out = out is not None, out or Path("runs") / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    several = len(temperatures) * len(seeds) > 1
    base = RunSettings(
        temperature_K=temperatures[0], seed=seeds[0], share=_shared(share, several=several), **given
    )
    tasks: dict[Path, Settings] = {}
    for temperature in temperatures:
        for seed in seeds:
            name = f"T{temperature:04g}K-s{seed}"
            run_dir = out / name if several else out
            if run_dir in tasks:
                raise InputError(
                    f"--temp and --seed ask for {name} twice: give each temperature (in six digits) and seed once"
                )
            one = replace(base, temperature_K=temperature, seed=seed, reference=_reference(reference, name))
            tasks[run_dir] = _exactly(one, burn_in, inner_steps) if exact else one
            tasks[run_dir].check()
    _check_target(base)
    for run_dir, one in tasks.items():
        if run_dir.exists() and not run_dir.is_dir():
            raise InputError(f"{run_dir} is no folder: choose another --out")
        if run_dir.exists() and any(run_dir.iterdir()):
            if not resume:
                raise InputError(f"{run_dir} exists already: add --resume, or choose another --out")
            if not exact and not discard_unstarted(run_dir):
                check_same(one, run_dir)
    if resume and not any(run_dir.is_dir() for run_dir in tasks):
        raise InputError(
            f"--resume finds none of these runs in {out}: name their folder with --out, or leave --resume out"
        )
    if not named:
        mine = _new_folder(out)
        tasks = {mine / run_dir.relative_to(out): one for run_dir, one in tasks.items()}
        out = mine
    total = steps + max(getattr(one, "burn_in", 0) for one in tasks.values())
    with _ProgressBars(list(tasks), total) as bars:
        run_one = partial(_run_one, steps=steps, resume=resume, reject_failures=on_target_failure == "reject")
        if where == "processes" or (where == "threads" and jobs == 1):
            summaries, failures = run_all(tasks, run_one, jobs=jobs, report=bars.update)
        else:
            summaries, failures = _run_elsewhere(where, jobs, tasks, run_one, bars.update)
    _close(summaries, out, as_json=as_json, plot=plot)
    codes = [tell(_with_structure(run_dir, error), of=f"{run_dir}: ") for run_dir, error in failures.items()]
    if failures:
        sys.exit(min(codes))  # 1 where a run failed, 2 where all had wrong input


def _run_elsewhere(
    where: str,
    jobs: int,
    tasks: dict[Path, Settings],
    run_one: partial[Summary],
    report: Callable[[Progress], None],
) -> tuple[Summaries, Failures]:
    """Make the runs on an executor, to whose workers a relative path may be another one."""
    with open_place(where, jobs) as place:
        for one in tasks.values():
            chain = getattr(one, "chain", one)  # that of an exact run
            place.check_files({"--molecule": chain.molecule, "--reference": chain.reference})
        named = {run_dir.absolute(): run_dir for run_dir in tasks}
        summaries, failures = run_all_on(
            place.executor,
            {whole: tasks[run_dir] for whole, run_dir in named.items()},
            partial(run_one, resume=True),
            report=report,
        )
    return (
        {named[run_dir]: summary for run_dir, summary in summaries.items()},
        {named[run_dir]: error for run_dir, error in failures.items()},
    )


def _with_structure(run_dir: Path, error: Exception) -> Exception:
    """Add to the error of a process that died the file of the structure that it was busy with."""
    from ase_proxima.apps.run_settings import save_structure_under_way

    if not isinstance(error, ProcessDiedError):
        return error
    try:
        place = save_structure_under_way(run_dir)
    except (ProximaError, OSError):  # a run of another kind, or one that had not begun
        return error
    return ProcessDiedError(f"{error}; the structure that it was busy with is in {place}")


def _shared(share: str | None, *, several: bool) -> str | None:
    """Where walkers share, as each run directory keeps it."""
    from ase_proxima.runs.shared import is_server

    if share is None or is_server(share):
        return share
    if share != BESIDE:
        return str(Path(share).absolute())
    if not several:
        raise InputError(
            "--share is for several walkers: ask for them with --temp or --seed, or name a database"
        )
    return str(Path("..") / BESIDE)


def _new_folder(wanted: Path) -> Path:
    """Make a folder of this name, or of the next free one: two commands may start in the same second."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # the count has no end


def _exactly(chain: RunSettings, burn_in: int | None, inner_steps: int | None) -> ExactSettings:
    """The settings of an exact run, with the defaults of the library."""
    from ase_proxima.apps.delayed_acceptance_run import DEFAULT_BURN_IN, ExactSettings

    return ExactSettings(chain, DEFAULT_BURN_IN if burn_in is None else burn_in, inner_steps)


def _reference(reference: Path | None, name: str) -> str | None:
    """The reference's run of the same name, or the reference itself where it is a single run."""
    if reference is None:
        return None
    from ase_proxima.apps.run_settings import read_settings

    inside = reference / name
    chosen = inside if inside.is_dir() else reference
    read_settings(chosen)
    return str(chosen)


def _check_target(settings: RunSettings) -> None:
    """Start the target once, so that a wrong one is found before any run begins."""
    from ase_proxima.apps.structures import unit_doubt
    from ase_proxima.targets import check_prior, parse_target, target_state

    structure = settings.structure()
    target = parse_target(settings.target, atoms=structure)
    state = target_state(target, structure)
    if settings.prior is not None:
        check_prior(settings.prior, structure, state)
    doubt = unit_doubt(structure)
    if doubt:
        click.echo(f"warning: {doubt}", err=True)
    if hasattr(target, "close"):
        target.close()


def _run_one(
    run_dir: Path, settings: Settings, report: Callable[[Progress], None], *, steps: int, **how: bool
) -> Summary:
    from ase_proxima.apps import delayed_acceptance_run
    from ase_proxima.apps.monte_carlo_run import RunSettings, run

    if not isinstance(settings, RunSettings):
        return delayed_acceptance_run.run(settings, steps, run_dir, on_progress=report, **how)
    return run(settings, steps, run_dir, on_progress=report, **how)


class _ProgressBars:
    """One bar for all steps of all runs, with the latest run's numbers; silent where there is no terminal."""

    def __init__(self, run_dirs: list[Path], steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._wide = console.width >= WIDE_TERMINAL
        self._bars = Progress(
            TextColumn("{task.description}"),
            *[BarColumn()] * self._wide,
            TextColumn("{task.completed:.0f}/{task.total:.0f}" + " steps" * self._wide),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._steps = dict.fromkeys((run_dir.name for run_dir in run_dirs), 0)
        self._task = self._bars.add_task("starting", total=steps * len(run_dirs), numbers="")

    def update(self, progress: Progress) -> None:
        """Show what a run reports."""
        self._steps[progress.label] = progress.step
        stats = progress.stats
        numbers = f"trusted {stats.share_trusted:.0%}  target {stats.n_target_runs}"
        if stats.error_estimate > 0:  # known, and not of a run that trusts nothing
            numbers += f"  error ~{stats.error_estimate:.1e} eV"
        if self._wide:
            numbers = f"accepted {progress.acceptance:.0%}  {numbers}"
        self._bars.update(
            self._task, description=progress.label, completed=sum(self._steps.values()), numbers=numbers
        )

    def __enter__(self) -> _ProgressBars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def _close(summaries: dict[Path, Summary], out: Path, *, as_json: bool, plot: bool) -> None:
    """Print the closing table, and write the plots."""
    exact = any(summary["strategy"] == "exact" for summary in summaries.values())
    if plot:
        from ase_proxima.reports import plots

        for run_dir in summaries:
            write_figure(plots.plot_run(run_dir), run_dir / "run.png")
        if len(summaries) > 1:
            write_figure(plots.plot_temperatures(list(summaries.values())), out / "temperatures.png")
    if as_json:
        echo_json([{"run_dir": str(run_dir), **summary} for run_dir, summary in summaries.items()])
    elif summaries:
        from ase_proxima.reports.exact import exact_table
        from ase_proxima.reports.run_table import run_table

        show_table((exact_table if exact else run_table)(list(summaries.values())))
        for run_dir, summary in summaries.items():
            for note in summary.get("notes", ()):
                click.echo(f"note: {run_dir}: {note}", err=True)
        run_dir = next(iter(summaries))
        training = f", their training with: proxima report {run_dir / 'burn-in'}" if exact else ""
        click.echo(f"runs in {out}; see them again with: proxima report {run_dir}{training}")
