"""When a model that is dear to train is trained again, and on how much."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.controllers.retraining import FIRST_FRAMES, FIRST_WINDOW, LONGEST_WAIT, Retraining


def trained(rule, errors, growth=2):
    """States as trainings come, each on twice the frames, with these errors of the model before."""
    state, n_frames, states = rule.init(), FIRST_FRAMES, []
    for error in errors:
        state = rule.observe(state, n_frames, error)
        states.append(state)
        n_frames *= growth
    return states


def test_the_window_grows_where_more_data_is_what_is_missing_and_shrinks_as_the_model_settles():
    states = trained(Retraining(), [np.nan, 1.0, 0.5, 0.49, 0.48, 0.48, 0.48, 0.48])
    windows = [state.window for state in states]
    assert windows[:3] == [FIRST_WINDOW] * 3  # it learns: nothing changes
    assert max(windows) > FIRST_WINDOW
    waits = [state.wait for state in states]
    assert waits == sorted(waits)
    settled = trained(Retraining(), [np.nan, *[0.5] * 12], growth=1)
    assert settled[-1].window == FIRST_WINDOW
    assert settled[-1].wait == LONGEST_WAIT


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.integers(1, 100))
def test_retraining_grows_no_more_frequent(errors, min_frames):
    rule = Retraining(min_frames)
    state, n_frames = rule.init(), max(min_frames, FIRST_FRAMES)
    assert rule.due(state, n_frames)
    waits = []
    for error in errors:
        state = rule.observe(state, n_frames, error)
        assert not rule.due(state, n_frames)
        assert min(min_frames, n_frames) <= rule.window(state, n_frames) <= n_frames
        waits.append(state.wait)
        n_frames = int(np.ceil(state.wait * n_frames)) + 1
        assert rule.due(state, n_frames)
    assert waits == sorted(waits)
