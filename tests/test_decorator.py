"""The surrogate round functions."""

import inspect
from itertools import pairwise

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from ase_proxima import Decision, InputError, TargetError, proxima
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.surrogates.process_regressor import ProcessRegressor
from ase_proxima.surrogates.sklearn import SklearnSurrogate, default_regressor
from ase_proxima.testing import NearestFrame, check_surrogate, check_uncertainty
from ase_proxima.types import Frame
from ase_proxima.uncertainty.distance import InputDistance

# The targets here are stand-ins, cheaper than any surrogate.
pytestmark = pytest.mark.filterwarnings("ignore::ase_proxima.NotWorthwhileWarning")


def polynomial(degree=2):
    return make_pipeline(StandardScaler(), PolynomialFeatures(degree), Ridge(1e-6))


def trusting(**options):
    """Trust a polynomial wherever inputs are known to a tenth of their spread."""
    defaults = {"error_bound": 0.1, "surrogate": polynomial(), "uncertainty": "distance"}
    return proxima(**{**defaults, "controller": FixedController(10.0), **options})


def bowl(x: np.ndarray) -> float:
    """A bowl."""
    return float(x @ x)


def test_it_saves_calls_and_holds_the_bound():
    runs = []

    @proxima(error_bound=0.02, surrogate=polynomial(degree=4), uncertainty="distance")
    def slow(x: np.ndarray) -> float:
        runs.append(x)
        return float(np.sin(x[0]) + x[1] ** 2)

    rng = np.random.default_rng(0)
    errors = []
    for x in rng.uniform(-1, 1, (400, 2)):
        value = slow(x)
        if slow.last_decision is Decision.SURROGATE:
            errors.append(abs(value - np.sin(x[0]) - x[1] ** 2))
    assert len(runs) == slow.stats.n_target_runs
    assert slow.stats.n_surrogate == len(errors) > 200
    assert np.mean(errors) < 0.02


def test_the_default_surrogate_needs_few_calls():
    slow = proxima(error_bound=0.01)(bowl)
    for x in np.random.default_rng(1).uniform(-1, 1, (150, 2)):
        slow(x)
    assert slow.stats.n_target_runs < 50
    assert slow.stats.error_estimate < 0.01


def test_it_looks_like_the_function():
    slow = trusting()(bowl)
    assert slow.__name__ == "bowl"
    assert slow.__doc__ == "A bowl."
    assert inspect.signature(slow) == inspect.signature(bowl)
    assert slow.target is bowl
    assert slow.stats.n_calls == 0
    assert slow.last_decision is None


def test_scalars_and_keywords_make_one_input():
    asked = []

    @trusting()
    def slow(a, b=2.0, *rest, scale=1, **more):
        asked.append((a, b, rest, scale, more))
        return a + 10 * b + 100 * sum(rest) + 1000 * scale + sum(more.values())

    assert slow(1, 2.0, scale=1) == 1021.0
    assert slow(1) == 1021.0
    assert slow(a=1, b=2) == 1021.0
    assert slow.stats.n_calls == 1  # three ways to write one call
    assert asked == [(1, 2.0, (), 1, {})]
    assert slow.frames[0].x.tolist() == [1.0, 2.0, 1.0]
    assert slow(1, 3.0) == 1031.0
    assert slow.stats.n_calls == 2


def test_keywords_count_by_name():
    @trusting()
    def slow(**numbers):
        return numbers["a"] - numbers["b"]

    assert slow(a=3, b=1) == slow(b=1, a=3) == 2.0
    assert slow.stats.n_calls == 1


@pytest.mark.parametrize("uncertainty", ["distance", "posterior"])
def test_arrays_come_back_as_arrays(uncertainty):
    surrogate, threshold = (LinearRegression(), 10.0) if uncertainty == "distance" else (None, 0.05)

    @proxima(
        error_bound=0.5, surrogate=surrogate, uncertainty=uncertainty, controller=FixedController(threshold)
    )
    def slow(x):
        return np.array([[x[0], 2 * x[1]], [x[0] + x[1], 1.0]])

    for x in np.random.default_rng(2).uniform(-1, 1, (30, 2)):
        value = slow(x)
        assert value.shape == (2, 2)
        assert value == pytest.approx(slow.target(x), abs=0.1)
        value[...] = 1e9
        assert slow(x) == pytest.approx(slow.target(x), abs=0.1)
    assert slow.stats.n_surrogate > 10


def test_a_function_may_reuse_its_array():
    buffer = np.zeros(2)

    @trusting(controller="baseline")
    def slow(x):
        buffer[...] = x
        return buffer

    for x in ([1.0, 2.0], [3.0, 4.0]):
        slow(np.array(x))
    assert [frame.results["value"].tolist() for frame in slow.frames] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_caller_may_reuse_the_input():
    slow = trusting()(bowl)
    x = np.zeros(2)
    for k in range(4):
        x[...] = k
        slow(x)
    assert [frame.x.tolist() for frame in slow.frames] == [[k, k] for k in range(4)]


