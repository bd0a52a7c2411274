"""The model commands of `xarch` from the outside: output, exit codes, documentation."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gpu_xarch.simulator.own_data import own_pairs
from gpu_xarch.tables.pairs import Pairing, write_pairs
from proxima_cli.xarch import main

ROOT = Path(__file__).parents[2]
OURS = ("train", "predict", "evaluate", "select", "report")
ASKED = ("--target", "ipc", "--source", "P100", "--dest", "V100")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    pairs = own_pairs(80)
    for name, part in (("pairs", pairs), ("few", pairs.iloc[:10])):
        write_pairs(Pairing("P100", "V100", (), part, [], []), root / f"{name}.parquet")
    names = "ipc,inst_executed,sm_efficiency,dram_throughput"
    done = run(
        "train", *ASKED, "--data", root / "pairs.parquet", "--metrics", names, "--out", root / "m.skops"
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("auto for ipc P100 -> V100: 80 rows of")
    assert "SIMULATED: 80 of the rows" in done.output
    assert "applications left out: median error" in done.output
    return root


def test_predict_prints_and_writes(folder: Path) -> None:
    done = run("predict", folder / "m.skops", "--data", folder / "pairs.parquet", "--out", folder / "p.csv")
    assert done.exit_code == 0, done.output
    assert "80 predictions written" in done.stderr
    frame = pd.read_csv(folder / "p.csv")
    assert len(frame) == 80
    assert (frame["low"] <= frame["predicted"]).all()
    assert set(frame["dest"]) == {"V100"}
    rows = json.loads(run("predict", folder / "m.skops", "--data", folder / "pairs.parquet", "--json").stdout)
    assert rows[0]["predicted"] == pytest.approx(frame["predicted"][0])


def test_evaluate_says_what_a_gpu_without_data_sheet_costs(tmp_path: Path) -> None:
    pairs = own_pairs(40).assign(**{"dest.device": "Custom X9"})
    write_pairs(Pairing("P100", "Custom X9", (), pairs, [], []), tmp_path / "pairs.parquet")
    told = (
        "--target",
        "ipc",
        "--source",
        "P100",
        "--dest",
        "Custom X9",
        "--data",
        tmp_path / "pairs.parquet",
    )
    done = run("evaluate", *told, "--model", "mechanism", "--folds", 2, "--json")
    assert done.exit_code == 0, done.output
    scores = {row["model"]: row["mae"] for row in json.loads(done.stdout)["scores"]}
    assert scores["mechanism"] == scores["old"]
    done = run("evaluate", *told, "--model", "mechanism", "--folds", 2)
    assert "no data sheet of Custom X9: the mechanism is old = new" in done.stdout
    assert "xarch gpus --add FILE" in done.stdout


@pytest.mark.slow
def test_too_few_applications_prove_nothing(tmp_path: Path) -> None:
    pairs = own_pairs(200)
    some = pairs[pairs["application"].isin(sorted(set(pairs["application"]))[:3])]
    write_pairs(Pairing("P100", "V100", (), some, [], []), tmp_path / "pairs.parquet")
    told = ("--model", "boosting", "--data", tmp_path / "pairs.parquet")
    assert run("train", *ASKED, *told, "--out", tmp_path / "m.skops").exit_code == 0
    out = tmp_path / "p.csv"
    done = run("predict", tmp_path / "m.skops", "--data", tmp_path / "pairs.parquet", "--out", out)
    assert "no prediction is to be relied on" in done.stderr
    assert "too few of them to tell (3)" in done.stderr
    assert pd.read_csv(out)["out_of_domain"].all()


def test_evaluate_shows_the_baselines_and_words(folder: Path) -> None:
    done = run(
        *("evaluate", *ASKED, "--data", folder / "pairs.parquet", "--metrics", "ipc,inst_executed"),
        *("--model", "boosting", "--folds", 2, "--by-application", "--out", folder / "e.json"),
    )
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[2:6]] == [
        "old",
        "scaled",
        "roofline",
        "boosting",
    ]
    assert "MAE, 1/cycle" in done.output.splitlines()[1]
    assert "MSE, (1/cycle)²" in done.output.splitlines()[1]
    assert "beside" in done.output.splitlines()[-1]
    report = json.loads((folder / "e.json").read_text())
    assert report["simulated_rows"] == report["rows"] == 80
    assert {row["model"] for row in report["scores"]} == {"old", "scaled", "roofline", "boosting"}


@pytest.mark.slow
def test_select_and_report(folder: Path) -> None:
    done = run(
        *("select", *ASKED, "--data", folder / "pairs.parquet", "--metrics", "ipc,inst_executed"),
        *("--budget", 9, "--json"),
    )
    assert json.loads(done.stdout)["metrics"] == ["ipc"]
    done = run(
        *("report", folder / "m.skops", "--data", folder / "pairs.parquet"),
        *("--out", folder / "r.html", "--folds", 2),
    )
    assert done.exit_code == 0, done.output
    assert "Model card" in (folder / "r.html").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", *ASKED, "--data", "few.parquet", "--out", "x.skops"], "at least 20"),
        (
            ["train", "--target", "nothing", "--source", "P100", "--data", "pairs.parquet", "--out", "x"],
            "unknown metric",
        ),
        (["train", "--target", "ipc", "--data", "pairs.parquet", "--out", "x"], "--source is needed"),
        (
            [
                "train",
                "--target",
                "ipc",
                "--source",
                "K40",
                "--dest",
                "V100",
                "--data",
                "pairs.parquet",
                "--out",
                "x",
            ],
            "K40",
        ),
        (["train", "--target", "ipc", "--source", "K40", "--out", "x"], "only simulated pairs"),
        (
            ["train", *ASKED, "--data", "pairs.parquet", "--out", "x", "--budget", "3"],
            "option of --model nas",
        ),
        (["train", *ASKED, "--data", "pairs.parquet", "--metrics", "nope", "--out", "x"], "not in the table"),
        (
            ["train", *ASKED, "--data", "m.skops", "--out", "x"],
            "no Parquet file, or a damaged one; `xarch ingest` and",
        ),
        (
            ["train", *ASKED, "--model", "foo", "--out", "x"],
            "error: Invalid value for '--model': 'foo' is not",
        ),
        (["evaluate", "--folds"], "error: Option '--folds' requires an argument (see"),
        (["predict", "pairs.parquet", "--data", "pairs.parquet"], "no model written"),
        (["predict", "none.skops", "--data", "pairs.parquet"], "cannot read the model"),
        (["predict", "m.skops", "--data", "pairs.parquet", "--dest", "K40"], "trained for V100"),
        (["predict", "m.skops", "--data", "pairs.parquet", "--level", "2"], "level"),
        (["evaluate", *ASKED, "--data", "pairs.parquet", "--folds", "1"], "2 folds"),
        (["select", *ASKED, "--data", "pairs.parquet", "--budget", "-1"], "budget"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    args: list[str], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "xarch-models.md").read_text()
    shared = text[: text.index("## xarch train")]
    for name in OURS:
        start = text.index(f"## xarch {name}")
        part = shared + text[start : text.find("\n## ", start + 1)]
        for parameter in main.commands[name].params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert f"`{option}" in part or f" {option} " in part, f"xarch {name} {option}"


def pair_table(pairs: pd.DataFrame, path: Path) -> Path:
    write_pairs(Pairing("P100", "V100", (), pairs, [], []), path)
    return path


def test_values_that_cannot_be_are_left_out_of_training_and_counted(tmp_path: Path) -> None:
    pairs = own_pairs(60)
    wrong = {
        "source.ipc": (-1.0, 2000.0),
        "dest.ipc": (-2.0, np.inf),
        "source.inst_executed": (-5.0, -np.inf),
    }
    for place, (name, values) in enumerate(wrong.items()):
        pairs.loc[[2 * place, 2 * place + 1], name] = values
    table = pair_table(pairs, tmp_path / "edited.parquet")
    done = run("train", *ASKED, "--model", "old", "--data", table, "--out", tmp_path / "m.skops")
    assert done.exit_code == 0, done.output
    assert "54 rows of" in done.stdout
    assert "6 values of these rows were refused, as no device can have them" in done.stdout


def test_values_that_cannot_be_are_filled_in_and_flagged_at_prediction(folder: Path, tmp_path: Path) -> None:
    pairs = own_pairs(80)
    pairs.loc[3, "source.sm_efficiency"] = 50.0
    pairs.loc[4, "source.ipc"] = 2000.0
    out = tmp_path / "p.csv"
    table = pair_table(pairs, tmp_path / "edited.parquet")
    done = run("predict", folder / "m.skops", "--data", table, "--out", out)
    assert done.exit_code == 0, done.output
    assert "imputed by the median of the training rows: sm_efficiency (1)" in done.stderr
    assert "1 runs without ipc, the old value itself, are left out" in done.stderr
    told = pd.read_csv(out).set_index("run_id")
    assert len(told) == 79
    assert told.loc[pairs.loc[3, "source.run_id"], "out_of_domain"]


def test_scores_of_one_kernel_are_not_called_scores_of_other_applications(tmp_path: Path) -> None:
    pairs = own_pairs(60)
    one = pd.concat([pairs[pairs["kernel"] == pairs["kernel"].iloc[0]]] * 20, ignore_index=True)
    table = pair_table(one, tmp_path / "one.parquet")
    told = ("--metrics", "ipc", "--model", "old", "--data", table, "--out", tmp_path / "m.skops")
    done = run("train", *ASKED, *told)
    assert done.exit_code == 0, done.output
    assert "rows of one kernel left out, which says nothing of others: median error" in done.stdout
    assert "applications left out" not in done.stdout


def test_a_target_that_is_always_zero_is_refused(tmp_path: Path) -> None:
    table = pair_table(own_pairs(40).assign(**{"dest.ipc": 0.0}), tmp_path / "zero.parquet")
    done = run("train", *ASKED, "--data", table)
    assert done.exit_code == 2
    assert done.stderr.strip() == "error: ipc is 0 on V100 in all 40 rows: there is nothing to learn"


def test_a_table_of_pairs_is_named_where_runs_are_wanted(folder: Path) -> None:
    done = run("info", folder / "pairs.parquet")
    assert done.exit_code == 2
    assert done.stderr.strip().endswith(
        "is no table of runs written by `xarch ingest`: it holds pairs of runs"
    )
