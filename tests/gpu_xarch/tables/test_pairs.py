"""Runs of two GPUs are joined by what they ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_xarch.errors import InputError
from gpu_xarch.tables.pairs import DEST, load_pairs, pair_runs, pair_values, paired_metrics, write_pairs


def runs(*rows: tuple[str, str, str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["device", "application", "kernel", "input", "ipc"])
    frame["launch"] = pd.array([None] * len(frame), dtype="Int64")
    frame["invocations"] = pd.array([1] * len(frame), dtype="Int64")
    frame["simulated"] = False
    frame["run_id"] = [str(i) for i in range(len(frame))]
    frame["file"] = "f.csv"
    frame["line"] = range(len(frame))
    for name in (
        "device_name",
        "kernel_name",
        "command",
        "launch_id",
        "tool",
        "tool_version",
        "reader_version",
        "file_sha256",
    ):
        frame[name] = ""
    return frame


def pair(frame: pd.DataFrame, **options: Any) -> Any:
    return pair_runs(frame, source="K40", dest="P100", **options)


def test_order_does_not_matter_and_spelling_of_applications_neither() -> None:
    frame = runs(
        ("K40", "nw", "a()", "5", 1.0), ("K40", "shfl_scan", "b()", "5", 2.0),
        ("P100", "shflscan", "b()", "5", 20.0), ("P100", "NW.exe", "a()", "5", 10.0),
    )  # fmt: skip
    pairing = pair(frame)
    assert pairing.pairs["source.ipc"].tolist() == [1.0, 2.0]
    assert pairing.pairs["dest.ipc"].tolist() == [10.0, 20.0]
    assert (pairing.unmatched, pairing.ambiguous) == ([], [])


def test_what_did_not_match_and_why() -> None:
    frame = runs(
        ("K40", "a", "k()", "5", 1.0), ("K40", "b", "k()", "5", 1.0), ("K40", "c", "k()", "5", 1.0),
        ("P100", "b", "other()", "5", 1.0), ("P100", "c", "k()", "6", 1.0),
    )  # fmt: skip
    why = {(item["side"], item["application"]): item["why"] for item in pair(frame).unmatched}
    assert why == {
        ("source", "a"): "no such application on P100",
        ("source", "b"): "no such kernel on P100",
        ("source", "c"): "input is '5' here, '6' on P100",
        ("dest", "b"): "no such kernel on K40",
        ("dest", "c"): "input is '6' here, '5' on K40",
    }


def test_means_over_launches_do_not_meet_single_launches() -> None:
    frame = runs(
        ("K40", "a", "k()", "5", 1.0), ("P100", "a", "k()", "5", 2.0), ("P100", "a", "k()", "5", 4.0)
    )
    frame["launch"] = pd.array([None, 0, 1], dtype="Int64")
    assert [item["why"] for item in pair(frame).unmatched] == [
        "all launches together here, single launches on P100",
        *["single launches here, all launches together on K40"] * 2,
    ]
    assert "--on application,kernel,input and the mean of repeats" in pair(frame).hint()
    joined = pair(frame, on=("application", "kernel", "input"), repeats="mean")
    together = joined.pairs
    assert joined.hint() == ""
    assert (together["source.ipc"].tolist(), together["dest.ipc"].tolist()) == ([1.0], [3.0])


def test_repeated_runs_are_ambiguous_unless_joined() -> None:
    frame = runs(
        ("K40", "a", "k()", "5", 1.0),
        ("K40", "a", "k()", "5", 2.0),
        ("K40", "a", "k()", "5", 6.0),
        ("P100", "a", "k()", "5", 9.0),
    )
    pairing = pair(frame)
    assert len(pairing.pairs) == 0
    assert pairing.ambiguous[0]["source_runs"] == 3
    assert pair(frame, repeats="mean").pairs["source.ipc"].tolist() == [3.0]
    assert pair(frame, repeats="median").pairs["source.ipc"].tolist() == [2.0]
    assert pair(frame, repeats="first").pairs["source.ipc"].tolist() == [1.0]


def test_numbers_may_differ_only_when_asked() -> None:
    frame = runs(
        ("K40", "a", "k()", "-n 1000 x", 1.0),
        ("P100", "a", "k()", "-n 1010 x", 2.0),
        ("P100", "a", "k()", "-n 1500 x", 3.0),
    )
    assert len(pair(frame).pairs) == 0
    loose = pair(frame, tolerance=0.02)
    assert loose.pairs["dest.ipc"].tolist() == [2.0]
    assert len(loose.unmatched) == 1
    assert (
        len(pair(runs(("K40", "a", "k()", "1", 1.0), ("P100", "a", "k()", "y 1", 2.0)), tolerance=0.5).pairs)
        == 0
    )


def test_kernel_base_leaves_out_template_and_parameters() -> None:
    frame = runs(("K40", "a", "f<int>(int)", "", 1.0), ("P100", "a", "f<long>(long)", "", 2.0))
    pairing = pair(frame, on=["application", "kernel_base"])
    assert pairing.pairs[["kernel_base", "dest.ipc"]].to_numpy().tolist() == [["f", 2.0]]


@pytest.mark.parametrize(
    "options",
    [
        {"on": []},
        {"on": ["nothing"]},
        {"tolerance": 1.5},
        {"tolerance": 0.1, "on": ["kernel"]},
        {"repeats": "all"},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    frame = runs(("K40", "a", "k()", "", 1.0), ("P100", "a", "k()", "", 2.0))
    with pytest.raises(InputError, match=r"."):
        pair(frame, **options)


def test_a_gpu_without_runs_is_refused() -> None:
    frame = runs(("K40", "a", "k()", "", 1.0))
    with pytest.raises(InputError, match="no runs of the GPU 'P100' in the table, it has K40"):
        pair(frame)


def test_pairs_go_to_disk_and_back(tmp_path: Path) -> None:
    frame = runs(("K40", "a", "k()", "", 1.0), ("P100", "a", "k()", "", 2.0))
    pairing = pair(frame)
    path = tmp_path / "pairs.parquet"
    write_pairs(pairing, path)
    back = load_pairs(path)
    assert paired_metrics(back) == ["ipc"]
    assert pair_values(back, DEST, ["ipc"])["ipc"].tolist() == [2.0]
    with pytest.raises(InputError, match=r"no source\.other"):
        pair_values(back, metrics=["other"])
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no table of pairs"):
        load_pairs(tmp_path / "other.parquet")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["K40", "P100"]), st.sampled_from("ab"), st.sampled_from(["k()", "l()"]), st.sampled_from(["", "1"]), st.floats(0, 4)),  # noqa: E501
        max_size=12,
    )
)  # fmt: skip
def test_every_run_is_paired_unmatched_or_ambiguous(rows: list[tuple[str, str, str, str, float]]) -> None:
    frame = runs(("K40", "z", "k()", "", 1.0), ("P100", "z", "k()", "", 1.0), *rows)
    pairing = pair(frame)
    for side, device in (("source", "K40"), ("dest", "P100")):
        doubtful = sum(item[f"{side}_runs"] for item in pairing.ambiguous)
        alone = sum(item["side"] == side for item in pairing.unmatched)
        assert len(pairing.pairs) + alone + doubtful == (frame["device"] == device).sum()
    for _, row in pairing.pairs.iterrows():
        ours, theirs = frame.iloc[int(row["source.run_id"])], frame.iloc[int(row["dest.run_id"])]
        assert (ours["kernel"], ours["input"], ours["application"]) == (
            theirs["kernel"],
            theirs["input"],
            theirs["application"],
        )


def test_any_joins_each_gpu_with_each_other_one() -> None:
    frame = runs(
        ("K40", "a", "k()", "5", 1.0), ("P100", "a", "k()", "5", 2.0), ("V100", "a", "k()", "5", 3.0),
        ("V100", "b", "k()", "5", 4.0),
    )  # fmt: skip
    pairing = pair_runs(frame, source="any", dest="any")
    found = zip(
        pairing.pairs["source.device"], pairing.pairs["dest.device"], pairing.pairs["dest.ipc"], strict=True
    )
    assert sorted(found) == [
        *(("K40", "P100", 2.0), ("K40", "V100", 3.0), ("P100", "K40", 1.0)),
        *(("P100", "V100", 3.0), ("V100", "K40", 1.0), ("V100", "P100", 2.0)),
    ]
    assert len(pair_runs(frame, source="any", dest="P100").pairs) == 2
    with pytest.raises(InputError, match="pairs are of two GPUs, the table has K40"):
        pair_runs(frame.iloc[:1], source="any", dest="any")
