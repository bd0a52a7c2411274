"""No metric leads to a target of the same run once those that reveal it are gone."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_xarch import (
    InputError,
    load_runs,
    make_problem,
    own_pairs,
    pair_values,
    registry,
    reveals,
    training_data,
)
from gpu_xarch.metrics.relations import Relation, _proofs, relations

NAMES = {name for relation in relations() for name in relation.members} - {"1"}


def test_members_are_metrics_or_events_and_every_relation_has_a_source():
    assert len(relations()) > 50
    for relation in relations():
        assert relation.how in ("product", "sum", "near")
        assert relation.source
        assert len(set(relation.members)) == len(relation.members) >= 2
        assert (relation.how == "near") == (len(relation.members) == 2)
    assert {name for name in NAMES if not name.startswith("event.")} <= set(registry())


@pytest.mark.parametrize("target", sorted(NAMES))
def test_no_chain_of_relations_leads_to_the_target(target):
    left = (NAMES | set(registry())) - reveals(target)
    assert target not in _proofs(left)


@pytest.mark.parametrize("target", ["ipc", "dram_read_throughput", "duration", "sm_efficiency"])
def test_no_more_is_left_out_than_needed(target):
    # each metric that reveals is needed: with it back the target is found again, or nearly the same one is
    everything = NAMES | set(registry())
    for name in reveals(target) - {target}:
        back = set(_proofs((everything - reveals(target)) | {name})) | {name}
        assert back & ({target} | {n for n in reveals(target) if n != name}), name


def test_a_part_is_not_found_as_a_difference():
    assert "dram_throughput" in reveals("dram_read_throughput")
    assert "dram_write_throughput" not in reveals("dram_read_throughput")
    assert {"dram_read_throughput", "dram_write_throughput"} <= reveals("dram_throughput")


def test_ipc_is_not_found_as_instructions_over_cycles():
    assert {"inst_executed", "issued_ipc", "issue_slot_utilization", "inst_issued"} <= reveals("ipc")
    assert not {"l2_read_throughput", "l2_read_transactions", "sm_efficiency", "inst_fp_32"} & reveals("ipc")
    assert "ipc" in reveals("inst_executed")


def test_counters_of_nsight_compute_under_their_own_names():
    raw = ["sm__inst_executed.sum", "smsp__inst_executed.avg", "sm__warps_active.avg", "f(int)"]
    assert reveals("ipc", raw) - reveals("ipc") == {"sm__inst_executed.sum", "smsp__inst_executed.avg"}


def test_a_metric_without_relations_reveals_itself_alone():
    assert reveals("inst_replay_mine") == {"inst_replay_mine"}


def test_models_of_one_gpu_do_not_see_them():
    pairs = own_pairs(120)
    rows = training_data(pairs, make_problem("dram_read_throughput", "P100"))
    assert not set(rows.X) & reveals("dram_read_throughput")
    assert rows.left_out["dram_throughput"] == "gives the target away"
    with pytest.raises(InputError, match="dram_throughput: gives the target away"):
        training_data(pairs, make_problem("dram_read_throughput", "P100"), metrics=["dram_throughput"])
    # on another GPU the old values are what one goes by
    assert "dram_throughput" in training_data(pairs, make_problem("dram_read_throughput", "P100", "V100")).X


def holds(relation: Relation, values) -> np.ndarray:
    """Ratio of both sides of a sum, over the runs that have all members above zero."""
    whole, *parts = (values[name].to_numpy(float) for name in relation.members)
    factors = [2.0 if name.endswith("_fma") else 1.0 for name in relation.members[1:]]
    total = sum(factor * part for factor, part in zip(factors, parts, strict=True))
    return total[whole > 0] / whole[whole > 0]


def test_sums_hold_in_simulated_runs():
    values = pair_values(own_pairs(120))
    for relation in relations():
        if relation.how == "sum" and set(relation.members) <= set(values):
            assert np.allclose(holds(relation, values), 1.0, rtol=1e-3), relation.members


@pytest.mark.shared_data
def test_relations_hold_in_real_runs(shared_data, tmp_path):
    from gpu_xarch import ingest

    ingest(shared_data / "nvprof" / "gtx1080ti", tmp_path / "runs.parquet")
    runs = load_runs(tmp_path / "runs.parquet")
    time = runs["l2_read_transactions"] * 32 / runs["l2_read_throughput"]
    other = runs["dram_read_transactions"] * 32 / runs["dram_read_throughput"]
    large = (runs["l2_read_transactions"] > 2000) & (runs["dram_read_transactions"] > 2000)
    assert (other / time)[large].quantile([0.05, 0.95]).tolist() == pytest.approx([1.0, 1.0], abs=5e-3)
    told = (runs["inst_executed"] / (time * runs["sm_efficiency"]) / runs["ipc"])[
        runs["l2_read_transactions"] > 2000
    ]
    spread = (told / told.median()).quantile([0.25, 0.75])
    assert spread.tolist() == pytest.approx([1.0, 1.0], abs=0.015)  # ipc, found without any cycle counted
