"""Every controller through the shared check."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_proxima.controllers.baseline import BaselineController
from ase_proxima.controllers.fixed import FixedController
from ase_proxima.controllers.linear import LinearController
from ase_proxima.controllers.risk import RiskController
from ase_proxima.controllers.risk_total import TotalRiskController
from ase_proxima.executor import options
from ase_proxima.testing import check_controller
from ase_proxima.types import Observation, Verdict

CONTROLLERS = [
    BaselineController(),
    FixedController(0.0),
    FixedController(0.3),
    FixedController(math.inf),
    LinearController(0.1),
    LinearController(0.1, threshold_init=0.5, threshold_max=0.8),
    RiskController(0.1),
    RiskController(0.1, prior_ratio=1.0),
    RiskController(0.1, prior_ratio=1.0, audit_rate=0.0),
    TotalRiskController(0.1),
    TotalRiskController(0.1, prior_ratio=1.0),
    TotalRiskController(0.1, prior_ratio=1.0, audit_rate=1.0),
]


def test_every_name_is_under_the_contract():
    named = [name.replace("THRESHOLD", "0.3") for name in options.CONTROLLERS]
    made = {type(options.make_controller(name, 0.1, "trusted", 0.02, None)) for name in named}
    assert made <= {type(controller) for controller in CONTROLLERS}


every_controller = pytest.mark.parametrize("controller", CONTROLLERS, ids=repr)


@every_controller
@pytest.mark.parametrize("seed", range(2))
def test_contract(controller, seed):
    check_controller(controller, seed, n_calls=150)


@every_controller
@settings(max_examples=25)
@given(
    calls=st.lists(
        st.tuples(
            st.floats(0, 1e6) | st.sampled_from([math.nan, math.inf]),
            st.none() | st.floats(0, 1e6) | st.sampled_from([math.nan, math.inf]),
            st.integers(1, 5),
        ),
        max_size=60,
    )
)
def test_no_sequence_makes_it_trust_what_is_not_known(controller, calls):
    state = controller.init()
    version = 0
    for u, e, step in calls:
        version += step // 5
        verdict = controller.decide(state, u)
        trusted, p = verdict.trusts, verdict.audit_probability
        assert not (trusted and not math.isfinite(u))
        assert trusted or p == 1.0
        seen = e if not trusted or p > 0 else None
        state = controller.observe(state, Observation(u, trusted, seen, p, version))
        assert not math.isnan(verdict.threshold)
    assert not controller.decide(state, math.nan).trusts
    assert not controller.decide(state, math.inf).trusts


class Trusting(BaselineController):
    def decide(self, state, uncertainty):
        return Verdict(not uncertainty > 1.0, 1.0, 1.0)


class Forgetful(FixedController):
    def observe(self, state, observation):
        object.__setattr__(state, "n_errors", state.n_errors + 1)
        return state


class Certain(FixedController):
    def decide(self, state, uncertainty):
        return replace(super().decide(state, uncertainty), audit_probability=1.5)


class Careless(FixedController):
    def decide(self, state, uncertainty):
        return replace(super().decide(state, uncertainty), audit_probability=0.0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Trusting(), "NaN was trusted"),
        (Forgetful(0.3), "observe changed the state"),
        (Certain(0.3), "audit probability is 1.5"),
        (Careless(0.3), "is flagged, with a probability of 0"),
        (object(), "Controller protocol"),
    ],
)
def test_the_check_finds_what_is_broken(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_controller(broken)
