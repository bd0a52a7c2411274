"""Intervals and flags of the default on suites of programs that it has not seen, GTX 950 and GTX 1080 Ti.

A model is trained on two suites and predicts the third, each GPU from the other: how many rows its intervals hold, how
wide they are, how far off flagged and other rows are, and how well the typical error ranks the rows. SDK and Rodinia
were developed on, PolyBench is for checking. How far the share held tells anything is said by Clopper-Pearson
intervals (95 %) of so many rows, and of as many trials as there are applications, as the rows of one are alike; the
ratio of errors by applications drawn with replacement (90 %). Writes benchmarks/results/xarch_intervals.csv and .png.
With --sensitivity each constant of the expected error and of the flag is halved and doubled in turn, and other rules
are tried, on SDK and Rodinia; the table goes to benchmarks/results/xarch_intervals_sensitivity.csv.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import click
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import beta, spearmanr
from xarch_heldout import CHECKED_SUITE, geforce_pairs, shared_data

from gpu_xarch.learning import conformal, expected, prediction
from gpu_xarch.learning.rows import training_data
from gpu_xarch.learning.scores import bootstrap
from gpu_xarch.learning.splits import groups_of
from gpu_xarch.learning.training import Trained, doubt_of, inputs_of, train
from gpu_xarch.models import make_problem

RESULTS = Path(__file__).parent / "results"
WAYS = (("GTX 950", "GTX 1080 Ti"), ("GTX 1080 Ti", "GTX 950"))
TARGETS = ("ipc", "dram_throughput")
#: constants that are varied, by module
VARIED = {
    expected: [
        "_TREES",
        "_LEAF",
        "_SHARE",
        "_FOLDS",
        "_NEIGHBOURS",
        "_FLOOR",
        "_NEAREST",
        "_LEAST_DOUBT",
        "_NO_ERROR",
    ],
    prediction: ["TOLERANCE", "APART"],
}
FEWEST_FOLDS = 2
#: an error below this is as good as none where errors are divided
NO_ERROR = 0.01


@dataclass(frozen=True)
class Case:
    """A model of two suites, and the rows of the third."""

    source: str
    dest: str
    target: str
    suite: str
    trained: Trained
    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray

    def told(self, level: float, *, scaled: bool = True) -> pd.DataFrame:
        """Return what is said of each row, and how it is; `scaled` intervals follow the expected error."""
        trained, values = self.trained, self.X
        predicted, hard = trained.model.predict(values), prediction.expected_error(trained)
        by = (values, hard) if scaled else ()
        low, high = prediction.intervals(trained, predicted, level, *by)
        ends = [np.log(np.maximum(end, 0.0) + trained.offset) for end in (low, high, self.y, predicted)]
        outside = np.maximum(ends[0] - ends[2], 0.0) + np.maximum(ends[2] - ends[1], 0.0)
        return pd.DataFrame(
            {
                "group": self.groups,
                "held": outside == 0,
                "width": np.exp(ends[1] - ends[0]),
                # Gneiting and Raftery 2007, doi:10.1198/016214506000001437
                "score": ends[1] - ends[0] + 2.0 / (1.0 - level) * outside,
                "residual": np.abs(ends[2] - ends[3]),
                "expected": hard.expected(inputs_of(trained.model, values)) + hard.floor,
                "flagged": prediction.flags(trained, values, hard)[0],
                "error": np.abs(predicted - self.y) / np.maximum(self.y, trained.offset),
                "typical": hard.typical(inputs_of(trained.model, values), doubt_of(trained.model, values)),
            }
        )


def cases(suites: tuple[str, ...] = ()) -> Iterator[Case]:
    """Train a model without each suite, or without each of those named."""
    for source, dest in WAYS:
        pairs = geforce_pairs(shared_data(), source, dest)
        for target in TARGETS:
            data = training_data(pairs, make_problem(target, source, dest))
            of, groups = data.keys["suite"].to_numpy(str), np.array(groups_of(data, "application"))
            for suite in suites or sorted(set(of)):
                there = np.flatnonzero(of == suite)
                trained = train(data.rows(np.flatnonzero(of != suite)), "auto")
                yield Case(
                    source, dest, target, suite, trained, data.X.iloc[there], data.y[there], groups[there]
                )


def clopper_pearson(share: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a probability from the share of trials that succeeded."""
    n_held, tail = share * trials, 0.5 - 0.5 * level
    low = beta.ppf(tail, n_held, trials - n_held + 1) if share > 0 else 0.0
    return float(low), float(beta.ppf(1.0 - tail, n_held + 1, trials - n_held)) if share < 1 else 1.0


