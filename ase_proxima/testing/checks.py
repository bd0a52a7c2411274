"""Contract checks for your own surrogates, uncertainties, controllers and policies.

Each check runs one implementation through everything that its protocol promises, and raises `AssertionError`
with what was broken.  The project's own parts go through the same checks.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.protocols import Controller, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.testing.fakes import as_array
from ase_proxima.types import Frame, Observation, Prediction, Results
from ase_proxima.types.serialisation import state_from_json, state_to_json

__all__ = [
    "check_controller",
    "check_surrogate",
    "check_trained_surrogate",
    "check_training_policy",
    "check_uncertainty",
]


def check_controller(controller: Controller, seed: int = 0, n_calls: int = 300) -> None:
    """Run a controller through random calls, those with NaN and infinite numbers included.

    Checked: NaN and infinity are never trusted, everything below the threshold is; audit probabilities are
    probabilities; `observe` depends on its arguments alone and changes none; the state is made of JSON values and
    goes on from them exactly; the threshold never becomes NaN; the report is complete.
    """
    _require(isinstance(controller, Controller), "a method of the Controller protocol is missing")
    rng = np.random.default_rng(seed)
    state = controller.init()
    _require(controller.init() == state, "init must return the same state every time")
    for call in range(n_calls):
        uncertainty = [math.nan, math.inf][call % 2] if rng.random() < 0.1 else float(rng.lognormal(-2.0))
        for value, name in ((math.nan, "NaN"), (math.inf, "infinity")):
            _require(not controller.decide(state, value).trusts, f"{name} was trusted")
        verdict = controller.decide(state, uncertainty)
        trusted, threshold, probability = verdict.trusts, verdict.threshold, verdict.audit_probability
        _require(not math.isnan(threshold), f"the threshold is NaN before call {call}")
        _require(isinstance(verdict.alpha, float), "alpha must be a float")
        if math.isfinite(uncertainty):
            _require(
                trusted == (uncertainty < threshold),
                f"u = {uncertainty}, T = {threshold}: trusted is {trusted}",
            )
        _require(
            trusted or probability == 1.0,
            f"u = {uncertainty} is flagged, with a probability of {probability}",
        )
        _require(0.0 <= probability <= 1.0, f"the audit probability is {probability}")
        error: float | None = None
        if rng.random() < probability:
            error = float(rng.exponential(uncertainty if math.isfinite(uncertainty) else 1.0))
            error = [error, math.nan, math.inf][rng.choice(3, p=[0.96, 0.02, 0.02])]
        observation = Observation(uncertainty, trusted, error, probability, 1 + call // 50)
        saved = json.dumps(state_to_json(state))
        following = controller.observe(state, observation)
        _require(json.dumps(state_to_json(state)) == saved, "observe changed the state that it was given")
        read = state_from_json(controller.init(), json.loads(saved))
        _require(json.dumps(state_to_json(read)) == saved, "the state does not survive JSON")
        resumed = controller.observe(read, observation)
        _require(_same_state(resumed, following), "a state that was read from JSON goes on differently")
        state = following
    report = controller.report(state)
    missing = {"error_estimate", "error_estimate_se", "error_upper", "notes"} - set(report)
    _require(not missing, f"the report lacks {', '.join(sorted(missing))}")
    _require(isinstance(report["notes"], tuple), "notes must be a tuple of lines")


def _same_state(a: Any, b: Any) -> bool:
    return type(a) is type(b) and json.dumps(state_to_json(a)) == json.dumps(state_to_json(b))


def check_surrogate(
    make: Callable[[], Surrogate], frames: Sequence[Frame], other: Sequence[Frame], x: Sequence[Any]
) -> None:
    """Fit, extend, save and load a surrogate.

    Checked: predictions are finite, complete, of the target's shapes, the same when asked for again, and nobody
    else's memory; nothing that is passed in is changed; a list that grows, an unrelated list and a saved model
    lead where the protocol says, bit for bit.

    Parameters
    ----------
    make : callable
        Returns a new surrogate.
    frames, other : sequence of Frame
        Two unrelated lists, each at least twice as long as `min_frames` and longer than 3.
    x : sequence
        Inputs to predict at.
    """
    surrogate = make()
    _require(isinstance(surrogate, Surrogate), "a member of the Surrogate protocol is missing")
    half = max(surrogate.min_frames, len(frames) // 2)
    copies = [
        (as_array(frame.x).copy(), {k: np.copy(v) for k, v in frame.results.items()}) for frame in frames
    ]
    asked = [as_array(point).copy() for point in x]
    surrogate.fit(frames[:half])
    first = _check_predictions(surrogate, x, frames[0].results)
    with tempfile.TemporaryDirectory() as folder:
        surrogate.save(Path(folder))
        loaded = make()
        loaded.load(Path(folder), frames[:half])
        _require(_predict_all(surrogate, x) == first, "save changes predictions")
        _require(_predict_all(loaded, x) == first, "a loaded model predicts otherwise")
        for model in (surrogate, loaded):
            model.fit(frames)
        grown = _predict_all(surrogate, x)
        _require(grown != first, "more frames change nothing")
        _require(_predict_all(loaded, x) == grown, "a loaded model learns otherwise")
    surrogate.fit(other)
    afresh = make()
    afresh.fit(other)
    _require(_predict_all(surrogate, x) == _predict_all(afresh, x), "an unrelated list does not start afresh")
    for frame, (positions, results) in zip(frames, copies, strict=True):
        _require(np.array_equal(as_array(frame.x), positions), "an input of a frame was changed")
        _require(all(np.array_equal(frame.results[k], v) for k, v in results.items()), "a result was changed")
    for point, before in zip(x, asked, strict=True):
        _require(np.array_equal(as_array(point), before), "an input was changed")


def check_trained_surrogate(make: Callable[[], Surrogate], x: Sequence[Any], expected: Results) -> None:
    """Ask, save and load a surrogate that came trained, for `training="never"`.

    Checked: what `check_surrogate` checks of predictions and of what is passed in; a surrogate that is made again and
    loaded predicts the same, bit for bit.

    Parameters
    ----------
    make : callable
        Returns the surrogate, made anew.
    x : sequence
        Inputs to predict at.
    expected : mapping
        The target's results at one of them, for names and shapes.
    """
    surrogate = make()
    _require(isinstance(surrogate, Surrogate), "a member of the Surrogate protocol is missing")
    _require(surrogate.min_frames == 0, f"it needs {surrogate.min_frames} frames, though it came trained")
    asked = [as_array(point).copy() for point in x]
    first = _check_predictions(surrogate, x, expected)
    with tempfile.TemporaryDirectory() as folder:
        surrogate.save(Path(folder))
        loaded = make()
        loaded.load(Path(folder), [])
    _require(_predict_all(loaded, x) == first, "a loaded model predicts otherwise")
    for point, before in zip(x, asked, strict=True):
        _require(np.array_equal(as_array(point), before), "an input was changed")


def _check_predictions(surrogate: Surrogate, x: Sequence[Any], expected: Results) -> list[Any]:
    """Predictions at `x`, checked to be finite, complete, of the target's shapes, repeatable and nobody's memory."""
    for point in x:
        prediction = surrogate.predict(point)
        for name in surrogate.properties:
            if name not in expected:
                continue
            value = prediction.results[name]
            _require(np.shape(value) == np.shape(expected[name]), f"{name} has shape {np.shape(value)}")
            _require(bool(np.isfinite(value).all()), f"{name} is not finite")
        for name, std in prediction.std.items():
            _require(
                np.shape(std) == np.shape(expected[name]), f"the std of {name} has shape {np.shape(std)}"
            )
            _require(bool((np.asarray(std) >= 0).all()), f"the std of {name} is negative")
    first = _predict_all(surrogate, x)
    for point in x:
        for value in surrogate.predict(point).results.values():
            if isinstance(value, np.ndarray) and value.ndim:
                value[...] = 1e9
    _require(
        _predict_all(surrogate, x) == first,
        "asking again, or changing what was returned, changes predictions",
    )
    return first


def _predict_all(surrogate: Surrogate, x: Sequence[Any]) -> list[Any]:
    predictions = [surrogate.predict(point) for point in x]
    return [
        [{name: np.asarray(value).tolist() for name, value in part.items()} for part in (p.results, p.std)]
        for p in predictions
    ]


def check_uncertainty(
    make: Callable[[], Uncertainty],
    frames: Sequence[Frame],
    x: Sequence[Any],
    predict: Callable[[Any], Prediction],
) -> None:
    """Fit and extend an uncertainty.

    Checked: it is non-negative or NaN, the same when asked for again, changes nothing that is passed in, and
    comes out the same, bit for bit, whether frames are added one by one or all at once.

    Parameters
    ----------
    make : callable
        Returns a new uncertainty.
    frames : sequence of Frame
        At least four.
    x : sequence
        Inputs to measure at.
    predict : callable
        Prediction at an input, of a surrogate that was fitted to the frames.
    """
    uncertainty, other = make(), make()
    _require(isinstance(uncertainty, Uncertainty), "a method of the Uncertainty protocol is missing")
    asked = [as_array(point).copy() for point in x]
    half = len(frames) // 2
    uncertainty.fit(frames[:half])
    values = _measure(uncertainty, x, predict)
    for value in values:
        _require(value is None or value >= 0, f"the uncertainty is {value}")
    _require(_measure(uncertainty, x, predict) == values, "asking again changes it")
    other.fit(frames[:half])
    other.extend(frames[half:])
    for frame in frames[half:]:
        uncertainty.extend([frame])
    one_by_one = _measure(uncertainty, x, predict)
    _require(_measure(other, x, predict) == one_by_one, "frames added one by one count otherwise")
    uncertainty.fit(frames[:half])
    _require(_measure(uncertainty, x, predict) == values, "fit does not start afresh")
    for point, before in zip(x, asked, strict=True):
        _require(np.array_equal(as_array(point), before), "an input was changed")


def _measure(
    uncertainty: Uncertainty, x: Sequence[Any], predict: Callable[[Any], Prediction]
) -> list[float | None]:
    """Uncertainties, with None for NaN, which would not equal itself."""
    values = [uncertainty.measure(point, predict(point)) for point in x]
    for value in values:
        _require(isinstance(value, float), f"the uncertainty is a {type(value).__name__}")
    return [None if math.isnan(value) else value for value in values]


def check_training_policy(policy: TrainingPolicy) -> None:
    """Check that training is never due without new frames, and never ceases to be due as frames come."""
    _require(isinstance(policy, TrainingPolicy), "a member of the TrainingPolicy protocol is missing")
    _require(isinstance(policy.before_answer, bool), "before_answer must be a bool")
    for n_trained in range(40):
        _require(
            not policy.due(n_frames=n_trained, n_trained=n_trained, trusted=True), "due without a new frame"
        )
        for trusted in (False, True):
            due = [
                policy.due(n_frames=n, n_trained=n_trained, trusted=trusted) for n in range(n_trained, 100)
            ]
            _require(all(isinstance(value, bool) for value in due), "due must return a bool")
            _require(due == sorted(due), "due ceases to be as frames come")
            if policy.before_answer and trusted:
                _require(
                    all(due[1:]), "frames count as known already, but are not trained on before the answer"
                )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
