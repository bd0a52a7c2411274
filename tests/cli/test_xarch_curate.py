"""`xarch curate`, `next` and `portability` from the outside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gpu_xarch.tables.runs import from_frame, load_runs, write_arrow
from proxima_cli.xarch import main

ROOT = Path(__file__).parents[2]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both GPUs, their pairs, and a table with 60 runs on the V100 only."""
    folder = tmp_path_factory.mktemp("curation")
    steps = (
        ("simulate", "--gpu", "P100", "--gpu", "V100", "--runs", 160, "--out", folder / "sim"),
        ("ingest", folder / "sim", "--out", folder / "runs.parquet"),
        (
            "pair",
            folder / "runs.parquet",
            "--source",
            "P100",
            "--dest",
            "V100",
            "--out",
            folder / "pairs.parquet",
        ),
    )
    for step in steps:
        done = run(*step)
        assert done.exit_code == 0, done.output
    frame = load_runs(folder / "runs.parquet")
    there = frame[frame["device"] == "V100"].sample(60, random_state=0)
    part = pd.concat([frame[frame["device"] == "P100"], there])
    part.attrs = frame.attrs
    write_arrow(from_frame(part), folder / "some.parquet")
    return folder


def test_curate_writes_curves_and_composition(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "curves"
    done = run(
        *("curate", folder / "pairs.parquet", "--target", "ipc", "--out", out, "--sizes", "18,40"),
        *("--strategy", "diversity", "--strategy", "random"),
    )
    assert done.exit_code == 0, done.output
    assert "SIMULATED: 160 of the pairs" in done.output
    assert "MAE, 1/cycle" in done.output
    rows = list(csv.DictReader((out / "curve.csv").read_text().splitlines()))
    assert [(row["strategy"], row["size"]) for row in rows] == [
        ("diversity", "20"),
        ("diversity", "45"),
        ("random", "20"),
        ("random", "45"),
    ]
    assert float(rows[0]["mape"]) == float(rows[2]["mape"])  # the first batch is the same
    assert {(row["simulated"], row["unit"]) for row in rows} == {("True", "1/cycle")}
    parts = pd.read_csv(out / "composition.csv")
    assert parts[parts["strategy"] == "pool"]["runs"].sum() == 112
    assert parts.groupby(["strategy", "size"])["share"].sum().round(9).eq(1).all()
    for name in ("curve.png", "composition.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_curate_prints_json(folder: Path, tmp_path: Path) -> None:
    args = ("curate", folder / "pairs.parquet", "--target", "ipc", "--out", tmp_path, "--sizes", "20:30:10")
    rows = json.loads(run(*args, "--batch", 11, "--initial", 10, "--json").output)
    assert [(row["strategy"], row["size"]) for row in rows][:2] == [("variance", 22), ("variance", 34)]
    assert all(0 < row["median_ape"] < row["mape"] for row in rows)


def test_a_small_pool_starts_from_twenty_random_runs(folder: Path, tmp_path: Path) -> None:
    args = ("curate", folder / "pairs.parquet", "--target", "ipc", "--out", tmp_path, "--sizes", "5,18,30")
    done = run(*args)
    assert done.exit_code == 0, done.output
    assert "the first 20 runs are random for every strategy" in done.output
    curve = pd.read_csv(tmp_path / "curve.csv").pivot(index="size", columns="strategy", values="mape")
    assert list(curve.columns) == ["random", "variance"]
    assert list(curve.index) == [6, 20, 34]
    assert (curve["variance"] == curve["random"]).tolist() == [True, True, False]


def test_next_names_runs_and_the_gain(folder: Path, tmp_path: Path) -> None:
    args = (
        "next",
        folder / "some.parquet",
        "--source",
        "P100",
        "--dest",
        "V100",
        "--target",
        "ipc",
        "--n",
        4,
    )
    facts = json.loads(run(*args, "--json", "--out", tmp_path / "next.csv").output)
    assert (facts["pairs"], facts["candidates"], facts["simulated"]) == (60, 100, 160)
    told = facts["expected_mean_std"]
    assert 0 < told["after"] < told["before"]
    rows = list(csv.DictReader((tmp_path / "next.csv").read_text().splitlines()))
    assert [row["kernel"] for row in rows] == [row["kernel"] for row in facts["runs"]]
    assert len(rows) == 4
    done = run(*args, "--strategy", "diversity")
    assert "100 runs are on the source alone, 60 on both" in done.output
    assert "with these 4" in done.output
    assert "SIMULATED: 160" in done.output


def test_portability_of_measured_and_predicted_runs(folder: Path, tmp_path: Path) -> None:
    done = run("portability", folder / "runs.parquet", "--efficiency", "larger")
    assert done.exit_code == 0, done.output
    assert "160 problems; 0 left out" in done.output
    assert "SIMULATED: 320" in done.output
    facts = json.loads(
        run("portability", folder / "some.parquet", "--gpu", "P100", "--gpu", "V100", "--json").output
    )
    assert len(facts["problems"]) == 60
    least = [row["portability"] for row in facts["problems"]]
    assert least == sorted(least)
    first = facts["problems"][0]
    assert first["portability"] == pytest.approx(2 / (1 / first["P100"] + 1 / first["V100"]))
    frame = load_runs(folder / "runs.parquet")
    some = frame[frame["device"] == "V100"].head(10)
    predictions = some[["application", "kernel", "input", "simulated"]].assign(
        dest="H100", target="dram_throughput", predicted=3.35e12 / 4
    )
    predictions.to_csv(tmp_path / "h100.csv", index=False)
    args = ("portability", folder / "runs.parquet", "--gpu", "V100", "--gpu", "H100")
    out = tmp_path / "table.csv"
    done = run(*args, "--predicted", tmp_path / "h100.csv", "--out", out)
    assert done.exit_code == 0, done.output
    assert "PREDICTED: 10 of the runs" in done.output
    table = pd.read_csv(out)
    assert len(table) == 10
    assert table["H100"].tolist() == pytest.approx([0.25] * 10, rel=0.01)
    twice = run("portability", folder / "runs.parquet", "--predicted", out)
    assert twice.exit_code == 2
    assert "need the column" in twice.stderr


def test_portability_of_problems_without_their_input(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    done = run("portability", folder / "runs.parquet", "--on", "application, kernel", "--out", out)
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out)
    assert "input" not in found.columns
    assert 0 < len(found) == len(found[["application", "kernel"]].drop_duplicates()) < 160


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["curate", "no.parquet", "--target", "ipc", "--out", "o"],
            "there is no such file; `xarch pair` writes",
        ),
        (["curate", "{pairs}", "--target", "bogus", "--out", "o"], "no dest.bogus"),
        (
            ["curate", "{pairs}", "--target", "ipc", "--out", "o", "--sizes", "few"],
            "is no number, list a,b,c or range",
        ),
        (["curate", "{pairs}", "--target", "ipc", "--out", "o", "--sizes", "30,20"], "must rise"),
        (["curate", "{pairs}", "--target", "ipc", "--out", "o", "--test-share", "1"], "--test-share"),
        (["curate", "{pairs}", "--target", "ipc", "--out", "o", "--initial", "99"], "first batch"),
        (["next", "{runs}", "--source", "P100", "--dest", "V100", "--target", "ipc"], "nothing left"),
        (["next", "{runs}", "--source", "P100", "--dest", "K40", "--target", "ipc"], "needs 20 runs"),
        (["next", "{some}", "--source", "P100", "--dest", "V100", "--target", "x"], "no dest.x"),
        (["portability", "{runs}", "--gpu", "P100"], "two GPUs"),
        (
            ["portability", "{runs}", "--predicted", "no.csv"],
            "no.csv: No such file or directory; `xarch predict",
        ),
        (
            ["portability", "{runs}", "--predicted", "{runs}"],
            "it is no CSV file; `xarch predict --out FILE.csv`",
        ),
        (["portability", "{runs}", "--on", "kernel"], "by application, which is not among kernel"),
        (["next", "{runs}", "--strategy", "luck"], "'--strategy': 'luck' is not one of"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {name: folder / f"{name}.parquet" for name in ("pairs", "runs", "some")}
    done = run(*(arg.format(**places) for arg in args))
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
