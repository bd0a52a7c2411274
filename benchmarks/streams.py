"""Synthetic streams of uncertainties and errors with a known truth, and how often the bound is held.

Writes benchmarks/results/streams.csv, where rows of other controllers stay, and prints the table.  No surrogate and no
target take part: each stream says what the error would be at every call, the controller decides on the uncertainty
alone, and sees the error where it decided to look.

With --sensitivity each constant of the default controller is halved and doubled in turn; the table goes to
benchmarks/results/streams_sensitivity.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
from scipy.signal import lfilter

from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController
from ase_proxima.protocols import Controller
from ase_proxima.types import Observation

RESULTS = Path(__file__).parent / "results"
BOUND = 0.002
"""The bound, in the unit of the error."""

Stream = tuple[np.ndarray, np.ndarray]


def _stream(rng: np.random.Generator, n: int, scale: np.ndarray, ratio: np.ndarray) -> Stream:
    """Uncertainties around `scale`, errors normal with a standard deviation of `ratio` times the uncertainty."""
    u = scale * np.exp(0.5 * rng.normal(size=n))
    return u, np.abs(rng.normal(size=n)) * ratio * u


def stationary(rng: np.random.Generator, n: int) -> Stream:
    """Nothing changes; the mean error of everything is 1.5 times the bound."""
    return _stream(rng, n, np.full(n, 0.0033), np.full(n, 1.0))


def drifting(rng: np.random.Generator, n: int) -> Stream:
    """Uncertainties grow tenfold over the run, and the errors with them, one and a half times as fast."""
    growth = np.linspace(0, 1, n)
    return _stream(rng, n, 0.001 * 10**growth, 0.8 * 1.5**growth)


def jump(rng: np.random.Generator, n: int) -> Stream:
    """Half-way into a region where errors are 5 times larger at the same uncertainty."""
    return _stream(rng, n, np.full(n, 0.0015), np.where(np.arange(n) < n // 2, 0.8, 4.0))


def uninformative(rng: np.random.Generator, n: int) -> Stream:
    """The uncertainty says nothing; errors are 3 times the bound in the mean."""
    u, _ = _stream(rng, n, np.full(n, 0.002), np.full(n, 1.0))
    return u, np.abs(rng.normal(size=n)) * 3 * BOUND * np.sqrt(np.pi / 2)


def heavy_tailed(rng: np.random.Generator, n: int) -> Stream:
    """Errors follow Student's t with 2.5 degrees of freedom."""
    u, _ = _stream(rng, n, np.full(n, 0.002), np.full(n, 1.0))
    return u, np.abs(rng.standard_t(2.5, size=n)) * 0.7 * u


def worsening(rng: np.random.Generator, n: int) -> Stream:
    """The surrogate gets worse: errors at the same uncertainty grow sevenfold."""
    return _stream(rng, n, np.full(n, 0.0015), 0.7 * 7 ** np.linspace(0, 1, n))


def _wander(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """Autoregressive process of unit variance that forgets over `memory` calls."""
    keep = np.exp(-1.0 / memory)
    kicks = np.sqrt(1 - keep**2) * rng.normal(size=n)
    kicks[0] = rng.normal()
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks))


def _correlated(rng: np.random.Generator, n: int, memory: float) -> Stream:
    u = 0.0025 * np.exp(0.5 * _wander(rng, n, memory))
    return u, np.abs(rng.normal(size=n)) * np.exp(0.8 * _wander(rng, n, memory)) * u


def correlated_50(rng: np.random.Generator, n: int) -> Stream:
    """As in dynamics: uncertainty and ratio wander and remember 50 calls; the ratio spreads by a factor of e^0.8."""
    return _correlated(rng, n, 50.0)


def correlated_150(rng: np.random.Generator, n: int) -> Stream:
    """The same with a memory of 150 calls."""
    return _correlated(rng, n, 150.0)