def test_a_run_replays_from_its_seed():
    def play(seed):
        slow = trusting(controller="risk", audit_rate=0.3, seed=seed)(bowl)
        inputs = np.random.default_rng(3).uniform(-1, 1, (150, 2))
        return [(slow(x), slow.last_decision) for x in inputs]

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_two_functions_learn_apart():
    decorate = trusting()
    first, second = decorate(bowl), decorate(lambda x: -bowl(x))
    for x in np.random.default_rng(4).uniform(-1, 1, (20, 2)):
        assert first(x) == pytest.approx(-second(x), abs=1e-3)


def test_methods_are_refused_clearly():
    class Model:
        @trusting()
        def energy(self, x):
            return x

        @staticmethod
        @trusting()
        def cost(x):
            return 2.0 * x

        def __init__(self):
            self.force = trusting()(self.plain)

        def plain(self, x):
            return 3.0 * x

    with pytest.raises(InputError, match=r"cannot wrap the method Model\.energy"):
        Model().energy(1.0)
    assert Model().cost(1.0) == 2.0
    assert Model().force(1.0) == 3.0


def test_a_failing_function_is_a_target_error_with_the_input_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    @trusting()
    def slow(x):
        raise RuntimeError("no convergence")

    with pytest.raises(TargetError, match="no convergence") as raised:
        slow(2.5)
    assert np.load(str(raised.value).rsplit(" ", 1)[1]).tolist() == [2.5]
    assert slow.stats.n_calls == slow.stats.n_frames == 0


