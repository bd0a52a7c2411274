"""Honest scores: held-out groups, hyper-parameters chosen inside, baselines beside, intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpu_xarch.errors import InputError
from gpu_xarch.learning.fitting import fit_groups, fit_model
from gpu_xarch.learning.rows import TrainingData
from gpu_xarch.learning.scores import bootstrap, harmonic_mean, score
from gpu_xarch.learning.splits import application_names, groups_of, split
from gpu_xarch.models import GRIDS, baselines_of, make_model, resolve
from gpu_xarch.models.auto import offset_of
from gpu_xarch.progress import OnStep, part_of, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Evaluation", "evaluate"]


def choose_options(data: TrainingData, name: str, how: str, seed: int, n_jobs: int) -> dict[str, Any]:
    """Return the hyper-parameters with the smallest error of the logarithm on inner folds of `data`."""
    import numpy as np
    from sklearn import config_context
    from sklearn.model_selection import GridSearchCV

    grid = [{key: [value] for key, value in options.items()} for options in GRIDS.get(name, ({},))]
    if len(grid) == 1 or data.problem.classifies:
        return {}
    if how != "random" and len(set(groups_of(data, how))) < 2:
        how = "random"
    small = offset_of(data.y)

    def closeness(model: Any, X: Any, y: Floats) -> float:
        return -float(np.abs(np.log((np.maximum(model.predict(X), 0.0) + small) / (y + small))).mean())

    with config_context(enable_metadata_routing=True):
        model: Any = make_model(name, data.problem, seed=seed, n_jobs=n_jobs)
        model.set_fit_request(groups=True)
        folds = list(split(data, how, 3, seed))
        search = GridSearchCV(model, grid, scoring=closeness, cv=folds, refit=False, error_score="raise")
        search.fit(data.X, data.y, groups=fit_groups(data))
    return dict(search.best_params_)


@dataclass
class Evaluation:
    """Predictions of several models on rows that they did not see.

    Parameters
    ----------
    data : TrainingData
    split : str
    predictions : dict of str to ndarray, shape (n_repeats, n_rows)
        Each repeat with folds and models of a seed of its own; scores are means over them.
    options : dict of str to list of dict
        The hyper-parameters chosen in each outer fold.
    """

    data: TrainingData
    split: str
    predictions: dict[str, Floats]
    options: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def scores(self, *, draws: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
        """Return one row a model: the scores, intervals of three of them, the harmonic mean over applications."""
        data, found = self.data, []
        label = data.problem.classifies
        groups = groups_of(data, "application")
        for name in self.predictions:
            row: dict[str, Any] = {"model": name, **self.score(name)}
            names = ("accuracy",) if label else ("median_ape", "mape", "mae")
            for one in names:

                def statistic(rows: NDArray[np.int64], one: str = one, name: str = name) -> float:
                    return self.score(name, rows)[one]

                row[f"{one}_low"], row[f"{one}_high"] = bootstrap(statistic, groups, n=draws, seed=seed)
            if not label:
                row["harmonic_mean"] = harmonic_mean([part["mape"] for part in self.by("application", name)])
            found.append(row)
        return found

    def score(self, model: str, rows: Any = slice(None)) -> dict[str, float]:
        """Return the scores of a model over some rows, as means over the repeats."""
        truth, label = self.data.y[rows], self.data.problem.classifies
        each = [score(truth, predicted[rows], classifies=label) for predicted in self.predictions[model]]
        return {name: sum(one[name] for one in each) / len(each) for name in each[0]}

    def by(self, column: str, model: str) -> list[dict[str, Any]]:
        """Return the scores of a model by "application", spelt alike everywhere, or by another column of the keys."""
        names = application_names(self.data) if column == "application" else list(self.data.keys[column])
        places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            places.setdefault(str(name), []).append(place)
        return [
            {column: name, "model": model, **self.score(model, rows)} for name, rows in sorted(places.items())
        ]

    def losses(self, model: str, column: str = "application") -> list[dict[str, Any]]:
        """Return the groups where a model has a larger mean absolute error than old = new."""
        if "old" not in self.predictions:
            return []
        one = "accuracy" if self.data.problem.classifies else "mae"
        sign = -1.0 if one == "accuracy" else 1.0
        found = []
        for mine, base in zip(self.by(column, model), self.by(column, "old"), strict=True):
            if sign * mine[one] > sign * base[one]:
                found.append(
                    {column: mine[column], "n": int(mine["n"]), "model": mine[one], "old": base[one]}
                )
        return found

    def words(self, model: str) -> str:
        """Say in one paragraph how a model compares with old = new, and where it loses to it."""
        problem = self.data.problem
        how = {
            "random": "at random",
            "kernel": "kernels left out",
            "application": "applications left out",
            "suite": "suites left out",
        }
        start = f"{model}, {problem.target} {problem.source} -> {problem.dest}, {how[self.split]}: "
        mine = self.score(model)
        if problem.classifies:
            text = start + f"accuracy {100 * mine['accuracy']:.1f} %"
        else:
            text = start + f"median error {100 * mine['median_ape']:.1f} %"
        if "old" not in self.predictions:
            return text + "; there is no old value to compare with."
        base = self.score("old")
        if problem.classifies:
            text += f" beside {100 * base['accuracy']:.1f} % of old = new. "
        else:
            text += f" beside {100 * base['median_ape']:.1f} % of old = new. "
        losses = self.losses(model)
        total = len(set(application_names(self.data)))
        if not losses:
            return text + f"It loses to old = new on none of {total} applications."
        named = ", ".join(f"{item['application']} ({item['n']})" for item in losses[:12])
        more = f" and {len(losses) - 12} more" if len(losses) > 12 else ""
        return text + f"It loses to old = new on {len(losses)} of {total} applications (rows): {named}{more}."


def evaluate(
    data: TrainingData,
    models: Sequence[str] = ("forest", "auto"),
    *,
    split_by: str = "application",
    folds: int = 10,
    nested: bool = False,
    seed: int = 0,
    repeats: int = 1,
    n_jobs: int = 1,
    options: dict[str, dict[str, Any]] | None = None,
    on_step: OnStep = silent,
) -> Evaluation:
    """Predict every row by models fitted without its fold, the baselines beside.

    Not by scikit-learn's `cross_val_predict`, which gives no hyper-parameters chosen inside a fold.

    Parameters
    ----------
    data : TrainingData
    models : sequence of str
        Names for `make_model`; the baselines of the problem are added. A name that stands for another one here,
        such as the default on one GPU, is shown by that one.
    split_by : str
        "random", "kernel", "application" or "suite": what is kept together.
    folds : int
        Folds, at most one a group.
    nested : bool
        Choose hyper-parameters on inner folds of each training part, never on the test part.
    seed, n_jobs : int
    repeats : int
        How often all is done, each time with the next seed: other folds, and models that are drawn anew.
    options : dict, optional
        Hyper-parameters by model.
    on_step : callable
        Told how many of the fits are done: one a model and fold.

    Raises
    ------
    InputError
        If the split cannot be made or a model is unknown.
    """
    import numpy as np

    if folds < 2:
        raise InputError(f"at least 2 folds are needed, got {folds}")
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    models = list(dict.fromkeys(resolve(name, data.problem) for name in models))
    names = [*(name for name in baselines_of(data.problem) if name not in models), *models]
    predictions = {name: np.full((repeats, len(data)), np.nan) for name in names}
    chosen: dict[str, list[dict[str, Any]]] = {name: [] for name in names if name in GRIDS and nested}
    parts = [
        (repeat, *part) for repeat in range(repeats) for part in split(data, split_by, folds, seed + repeat)
    ]
    total = len(parts) * len(names)
    for fold, (repeat, train_rows, test_rows) in enumerate(parts):
        part = data.rows(train_rows)
        for name in list(predictions):
            done = fold * len(names) + names.index(name)
            told = dict((options or {}).get(name, {}))
            if nested and name in GRIDS:
                told |= choose_options(part, name, split_by, seed + repeat, n_jobs)
                chosen[name].append(told)
            try:
                model = make_model(name, data.problem, seed=seed + repeat, n_jobs=n_jobs, **told)
                fit_model(model, part, part_of(on_step, done, 1, total))
                predictions[name][repeat, test_rows] = model.predict(data.X.iloc[test_rows])
            except InputError:
                if name in models:
                    raise
                del predictions[name]
            on_step(done + 1, total)
    return Evaluation(data, split_by, predictions, chosen)