def times(part: pd.DataFrame, rows: np.ndarray | slice = slice(None)) -> float:
    """Return the median error of flagged rows over that of the others; NaN without either."""
    error, far = part["error"].to_numpy()[rows], part["flagged"].to_numpy()[rows]
    if far.all() or not far.any():
        return float("nan")
    return float(np.median(error[far]) / max(float(np.median(error[~far])), NO_ERROR))


def row_of(part: pd.DataFrame) -> dict[str, object]:
    """Return what is said of some rows."""
    held, far, error = (part[name].to_numpy() for name in ("held", "flagged", "error"))
    n_groups = part["group"].nunique()
    by_rows, by_groups = (clopper_pearson(float(held.mean()), n) for n in (len(part), n_groups))
    low, high = bootstrap(lambda rows: times(part, rows), list(part["group"]), n=1000)
    return {
        "rows": len(part),
        "applications": n_groups,
        "held_pct": round(100 * float(held.mean()), 1),
        **{
            f"held_{end}_by_{what}_pct": round(100 * value, 1)
            for what, ends in (("rows", by_rows), ("applications", by_groups))
            for end, value in zip(("low", "high"), ends, strict=True)
        },
        "median_high_over_low": round(float(np.median(part["width"])), 2),
        "mean_log_width": round(float(np.log(part["width"]).mean()), 2),
        "flagged_pct": round(100 * float(far.mean()), 1),
        **{
            f"{how}_error_{name}_pct": round(100 * float(take(error[mask])), 1) if mask.any() else ""
            for name, mask in (("flagged", far), ("other", ~far))
            for how, take in (("median", np.median), ("mean", np.mean))
        },
        "flagged_over_other": round(times(part), 2),
        "flagged_over_other_low": round(low, 2),
        "flagged_over_other_high": round(high, 2),
        "rank_correlation": round(float(spearmanr(part["typical"], error)[0]), 2),
    }


def draw(parts: dict[tuple[str, str, str], dict[str, pd.DataFrame]], out: Path) -> None:
    """Draw the residual over half the width of every interval, by suite left out."""
    figure, axes = plt.subplots(1, len(parts), figsize=(3.2 * len(parts), 3.6), sharey=True)
    for axis, ((source, dest, target), by_suite) in zip(axes, parts.items(), strict=True):
        for place, (_suite, part) in enumerate(by_suite.items()):
            ratio = part["residual"] / (0.5 * np.log(part["width"]))
            beside = np.random.default_rng(0).uniform(-0.3, 0.3, len(part))
            axis.plot(place + beside, np.maximum(ratio, 1e-2), ".", color=f"C{place}")
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_xticks(range(len(by_suite)), list(by_suite))
        axis.set_title(f"{target}\n{source} -> {dest}", fontsize=8)
    axes[0].set_ylabel("residual over half the width")
    figure.tight_layout()
    figure.savefig(out, dpi=120)


def larger_score(scores: np.ndarray, groups: np.ndarray, *, level: float) -> float:
    """Return the larger of the two scores that the rule interpolates between: split conformal by groups."""
    _, codes = np.unique(groups, return_inverse=True)
    sizes, order = np.bincount(codes), np.argsort(scores, kind="stable")
    reached = np.cumsum((1.0 / sizes[codes] / (len(sizes) + 1))[order]) >= level - 1e-12
    return float(scores[order][np.argmax(reached)]) if reached.any() else float("inf")