@pytest.mark.parametrize("value", ["text", None, {"a": 1}, 1j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="must return a number"):
        trusting()(lambda x: value)(1.0)


@pytest.mark.parametrize("value", ["fast", None, np.nan, np.inf, 1j, [1.0, "a"], [[1.0], [1.0, 2.0]]])
def test_arguments_must_be_finite_numbers(value):
    with pytest.raises(InputError, match=r"argument 'x' of .* must be (finite )?numbers"):
        trusting()(bowl)(value)


def test_shapes_stay_as_they_are():
    slow = trusting()(lambda x: np.asarray(x) * 1.0)
    slow([1.0, 2.0])
    with pytest.raises(InputError, match="first called with arguments of shapes"):
        slow([1.0, 2.0, 3.0])
    growing = iter(range(1, 9))
    slow = trusting()(lambda x: np.ones(next(growing)))
    slow(1.0)
    with pytest.raises(InputError, match=r"returned shape \(1,\) before, now \(2,\)"):
        slow(2.0)
    with pytest.raises(InputError, match="without a number"):
        trusting()(lambda: 1.0)()


def test_a_wrong_call_is_python_s_own_error():
    with pytest.raises(TypeError, match=r"^bowl\(\): missing a required argument"):
        trusting()(bowl)()


def test_a_function_that_is_not_implemented_somewhere_says_so_with_its_name():
    @proxima(error_bound=0.1)
    def root(x):
        if x < 0:
            raise NotImplementedError("no complex numbers")
        return x**0.5

    assert root(4.0) == 2.0
    with pytest.raises(InputError, match="root is not implemented for these arguments: no complex numbers"):
        root(-4.0)
    assert root(9.0) == 3.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error_bound": -1.0}, "error_bound must be a positive number"),
        ({"error_bound": {"value": 0.1}}, "one number"),
        ({"error_metric": "energy"}, "the error metric 'energy' needs energy"),
        ({"surrogate": "forest"}, "scikit-learn regressor"),
        ({"surrogate": Ridge}, "pass an instance"),
        ({"surrogate": 3}, "scikit-learn regressor"),
        ({"uncertainty": "coulomb"}, "unknown uncertainty 'coulomb'"),
        ({"uncertainty": "posterior"}, "gives no standard deviation"),
        ({"controller": "chaos"}, "unknown controller"),
        ({"training": "sometimes"}, "unknown training"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        trusting(**arguments)(bowl)
    assert "\n" not in str(raised.value)


def test_an_error_of_one_s_own():
    def relative(target, surrogate):
        return abs(target["value"] - surrogate["value"]) / abs(target["value"])

    slow = trusting(error_metric=relative, controller=FixedController(0.0))(lambda x: 100.0 + x)
    for x in range(20):
        slow(x)
    assert 0 < slow.stats.error_estimate < 0.1


def test_a_surrogate_of_one_s_own():
    nearest = NearestFrame()
    slow = proxima(error_bound=0.1, surrogate=nearest, uncertainty=nearest, controller=FixedController(0.1))(
        bowl
    )
    slow(np.array([1.0]))
    assert slow(np.array([1.05])) == 1.0
    assert slow.surrogate is nearest


def frames(n, seed, values=1):
    rng = np.random.default_rng(seed)
    made = []
    for step in range(n):
        x = rng.normal(size=3)
        value = float(np.sin(x).sum()) if values == 1 else np.sin(x)[:2]
        made.append(Frame(x, {"value": value}, step))
    return made


REGRESSORS = {
    "default": default_regressor,
    "linear": LinearRegression,
    "polynomial": polynomial,
    "forest": lambda: RandomForestRegressor(10, random_state=0),
    "process": lambda: GaussianProcessRegressor(RBF(2.0), alpha=1e-8),
}


@pytest.mark.parametrize("values", [1, 2])
@pytest.mark.parametrize("make", REGRESSORS.values(), ids=REGRESSORS)
def test_surrogate_contract(make, values):
    points = [frame.x for frame in frames(3, 9)]
    check_surrogate(lambda: SklearnSurrogate(make()), frames(20, 1, values), frames(12, 2, values), points)


def test_the_default_regressor_gives_each_input_a_length_of_its_own():
    X = np.random.default_rng(0).uniform(-1, 1, (60, 3))
    lengths = ProcessRegressor().fit(X, np.sin(3 * X[:, 0])).kernel_.k1.k2.length_scale
    assert lengths[0] < 0.1 * lengths[1:].min()


@pytest.mark.slow
def test_many_values_rest_on_inducing_inputs_and_the_deviation_covers_the_error():
    rng = np.random.default_rng(0)
    X, new = rng.uniform(-2, 2, (300, 2)), rng.uniform(-2, 2, (200, 2))

    def function(x):
        return np.stack([np.sin(x[:, 0]) * x[:, 1], np.cos(x[:, 1])], axis=1)

    model = ProcessRegressor(most=250, n_inducing=80).fit(X, function(X))
    values, std = model.predict(new, return_std=True)
    errors = np.abs(values - function(new))
    assert model.process_ is None
    assert errors.mean() < 0.005
    assert np.mean(errors < 3.0 * std) > 0.95
    _, far_std = model.predict(np.full((1, 2), 20.0), return_std=True)
    assert (far_std > 20 * std.max(axis=0)).all()


def test_one_value_a_row_comes_back_as_one():
    X = np.random.default_rng(0).uniform(-2, 2, (60, 1))
    values, std = ProcessRegressor(most=50, n_inducing=20).fit(X, np.sin(X[:, 0])).predict(X, return_std=True)
    assert values.shape == std.shape == (60,)
    assert np.abs(values - np.sin(X[:, 0])).max() < 0.01


def test_a_regressor_is_fitted_anew_only_when_values_have_grown_by_a_fifth():
    fits = []

    class Counted(LinearRegression):
        def fit(self, X, y):
            fits.append(len(X))
            return super().fit(X, y)

    @proxima(error_bound=1e-12, surrogate=Counted())
    def bent(x: float) -> float:
        return np.sin(40 * x)

    for x in np.random.default_rng(0).uniform(size=60):
        bent(x)
    assert fits[0] == 5
    assert all(later >= 1.2 * earlier for earlier, later in pairwise(fits))
    assert fits[-1] >= 45


@pytest.mark.parametrize("window", [None, 5])
def test_uncertainty_contract(window):
    model = SklearnSurrogate(LinearRegression())
    model.fit(frames(20, 1))
    points = [frame.x for frame in frames(4, 9)]
    check_uncertainty(lambda: InputDistance(window), frames(20, 1), points, model.predict)


def test_the_distance_is_that_to_the_nearest_input_in_standard_deviations():
    known = frames(50, 1)
    distance = InputDistance()
    distance.fit(known[:30])
    distance.extend(known[30:])
    X = np.array([frame.x for frame in known])
    for frame in frames(5, 2):
        gaps = (X - frame.x) / X[:30].std(axis=0)
        assert distance.measure(frame.x, None) == pytest.approx(np.sqrt((gaps**2).mean(axis=1)).min())


def test_a_number_that_never_varied_counts_at_a_hundredth_of_its_size():
    distance = InputDistance()
    distance.fit([Frame(np.array([x, 5.0]), {}) for x in (0.0, 1.0, 2.0)])
    assert distance.measure(np.array([1.0, 5.1]), None) == pytest.approx(0.1 / 0.05 / np.sqrt(2))


@pytest.mark.parametrize(("arguments", "message"), [({"window": 0}, "window"), ({"floor": 0.0}, "floor")])
def test_impossible_distances_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        InputDistance(**arguments)
    with pytest.raises(InputError, match="at least one input"):
        InputDistance().fit([])


def test_a_surrogate_that_came_trained_is_used_as_it_is():
    trained = SklearnSurrogate(GaussianProcessRegressor(random_state=0), min_frames=5)
    trained.fit([Frame(np.array([x]), {"value": x * x}) for x in np.linspace(0.0, 1.0, 12)])

    @proxima(error_bound=0.01, surrogate=trained, training="never", controller="fixed:0.5")
    def slow(x: float) -> float:
        raise AssertionError("the surrogate answers")

    assert slow(0.33) == pytest.approx(0.33**2, abs=1e-3)
    assert (slow.stats.n_surrogate, len(slow.frames)) == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass a fitted SklearnSurrogate"),
        ({"surrogate": LinearRegression()}, "pass a fitted SklearnSurrogate"),
        ({"surrogate": SklearnSurrogate(LinearRegression())}, "pass a fitted InputDistance"),
    ],
)
def test_what_would_stay_untrained_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        proxima(error_bound=0.01, training="never", **options)(abs)
