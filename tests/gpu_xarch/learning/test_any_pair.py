"""One model of all pairs of GPUs, and rows in which metrics were filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpu_xarch import InputError
from gpu_xarch.learning.persistence import load_model, save_model
from gpu_xarch.learning.prediction import predict_table
from gpu_xarch.learning.rows import training_data
from gpu_xarch.learning.training import Trained, train
from gpu_xarch.models import make_problem
from gpu_xarch.simulator.own_data import own_pairs


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return own_pairs(60)


@pytest.fixture(scope="module")
def trained(pairs: pd.DataFrame) -> Trained:
    return train(training_data(pairs, make_problem("ipc", "any", "any")), "mechanism")


@pytest.mark.slow
def test_a_model_of_all_pairs_predicts_the_gpu_that_is_named(
    trained: Trained, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    save_model(trained, tmp_path / "m.skops")
    frame, _ = predict_table(load_model(tmp_path / "m.skops"), pairs, dest="Tesla V100")
    assert set(frame["dest"]) == {"V100"}
    assert np.median(np.abs(frame["predicted"] / pairs["dest.ipc"] - 1)) < 0.2
    with pytest.raises(InputError, match="name the one to predict"):
        predict_table(trained, pairs)


def test_filled_in_rows_are_flagged_and_widened_but_never_the_old_value(
    trained: Trained, pairs: pd.DataFrame
) -> None:
    gap = pairs.copy()
    gap.loc[gap.index[:3], "source.sm_efficiency"] = np.nan
    whole, filled = (predict_table(trained, one, dest="V100", impute=True)[0] for one in (pairs, gap))
    assert filled["out_of_domain"][:3].all()
    widths = (filled["high"] / filled["low"]) / (whole["high"] / whole["low"])
    assert widths[:3].min() > 1.2
    np.testing.assert_allclose(widths[3:], 1.0)
    with pytest.raises(InputError, match="the old value itself"):
        predict_table(trained, pairs.assign(**{"source.ipc": np.nan}), dest="V100", impute=True)


def test_a_gpu_that_no_pair_has_is_named(trained: Trained, pairs: pd.DataFrame) -> None:
    assert predict_table(trained, pairs, dest="V100")[0].attrs["new_gpus"] == []
    assert predict_table(trained, pairs, dest="H100")[0].attrs["new_gpus"] == ["H100"]
    with pytest.raises(InputError, match=r"there is none of FUTURE: `xarch gpus --add FILE`"):
        predict_table(trained, pairs, dest="FUTURE")


def test_a_row_that_is_left_out_moves_no_other_to_another_pair_of_gpus(pairs: pd.DataFrame) -> None:
    back = pairs.rename(
        columns=lambda name: (
            name.replace("source.", "dest.")
            if name.startswith("source.")
            else name.replace("dest.", "source.")
        )
    )
    both = pd.concat([pairs, back], ignore_index=True)
    both.loc[[0, 7, len(pairs)], "dest.ipc"] = np.nan
    data = training_data(both, make_problem("ipc", "any", "any"))
    assert data.dropped == 3
    told = data.keys["gpus"].to_numpy(str)
    assert dict(zip(*np.unique(told, return_counts=True), strict=True)) == {
        "P100 -> V100": len(pairs) - 2,
        "V100 -> P100": len(pairs) - 1,
    }
    np.testing.assert_array_equal(told == "P100 -> V100", data.X["source.sms"] == 56)