@contextmanager
def varied(module: object, name: str, factor: float) -> Iterator[None]:
    """Multiply a constant for a while; whole numbers stay whole."""
    value = getattr(module, name)
    new = type(value)(max(value * factor, FEWEST_FOLDS if name == "_FOLDS" else 0))
    with patch.object(module, name, new):
        yield


def summed(cases: list[Case], level: float, *, scaled: bool = True) -> dict[str, object]:
    """Return what is left of all cases: applications weigh the same in each, cases too."""
    told = [case.told(level, scaled=scaled) for case in cases]
    held = [100 * float(part["held"].mean()) for part in told]
    ratios = np.array([times(part) for part in told])
    ranks = [spearmanr(part["typical"], part["error"])[0] for part in told]
    return {
        "interval_score": round(
            float(np.mean([part.groupby("group")["score"].mean().mean() for part in told])), 3
        ),
        "mean_log_width": round(
            float(np.mean([np.log(part["width"]).groupby(part["group"]).mean().mean() for part in told])), 3
        ),
        "held_least_pct": round(min(held), 1),
        "held_mean_pct": round(float(np.mean(held)), 1),
        "flagged_pct": round(100 * float(np.mean([part["flagged"].mean() for part in told])), 1),
        "flagged_over_other": round(float(np.exp(np.nanmean(np.log(ratios)))), 2),
        "flagged_over_other_least": round(float(np.nanmin(ratios)), 2),
        "cases_with_both": int(np.isfinite(ratios).sum()),
        "rank_correlation": round(float(np.mean(ranks)), 3),
    }


def sensitivity(level: float) -> pd.DataFrame:
    """Halve and double each constant, and try other rules, on the suites that were developed on."""
    found = list(cases(("Rodinia", "SDK")))
    rows = [{"what": "as it is", "value": ""} | summed(found, level)]
    for module, names in VARIED.items():
        for name in names:
            for factor in (0.5, 2.0):
                with varied(module, name, factor):
                    value = f"{getattr(module, name):g}"
                    rows.append({"what": name.lstrip("_"), "value": value} | summed(found, level))
                click.echo(rows[-1])
    for what, errors in (("applications", "held_out"), ("suites", "suite_held_out")):
        alone = [
            replace(
                case,
                trained=replace(
                    case.trained,
                    held_out=getattr(case.trained, errors),
                    suite_held_out=getattr(case.trained, errors),
                ),
            )
            for case in found
        ]
        rows.append({"what": f"errors with {what} left out alone", "value": ""} | summed(alone, level))
    with ExitStack() as stack:
        stack.enter_context(patch.object(conformal, "group_quantile", larger_score))
        rows.append({"what": "quantile not interpolated", "value": ""} | summed(found, level))
    rows.append({"what": "all of one width", "value": ""} | summed(found, level, scaled=False))
    return pd.DataFrame(rows)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "xarch_intervals.csv")
@click.option("--level", default=0.9, help="Coverage asked for.")
@click.option("--sensitivity", "vary", is_flag=True, help="Halve and double the constants instead.")
def main(out: Path, level: float, vary: bool) -> None:
    """Run the benchmark."""
    if vary:
        table = sensitivity(level)
        table.to_csv(out.with_name(out.stem + "_sensitivity.csv"), index=False)
        click.echo(table.to_string(index=False))
        return
    parts: dict[tuple[str, str, str], dict[str, pd.DataFrame]] = {}
    for case in cases():
        parts.setdefault((case.source, case.dest, case.target), {})[case.suite] = case.told(level)
    rows = [
        {"source": source, "dest": dest, "target": target, "suite_left_out": suite} | row_of(part)
        for (source, dest, target), by_suite in parts.items()
        for suite, part in (
            *(
                (f"{one} (checked on)" if one == CHECKED_SUITE else one, part)
                for one, part in by_suite.items()
            ),
            ("each in turn", pd.concat(by_suite.values(), ignore_index=True)),
        )
    ]
    table = pd.DataFrame(rows)
    table.to_csv(out, index=False)
    draw(parts, out.with_suffix(".png"))
    click.echo(table.to_string(index=False))


if __name__ == "__main__":
    main()
