"""The architecture search: its space, its networks, what it keeps, and the estimator round it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_regressor

from gpu_xarch import InputError
from gpu_xarch.learning.fitting import fit_model
from gpu_xarch.learning.persistence import load_model, save_model
from gpu_xarch.learning.rows import TrainingData, training_data
from gpu_xarch.learning.scores import score
from gpu_xarch.learning.training import train
from gpu_xarch.models import make_model, make_problem
from gpu_xarch.models.architectures import CELLS, Cell, cells_of, search_space
from gpu_xarch.simulator.own_data import own_pairs

IPC = make_problem("ipc", "P100", "V100")


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(own_pairs(120), IPC)


@pytest.fixture
def network() -> Any:
    pytest.importorskip("torch", reason="the networks need the extra nas")
    from gpu_xarch.models import network

    return network


def tried(folder: Path, *layers: str, rewards: tuple[float, ...] = (0.5, 0.5, 0.5)) -> str:
    """A folder in which candidates of one cell were tried."""
    lines = [
        json.dumps({"choices": {"cell0": n}, "reward": r}) for n, r in zip(layers, rewards, strict=False)
    ]
    (folder / "tried.jsonl").write_text("\n".join([*lines, ""]))
    return str(folder)


@given(st.integers(0, 10_000))
@settings(max_examples=50)
def test_every_point_of_the_search_space_is_a_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    choices = {name: values[rng.integers(len(values))] for name, values in search_space().items()}
    cells = cells_of(choices)
    assert len(cells) == sum(choices[f"cell{i}"] != "identity" for i in range(CELLS))
    for place, cell in enumerate(cells):
        assert all(0 <= skip < place for skip in cell.skips)


def test_a_network_adds_the_projections_of_its_skips_before_the_activation(network: Any) -> None:
    rng = np.random.default_rng(0)
    cells = [Cell(4, "tanh"), Cell(3, "relu", (0,)), Cell(5, "sigmoid", (0, 1))]
    X = rng.normal(size=(7, 2)).astype(np.float32)
    weights = network.fit_network(cells, X, rng.normal(size=7), epochs=1, batch=7)
    (w0, b0), (w1, b1), (w2, b2), (w3, b3) = (
        (weights[f"layers.{i}.weight"].T, weights[f"layers.{i}.bias"]) for i in range(4)
    )
    first = np.tanh(X @ w0 + b0)
    second = np.maximum(first @ w1[:4] + X @ w1[4:] + b1, 0.0)
    third = 1.0 / (1.0 + np.exp(-(second @ w2[:3] + X @ w2[3:5] + first @ w2[5:] + b2)))
    expected = (third @ w3 + b3)[:, 0]
    np.testing.assert_allclose(network.run_network(weights, cells, X), expected, rtol=1e-5)


def test_a_seed_gives_one_network_and_leaves_the_global_generator_and_threads_alone(network: Any) -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    state, threads = network.torch.random.get_rng_state(), network.torch.get_num_threads()
    cells = [Cell(8, "relu")]
    same, other = (
        [network.fit_network(cells, X, y, epochs=2, batch=8, seed=seed) for _ in range(2)] for seed in (0, 1)
    )
    assert all(np.array_equal(same[0][name], same[1][name]) for name in same[0])
    assert not np.array_equal(same[0]["layers.0.weight"], other[0]["layers.0.weight"])
    assert network.torch.equal(network.torch.random.get_rng_state(), state)
    assert network.torch.get_num_threads() == threads


@pytest.mark.usefixtures("network")
def test_the_search_goes_on_from_what_it_tried(data: TrainingData, tmp_path: Path) -> None:
    folder = tried(tmp_path, "16-relu", "64-relu", "32-relu", rewards=(0.1, 0.9, 0.5))
    told: list[tuple[float, float]] = []
    model: Any = make_model("nas", IPC, budget=3, best=2, final_epochs=60, folder=folder)
    assert is_regressor(model)
    assert clone(model).get_params() == model.get_params()
    fit_model(model, data, lambda done, total: told.append((done, total)))
    assert told == [(4, 5), (5, 5)]  # the three that were tried count
    assert model.rewards_ == [0.9, 0.5, 0.1]
    assert [kept["cells"][0][0] for kept in model.networks_] == [64, 32]
    assert score(data.y, model.predict(data.X))["r2"] > 0.5


@pytest.mark.usefixtures("network")
def test_a_saved_search_predicts_the_same_bits_from_arrays(data: TrainingData, tmp_path: Path) -> None:
    folder = tried(tmp_path, "16-relu", "32-tanh")
    trained = train(data, "nas", budget=2, final_epochs=5, folder=folder)
    save_model(trained, tmp_path / "m.skops")
    loaded = load_model(tmp_path / "m.skops")
    np.testing.assert_array_equal(loaded.model.predict(data.X), trained.model.predict(data.X))
    weights = loaded.model.networks_[0]["weights"]  # type: ignore[attr-defined]
    assert {type(value) for value in weights.values()} == {np.ndarray}


@pytest.mark.slow
@pytest.mark.usefixtures("network")
def test_networks_of_two_workers_are_those_of_one(data: TrainingData, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "budget": 2,
        "final_epochs": 5,
        "folder": tried(tmp_path, "16-relu", "32-tanh"),
    }
    one, two = (
        fit_model(make_model("nas", IPC, workers=workers, **options), data).predict(data.X)
        for workers in (1, 2)
    )
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert np.std(one) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [({"evaluator": "balsam"}, "evaluator"), ({"search": "ppo"}, "search"), ({"budget": 0}, "budget")],
)
def test_search_options_out_of_range(options: dict[str, Any], words: str, data: TrainingData) -> None:
    with pytest.raises(InputError, match=words):
        make_model("nas", IPC, **options).fit(data.X, data.y)


def test_without_the_extra_the_remedy_is_named(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpu_xarch.models.network", None)
    with pytest.raises(InputError, match=r"pip install 'ase-proxima\[nas\]'"):
        make_model("nas", IPC, budget=1).fit(data.X, data.y)


@pytest.mark.slow
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("options", [{"evaluator": "thread"}, {"evaluator": "process", "search": "bayesian"}])
def test_deephyper_finds_a_network(options: dict[str, Any], data: TrainingData, tmp_path: Path) -> None:
    pytest.importorskip("deephyper", reason="the architecture search needs the extra nas")
    options |= {"epochs": 3, "final_epochs": 30, "best": 2, "workers": 2, "folder": str(tmp_path)}
    told: list[tuple[float, float]] = []
    first: Any = make_model("nas", IPC, budget=4, **options)
    fit_model(first, data, lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]
    assert len(first.rewards_) == 4
    more: Any = fit_model(make_model("nas", IPC, budget=12, **options), data)
    assert set(first.rewards_) <= set(more.rewards_)
    assert len(more.rewards_) == 12
    assert len((tmp_path / "tried.jsonl").read_text().splitlines()) == 12
    assert score(data.y, more.predict(data.X))["r2"] > 0.5
