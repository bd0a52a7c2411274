"""A report on a model as one HTML file: scores, figures, where it loses, and the model card."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpu_xarch.errors import InputError
from gpu_xarch.learning.evaluation import Evaluation, evaluate
from gpu_xarch.learning.fitting import fit_groups, fit_model
from gpu_xarch.learning.plots import bars, error_by_size, predicted_against_true
from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.scores import score
from gpu_xarch.learning.splits import groups_of, held_out_split, split
from gpu_xarch.learning.training import HELD_OUT, Trained
from gpu_xarch.models import make_model
from gpu_xarch.progress import OnStep, part_of, silent
from gpu_xarch.tables.roofline import roofline_figure, roofline_points
from gpu_xarch.units import named_in, squared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["importance", "learning", "render"]

_STYLE = (
    "body{font-family:sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ccc;text-align:right}"
    "td:first-child,th:first-child,.card td,.card th{text-align:left;vertical-align:top}"
    ".card td:first-child{white-space:nowrap;font-weight:bold}.warn{background:#fff3cd;padding:.6em 1em}"
    "svg{max-width:100%;height:auto}"
)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], kind: str = "numbers") -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<table class="{kind}"><tr>{head}</tr>{body}</table>'


def importance(
    trained: Trained, data: TrainingData, *, most: int = 20, seed: int = 0, on_step: OnStep = silent
) -> dict[str, float]:
    """Return how much the error grows when a metric is shuffled among the rows (permutation importance).

    The growth is of the mean absolute error, relative to the target's mean, of models fitted without the application
    (or kernel) of a row; it says what the model uses, not what causes the target.

    References
    ----------
    Breiman, Machine Learning 45, 5 (2001). doi:10.1023/A:1010933404324
    """
    import numpy as np
    from sklearn.base import clone
    from sklearn.inspection import permutation_importance

    growth = np.zeros(data.X.shape[1])
    parts = list(split(data, held_out_split(data), 5, seed))
    for done, (train_rows, test_rows) in enumerate(parts):
        model = fit_model(clone(trained.model), data.rows(train_rows))
        found = permutation_importance(
            model,
            data.X.iloc[test_rows],
            data.y[test_rows],
            scoring="neg_mean_absolute_error",
            n_repeats=1,
            random_state=seed,
        )
        growth += found.importances_mean * len(test_rows)
        on_step(done + 1, len(parts))
    growth /= float(np.abs(data.y).sum()) or 1.0
    order = np.argsort(-growth, kind="stable")[:most]
    return {str(data.X.columns[place]): float(growth[place]) for place in order}


def learning(
    data: TrainingData,
    name: str,
    *,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    seed: int = 0,
    on_step: OnStep = silent,
) -> tuple[list[int], list[float]]:
    """Return training sizes and held-out errors: folds keep groups together, rows are drawn from each training part.

    Returns
    -------
    sizes : list of int
        Number of training rows.
    errors : list of float
        Median relative error, or the error rate of labels, as mean over the folds.
    """
    import numpy as np
    from sklearn.model_selection import learning_curve

    parts = list(split(data, held_out_split(data), 5, seed))
    smallest = min(len(train_rows) for train_rows, _ in parts)
    sizes = sorted({max(int(share * smallest), min(10, smallest)) for share in shares})
    n_scored, label = 0, data.problem.classifies

    def error(model: Any, X: Any, y: Any) -> float:
        nonlocal n_scored
        n_scored += 1  # of training and test part of each
        on_step(n_scored, 2 * len(parts) * len(sizes))
        found = score(y, model.predict(X), classifies=label)
        return 1.0 - found["accuracy"] if label else found["median_ape"]

    _, _, errors = learning_curve(
        make_model(name, data.problem, seed=seed),
        data.X,
        data.y,
        train_sizes=sizes,
        cv=parts,
        scoring=error,
        shuffle=True,
        random_state=seed,
        error_score="raise",
        params={"groups": fit_groups(data)},
    )
    return sizes, [float(value) for value in np.nanmean(errors, axis=1)]


def render(
    trained: Trained, data: TrainingData, *, seed: int = 0, folds: int = 5, on_step: OnStep = silent
) -> str:
    """Return the report on a trained model and the rows it was trained on.

    Parameters
    ----------
    trained : Trained
    data : TrainingData
        Its training rows.
    seed, folds : int
        Of the held-out evaluation.
    on_step : callable
        Told how many of three parts are done: scores, importance, learning curve.

    Returns
    -------
    str
        A complete HTML page without links to anything outside.
    """
    problem = trained.problem
    names = (trained.name,) if trained.name == "forest" else ("forest", trained.name)
    how = held_out_split(data)
    result = evaluate(data, names, split_by=how, folds=folds, seed=seed, on_step=part_of(on_step, 0, 1, 3))
    where = f"on {problem.source}" if problem.same_gpu else f"{problem.source} to {problem.dest}"
    title = f"{problem.target} {where}: {trained.name}"
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if data.simulated:
        parts.append(
            f'<p class="warn">SIMULATED: {data.simulated} of {len(data)} rows were made by a model, not measured.</p>'
        )
    if len(set(groups_of(data, "suite"))) > 1:
        whole = evaluate(data, names, split_by="suite", seed=seed)
        parts += [
            "<h2>Scores with whole suites left out</h2>",
            f"<p>{html.escape(whole.words(trained.name))}</p>",
        ]
        parts.append(_scores(whole))
    parts += [
        f"<h2>Scores with {how}s left out</h2>" if how != "random" else "<h2>Scores on rows not seen</h2>",
        f"<p>{html.escape(result.words(trained.name))}</p>",
        _scores(result),
    ]
    if not problem.classifies:
        shown = {
            name: result.predictions[name][0] for name in ("old", trained.name) if name in result.predictions
        }
        parts += [
            "<h2>Predicted against true</h2>",
            _svg(predicted_against_true(data.y, shown, problem.unit)),
        ]
    parts += ["<h2>Error by application</h2>", _by_application(result, trained.name), *_roofline(data)]
    shares = importance(trained, data, seed=seed, on_step=part_of(on_step, 1, 1, 3))
    label = "growth of the mean error when shuffled, relative to the mean target"
    parts += ["<h2>Importance</h2>", _svg(bars(list(shares), {"importance": list(shares.values())}, label))]
    sizes, errors = learning(data, trained.name, seed=seed, on_step=part_of(on_step, 2, 1, 3))
    on_step(3, 3)
    measure = "error rate" if problem.classifies else "median relative error"
    parts += [
        f"<h2>Learning curve, {how}s left out</h2>" if how != "random" else "<h2>Learning curve</h2>",
        _svg(error_by_size(sizes, {trained.name: errors}, measure)),
        "<h2>Model card</h2>",
        _card(trained),
    ]
    page = "\n".join(parts)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{page}</body></html>\n"
    )


def _scores(result: Evaluation) -> str:
    rows, unit = [], result.data.problem.unit
    if result.data.problem.classifies:
        for s in result.scores(draws=300):
            rates = (s["accuracy"], s["false_positive_rate"], s["false_negative_rate"])
            rows.append((s["model"], *(f"{100 * value:.1f}" for value in rates)))
        return _table(("model", "accuracy %", "false positives %", "false negatives %"), rows)
    for s in result.scores(draws=300):
        rows.append(
            (
                s["model"],
                f"{100 * s['median_ape']:.1f} ({100 * s['median_ape_low']:.1f} to {100 * s['median_ape_high']:.1f})",
                f"{100 * s['mape']:.1f} ({100 * s['mape_low']:.1f} to {100 * s['mape_high']:.1f})",
                f"{s['mae']:.4g}",
                f"{s['mse']:.4g}",
                f"{s['r2']:.3f}",
                f"{100 * s['harmonic_mean']:.1f}",
            )
        )
    header = (
        "model",
        "median APE % (90 %)",
        "MAPE % (90 %)",
        named_in("MAE", unit),
        named_in("MSE", squared(unit)),
        "R²",
        "harmonic mean of applications %",
    )
    return _table(header, rows)


def _by_application(result: Evaluation, name: str) -> str:
    one = "accuracy" if result.data.problem.classifies else "median_ape"
    shown = [model for model in ("old", name) if model in result.predictions]
    parts = {model: result.by("application", model) for model in shown}
    names = [row["application"] for row in parts[name]]
    series = {model: [100 * row[one] for row in rows] for model, rows in parts.items()}
    return _svg(bars(names, series, "accuracy, %" if one == "accuracy" else "median error, %"))


def _roofline(data: TrainingData) -> list[str]:
    """Return the rows below the roofline of the source; nothing where their metrics do not tell."""
    keys = data.keys[["application", "kernel"]].set_axis(data.X.index)
    runs = pd.concat([data.X, keys.assign(device=data.problem.source, input="", invocations=1)], axis=1)
    try:
        points = roofline_points(runs)
    except InputError:
        return []
    return [f"<h2>Roofline of the {html.escape(data.problem.source)}</h2>", _svg(roofline_figure(points))]


def _held_out(scores: dict[str, float], unit: str) -> str:
    """Say how good the model was on groups that it had not seen."""
    if "accuracy" in scores:
        low, high = 100 * scores["accuracy_low"], 100 * scores["accuracy_high"]
        return f"accuracy {100 * scores['accuracy']:.1f} % ({low:.1f} to {high:.1f} %)"
    low, high = 100 * scores["median_ape_low"], 100 * scores["median_ape_high"]
    return (
        f"median error {100 * scores['median_ape']:.1f} % ({low:.1f} to {high:.1f} %), "
        f"mean absolute error {scores['mae']:.4g} {unit}, R² {scores['r2']:.2f}"
    )


def _counted(names: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({told})" for name, told in names.items()) or "none"


def _card(trained: Trained) -> str:
    """Return what to know of the model before relying on it."""
    card, problem = trained.card, trained.problem
    where = (
        f"on {problem.source}" if problem.same_gpu else f"on {problem.dest} from profiles of {problem.source}"
    )
    rows: list[tuple[str, object]] = [
        ("predicts", f"{named_in(problem.target, problem.unit)}, {where}"),
        ("model", f"{trained.name}, seed {card['seed']}, scikit-learn {card['scikit_learn']}"),
        (
            "learnt from",
            f"{card['rows']} runs, {card['simulated_rows']} of them simulated, of {card['applications']} applications "
            f"and {card['kernels']} kernels",
        ),
    ]
    for how, said in HELD_OUT.items():
        if scores := card.get(f"held_out_{how}"):
            rows.append((f"{said} (90 %)", _held_out(scores, problem.unit)))
    rows += [
        ("good for", "planning and comparison of runs like those it has learnt from"),
        ("not for", "runs that it flags, and programs whose grid follows the size of the GPU"),
        ("rows left out", f"{card['rows_without_target']}, without the target, ipc or inst_executed"),
        ("values refused", card["refused_values"]),
        ("values imputed", _counted(card["imputed_values"])),
        ("metrics taken", f"{len(trained.columns)}: {', '.join(trained.columns)}"),
        ("metrics left out", _counted(card["left_out_metrics"])),
    ]
    return _table(("fact", "value"), rows, "card")
