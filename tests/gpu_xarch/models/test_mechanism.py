"""The mechanism: what a kernel keeps, and what changes with the GPU."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gpu_xarch import find_gpu
from gpu_xarch.models import make_model, make_problem
from gpu_xarch.models.kernel import LIMITS, PARAMETERS, carry_over, describe
from gpu_xarch.models.sheets import sheet_columns, sheets_of

SOURCE, DEST = "GTX 950", "GTX 1080 Ti"


def kernel(
    time_s: float = 1e-2, throughput: float = 1e6, ipc: float = 2.0, warps: float = 1e6
) -> pd.DataFrame:
    gpu = find_gpu(SOURCE)
    instructions = ipc * gpu.sms * gpu.boost_hz * time_s
    return pd.DataFrame(
        {
            "inst_executed": [instructions],
            "inst_per_warp": [instructions / warps],
            "ipc": [ipc],
            "achieved_occupancy": [0.9],
            "duration": [time_s],
            "dram_throughput": [throughput],
            "stall_memory_dependency": [0.0],
        }
    )


def outcome(runs: pd.DataFrame, source: str = SOURCE, dest: str = DEST):
    sheets = sheets_of(source, dest, runs)
    return carry_over(describe(runs, sheets[0]), *sheets)


def test_a_kernel_on_its_own_gpu_stays_as_it_is() -> None:
    found = outcome(kernel(), SOURCE, SOURCE)
    assert found.ipc == pytest.approx([2.0], rel=0.01)
    assert found.time_s == pytest.approx([1e-2], rel=0.01)
    assert found.traffic == pytest.approx([1.0])


def test_the_time_of_a_compute_bound_kernel_goes_with_multiprocessors_and_clock() -> None:
    source, dest = find_gpu(SOURCE), find_gpu(DEST)
    speed = dest.sms * dest.boost_hz / (source.sms * source.boost_hz)
    found = outcome(kernel())
    assert found.time_s == pytest.approx([1e-2 / speed], rel=0.03)
    model = make_model("mechanism", make_problem("duration", SOURCE, DEST))
    predicted = model.fit(kernel(), np.array([1e-2 / speed])).predict(kernel())
    assert predicted == pytest.approx([1e-2 / speed], rel=0.03)


def test_a_stream_is_bound_by_the_memory_of_both() -> None:
    found = outcome(kernel(throughput=0.88 * find_gpu(SOURCE).bandwidth, ipc=0.5))
    moved = 0.88 * find_gpu(SOURCE).bandwidth * 1e-2
    assert LIMITS[found.limit[0]] == "DRAM"
    assert moved / found.time_s[0] == pytest.approx(0.75 * find_gpu(DEST).bandwidth, rel=0.1)


def test_data_that_fit_the_larger_cache_cause_less_traffic() -> None:
    small, large = kernel(1e-4, 1e10), kernel(1e-1, 1e10)  # 1 MB and 1 GB
    assert outcome(small).traffic[0] < 0.6
    assert outcome(large).traffic[0] > 0.99
    assert outcome(small, DEST, SOURCE).traffic[0] > 1.5


def test_a_grid_of_few_blocks_leaves_fewer_warps_on_each_multiprocessor() -> None:
    many, few = outcome(kernel(warps=1e5)), outcome(kernel(warps=384))
    assert few.resident[0] < 0.5 * many.resident[0]
    assert few.ipc[0] < 0.7 * many.ipc[0]


def test_rows_that_bring_their_own_data_sheets_are_predicted_as_their_pair_is() -> None:
    runs = pd.concat([kernel(), kernel(throughput=9e10)], ignore_index=True)
    one = make_model("mechanism", make_problem("ipc", SOURCE, DEST)).fit(runs, np.array([2.0, 1.5]))
    many = make_model("mechanism", make_problem("ipc", "any", "any"))
    sheets = [sheet_columns("source", [SOURCE] * 2), sheet_columns("dest", [DEST] * 2)]
    rows = pd.concat([runs, *sheets], axis=1)
    many.fit(rows, np.array([2.0, 1.5]))
    np.testing.assert_allclose(many.predict(rows), one.predict(runs))


def test_constants_stay_near_their_start_where_pairs_are_few() -> None:
    wild = make_model("mechanism", make_problem("ipc", SOURCE, DEST), stiffness=1e9)
    wild.fit(kernel(), np.array([7.9]))
    np.testing.assert_allclose(wild.parameters_, [one.start for one in PARAMETERS], atol=1e-6)


def test_one_warp_waits_as_long_as_the_architecture_makes_it() -> None:
    waits = [find_gpu(name).wait_cycles for name in ("K40", "GTX 950", "P100", "V100", "RTX 4090")]
    assert waits == [9, 6, 6, 4, 4]
    alone = kernel(ipc=0.07, warps=1).assign(achieved_occupancy=1 / 64)
    assert outcome(alone, "K40", "P100").ipc == pytest.approx([0.07 * 9 / 6], rel=0.1)
    assert outcome(alone, "P100", "K40").ipc == pytest.approx([0.07 * 6 / 9], rel=0.1)


def test_few_warps_add_up_and_many_hinder_each_other() -> None:
    ratios = []
    for on_each in (4, 40):  # warps of a multiprocessor of the K40, whose 15 hold the grid at once
        held = kernel(ipc=0.01 * on_each, warps=15 * on_each)
        held = held.assign(achieved_occupancy=on_each / 64, block_x=32)
        ratios.append(float(outcome(held, "K40", "P100").ipc[0]) / (0.01 * on_each) / (15 / 56 * 9 / 6))
    assert ratios[0] == pytest.approx(1.0, rel=0.15)
    assert ratios[1] == pytest.approx((15 / 56) ** -0.2, rel=0.1)


def test_waits_of_kernels_that_load_much_are_seconds_where_stalls_were_not_profiled() -> None:
    plain = kernel(ipc=0.1).drop(columns="stall_memory_dependency").assign(achieved_occupancy=0.1)
    loads = plain.assign(l2_read_transactions=0.3 * 128 / 32 * plain["inst_executed"])
    clock = find_gpu("K40").boost_hz / find_gpu("K20").boost_hz
    assert outcome(plain, "K20", "K40").ipc == pytest.approx([0.1], rel=0.01)
    share = 0.3 * 0.25e-6 * find_gpu("K20").boost_hz * 0.1 / 6.4
    assert outcome(loads, "K20", "K40").ipc == pytest.approx([0.1 / (1 - share + share * clock)], rel=0.02)


def test_units_that_are_busy_stay_as_busy_on_fewer_schedulers() -> None:
    assert [find_gpu(name).schedulers for name in ("K40", "P100", "V100")] == [4, 2, 4]
    for ipc in (2.7, 2.9):  # of four
        assert outcome(kernel(ipc=ipc), "K40", "P100").ipc == pytest.approx([ipc / 2], rel=0.12)
        assert outcome(kernel(ipc=ipc / 2), "P100", "K40").ipc[0] > 0.6 * ipc  # longer waits hide some of it


def test_rows_of_one_group_weigh_no_more_than_one_against_the_start() -> None:
    runs = pd.concat([kernel()] * 40, ignore_index=True)
    fits = [
        make_model("mechanism", make_problem("ipc", SOURCE, DEST)).fit(runs, np.full(40, 1.0), groups=groups)
        for groups in (["one"] * 40, [str(i) for i in range(40)])
    ]
    start = np.array([one.start for one in PARAMETERS])
    one, many = (np.abs(fit.parameters_ - start).sum() for fit in fits)
    assert 0 < one < 0.7 * many


def double(share: float, conversions: float | None, ipc: float) -> pd.DataFrame:
    runs = kernel(ipc=ipc)
    threads = share * 32 * runs["inst_executed"]
    told = {} if conversions is None else {"inst_bit_convert": conversions * threads}
    return runs.assign(inst_fp_64=threads, inst_fp_32=threads, **told)


def test_double_precision_binds_where_a_multiprocessor_has_few_units_for_it() -> None:
    # 4 lanes serve a warp in 8 cycles, 32 in one: a tenth of the instructions in double allows 1.25 or 10 a cycle
    runs = double(0.1, 0.0, 1.5)
    narrow, wide = outcome(runs, "P100", "GTX 1080 Ti"), outcome(runs, "P100", "P100")
    assert narrow.ipc[0] == pytest.approx(1.25, rel=0.2)
    assert narrow.ipc[0] < 1.25
    assert wide.ipc[0] == pytest.approx(1.5, rel=0.02)
    assert LIMITS[narrow.limit[0]] == "compute"


def test_conversions_keep_the_units_of_double_precision_as_busy() -> None:
    told, pure = (outcome(double(0.1, each, 1.5), "P100", "GTX 1080 Ti").ipc[0] for each in (1.0, 0.0))
    assert told == pytest.approx(0.625, rel=0.2)
    # not profiled: code of both precisions is taken to convert 1.2 times an instruction
    assert outcome(double(0.1, None, 1.5), "P100", "GTX 1080 Ti").ipc[0] < told < pure
    assert outcome(double(0.0, 5.0, 1.5), "P100", "GTX 1080 Ti").ipc == pytest.approx(
        outcome(kernel(ipc=1.5), "P100", "GTX 1080 Ti").ipc
    )


def test_a_cell_that_was_not_profiled_counts_as_a_column_that_was_not() -> None:
    runs = double(0.1, 1.0, 1.5).assign(stall_memory_dependency=0.6, l2_read_transactions=1e5)
    for name in ("inst_fp_64", "inst_fp_32", "inst_bit_convert", "stall_memory_dependency"):
        both = pd.concat([runs, runs.assign(**{name: np.nan})], ignore_index=True)
        told, untold = outcome(both, "P100", "GTX 1080 Ti").ipc
        assert told == pytest.approx(outcome(runs, "P100", "GTX 1080 Ti").ipc[0])
        without = outcome(runs.drop(columns=name), "P100", "GTX 1080 Ti").ipc[0]
        assert untold == pytest.approx(without)
    # the conversions of code in double alone are not known to be any
    alone = double(0.1, None, 1.5)
    both = pd.concat([alone.assign(inst_fp_32=0.0), alone], ignore_index=True)
    pure, mixed = outcome(both, "P100", "GTX 1080 Ti").ipc
    assert mixed < 0.6 * pure


def test_a_model_doubts_what_hangs_on_its_constants() -> None:
    model = make_model("mechanism", make_problem("dram_throughput", SOURCE, DEST)).at_start()
    model.offset_ = 1e6
    compute, cached = kernel(throughput=1e9, ipc=3.0), kernel(time_s=2e-5, throughput=5e10, ipc=1.0)
    sure, unsure = model.doubt(compute)[0], model.doubt(cached)[0]
    assert unsure > 2 * sure > 0
    np.testing.assert_array_equal(model.doubt(cached), model.doubt(cached))
    assert model.doubt(compute.drop(columns="ipc")) is None