def two_basins(rng: np.random.Generator, n: int) -> Stream:
    """To and fro every 250 calls between regions whose errors differ fivefold at the same uncertainty."""
    return _stream(rng, n, np.full(n, 0.0015), np.where(np.arange(n) // 250 % 2 == 0, 0.6, 3.0))


def halving(rng: np.random.Generator, n: int) -> Stream:
    """Errors at the same uncertainty grow sevenfold while the uncertainty halves."""
    growth = np.linspace(0, 1, n)
    return _stream(rng, n, 0.002 * 0.5**growth, 0.7 * 7**growth)


def late_jump(rng: np.random.Generator, n: int) -> Stream:
    """Errors 5 times larger at the same uncertainty for the last tenth of the calls."""
    return _stream(rng, n, np.full(n, 0.0015), np.where(np.arange(n) < 0.9 * n, 0.8, 4.0))


def bursts(rng: np.random.Generator, n: int) -> Stream:
    """Now and then, once in 300 calls, 20 calls with errors 10 times larger at the same uncertainty."""
    starts = rng.random(n) < 1 / 300
    within = np.convolve(starts, np.ones(20))[:n] > 0
    return _stream(rng, n, np.full(n, 0.0015), np.where(within, 8.0, 0.8))


def calm(rng: np.random.Generator, n: int) -> Stream:
    """Errors at a fifteenth of the bound, but for one in 60, which is 10 times the bound: 0.23 of it in the mean."""
    u, errors = _stream(rng, n, np.full(n, 0.00015), np.full(n, 1.0))
    return u, np.where(rng.random(n) < 1 / 60, 10 * BOUND, errors)


def three_basins(rng: np.random.Generator, n: int) -> Stream:
    """Three regions visited in no order, for 120 calls in the mean, where errors are 0.3, 1 and 4 uncertainties."""
    moves = rng.random(n) < 1 / 120
    region = np.where(moves, rng.integers(3, size=n), -1)
    region[0] = rng.integers(3)
    latest = np.maximum.accumulate(np.where(region >= 0, np.arange(n), 0))
    return _stream(rng, n, np.full(n, 0.0015), np.array([0.3, 1.0, 4.0])[region[latest]])


def breathing(rng: np.random.Generator, n: int) -> Stream:
    """Errors at the same uncertainty rise and fall by a factor of 2.7 about 1.2, once in 800 calls, from any phase."""
    phase = 2 * np.pi * (np.arange(n) / 800 + rng.random())
    return _stream(rng, n, np.full(n, 0.0018), 1.2 * np.exp(np.sin(phase)))


def constant(rng: np.random.Generator, n: int) -> Stream:
    """The uncertainty is one number, and right in the mean; errors are 0.6 of the bound, gamma-distributed about it."""
    return np.full(n, 0.0012), 0.6 * BOUND * rng.gamma(1.5, 1 / 1.5, size=n)


def repeats(rng: np.random.Generator, n: int) -> Stream:
    """Two thirds of the calls repeat what is known; now and then 40 calls elsewhere, with errors 5 uncertainties large.

    Repeated structures have a tenth of the uncertainty and a hundredth of the error of the others.
    """
    away = np.convolve(rng.random(n) < 1 / 400, np.ones(40))[:n] > 0
    again = ~away & (rng.random(n) < 2 / 3)
    scale = np.where(again, 0.00015, 0.0015)
    return _stream(rng, n, scale, np.where(again, 0.1, np.where(away, 5.0, 1.0)))


def plateau(rng: np.random.Generator, n: int) -> Stream:
    """A distance as the uncertainty, which wanders; errors grow with it, twice as fast, up to 3 bounds."""
    distance = 0.002 * np.exp(0.8 * _wander(rng, n, 100.0))
    return distance, np.minimum(2.0 * distance, 3 * BOUND) * rng.gamma(4.0, 0.25, size=n)


def rare_failures(rng: np.random.Generator, n: int) -> Stream:
    """Student's t with 3 degrees of freedom, and its scale trebles for the rest of the run after a third of it."""
    u, _ = _stream(rng, n, np.full(n, 0.0012), np.full(n, 1.0))
    return u, np.abs(rng.standard_t(3, size=n)) * np.where(np.arange(n) < n // 3, 0.6, 1.8) * u


DEVELOPED_ON = ("stationary", "drifting", "jump", "correlated_50", "correlated_150", "calm")
"""Streams on which the constants were chosen; the others only check."""
VARIED = (
    "audit_rate",
    "margin",
    "spread",
    "horizon",
    "window",
    "latest",
    "cap",
    "cap_weight",
    "audit_risk",
    "audit_least",
    "audit_most",
    "first_gap",
    "surprise",
    "alarm_pairs",
)
"""Constants of the default controller that are halved and doubled."""

STREAMS: dict[str, Callable[[np.random.Generator, int], Stream]] = {
    stream.__name__: stream
    for stream in (
        stationary,
        drifting,
        jump,
        uninformative,
        heavy_tailed,
        worsening,
        correlated_50,
        correlated_150,
        two_basins,
        halving,
        late_jump,
        bursts,
        calm,
        three_basins,
        breathing,
        constant,
        repeats,
        plateau,
        rare_failures,
    )
}
CONTROLLERS: dict[str, Callable[[], Controller]] = {
    "risk": lambda: RiskController(BOUND, prior_ratio=1.0),
    "risk, no prior": lambda: RiskController(BOUND),
    "risk over all": lambda: TotalRiskController(BOUND, prior_ratio=1.0),
    "linear": lambda: LinearController(BOUND),
}


def drive(controller: Controller, stream: Stream, rng: np.random.Generator) -> dict[str, float]:
    """Run a controller over a stream; return what it trusted, what that cost, and what it reported."""
    state = controller.init()
    trusted_errors, n_runs, alarms = [], 0, 0
    for u, e in zip(*stream, strict=True):
        verdict = controller.decide(state, u)
        trusted, p = verdict.trusts, verdict.audit_probability
        seen = not trusted or rng.random() < p
        n_runs += seen
        if trusted and not seen:
            trusted_errors.append(e)
        state = controller.observe(state, Observation(u, trusted, e if seen else None, p, 1))
        alarms += bool(getattr(state, "alarm", False))
    report, n = controller.report(state), len(stream[0])
    over_all = isinstance(controller, TotalRiskController)
    true = sum(trusted_errors) / n if over_all else float(np.mean(trusted_errors)) if trusted_errors else 0.0
    return {
        "true_error": true,
        "held": true <= BOUND,
        "share_trusted": len(trusted_errors) / n,
        "share_target": n_runs / n,
        "estimate": report["error_estimate"],
        "estimate_se": report["error_estimate_se"],
        "upper": report["error_upper"],
        "upper_known": report["error_upper"] == report["error_upper"],
        "upper_holds": not report["error_upper"] < true,
        "share_alarm": alarms / n,
    }


def _run(stream: str, make: Callable[[], Controller], seed: int, calls: int) -> dict[str, float]:
    rng = np.random.default_rng([seed, 7])
    return drive(make(), STREAMS[stream](rng, calls), rng)


def summarise(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Shares and ratios over the runs of each group."""
    return table.groupby(by, sort=False).agg(
        held=("held", "mean"),
        error_over_bound=("true_error", lambda e: e.mean() / BOUND),
        worst_over_bound=("true_error", lambda e: e.max() / BOUND),
        share_trusted=("share_trusted", "mean"),
        share_target=("share_target", "mean"),
        estimate_over_true=("estimate", lambda e: e.sum() / table.loc[e.index, "true_error"].sum()),
        estimate_se_over_bound=("estimate_se", lambda e: e.mean() / BOUND),
        upper_over_bound=("upper", lambda e: e.mean() / BOUND),
        upper_known=("upper_known", "mean"),
        upper_holds=("upper_holds", "mean"),
        share_alarm=("share_alarm", "mean"),
    )


def sensitivity(runs: int, calls: int) -> pd.DataFrame:
    """Halve and double each constant of the default controller; one row a setting, over all streams developed on."""
    usual = RiskController(BOUND, prior_ratio=1.0)
    settings = [("as it is", 1.0, usual)]
    for name in VARIED:
        value = getattr(usual, name)
        for factor in (0.5, 2.0):
            # no more than all of the bound may be aimed at
            varied = min(factor * value, 1.0) if name == "margin" else type(value)(factor * value)
            settings.append((name, varied, replace(usual, **{name: varied})))
    rows = [
        {"constant": name, "value": value, **_run(stream, lambda made=made: made, seed, calls)}
        for name, value, made in settings
        for stream in DEVELOPED_ON
        for seed in range(runs)
    ]
    columns = ["held", "error_over_bound", "worst_over_bound", "share_target", "upper_known"]
    return summarise(pd.DataFrame(rows), ["constant", "value"])[columns]


def _with_others(summary: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The summary with the rows of the file that were not measured now, in the order of the tables here."""
    if path.exists():
        others = pd.read_csv(path, index_col=["stream", "controller"])
        summary = pd.concat([summary, others[~others.index.isin(summary.index)]])
    order = [(stream, name) for stream in STREAMS for name in CONTROLLERS]
    return summary.loc[[key for key in order if key in summary.index]]


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=20, help="Runs of each stream.")
@click.option("--calls", default=3000, help="Calls in each run.")
@click.option(
    "--controller", "chosen", multiple=True, type=click.Choice(list(CONTROLLERS)), help="By default all."
)
@click.option("--sensitivity", "vary", is_flag=True, help="Halve and double each constant of `risk` instead.")
def main(runs: int, calls: int, chosen: tuple[str, ...], vary: bool) -> None:
    """Share of runs that hold the bound, for each stream and controller."""
    if vary:
        summary, name = sensitivity(runs, calls), "streams_sensitivity.csv"
    else:
        rows = [
            {
                "stream": stream,
                "controller": name,
                "seed": seed,
                **_run(stream, CONTROLLERS[name], seed, calls),
            }
            for stream in STREAMS
            for name in chosen or CONTROLLERS
            for seed in range(runs)
        ]
        summary, name = summarise(pd.DataFrame(rows), ["stream", "controller"]), "streams.csv"
        summary = _with_others(summary, RESULTS / name)
    RESULTS.mkdir(exist_ok=True)
    summary.round(4).to_csv(RESULTS / name)
    click.echo(summary.round(3).to_string())


if __name__ == "__main__":
    main()
