"""The `xarch` commands from the outside: output, exit codes, documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from proxima_cli.xarch import main

ROOT = Path(__file__).parents[2]
HEADER = '"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"\n'


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    done = run("simulate", "--gpu", "P100", "--gpu", "V100", "--runs", 120, "--out", folder / "sim")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("SIMULATED: 120 runs for each of 2 GPUs")
    done = run("ingest", folder / "sim", "--out", folder / "runs.parquet")
    assert done.exit_code == 0, done.output
    return folder / "runs.parquet"


def test_info_says_that_runs_are_simulated(table: Path) -> None:
    done = run("info", table)
    assert done.exit_code == 0
    assert "SIMULATED: 240 of the runs were made by a model" in done.output
    assert "no value outside its physical range" in done.output
    facts = json.loads(run("info", table, "--json").output)
    assert facts["runs"] == facts["simulated"] == 240
    assert [device["device"] for device in facts["devices"]] == ["P100", "V100"]
    assert facts["metrics"] == 117


def test_pair_and_label(table: Path, tmp_path: Path) -> None:
    pairs, report = tmp_path / "pairs.parquet", tmp_path / "report.csv"
    done = run("pair", table, "--source", "P100", "--dest", "V100", "--out", pairs, "--report", report)
    assert done.exit_code == 0
    assert done.output.startswith("120 pairs P100 -> V100")
    assert "SIMULATED: 120 of the pairs" in done.output
    assert pairs.exists()
    assert report.read_text().startswith("state,side,application")
    assert (
        json.loads(run("pair", table, "--source", "P100", "--dest", "V100", "--json").output)["pairs"] == 120
    )
    labelled = tmp_path / "labelled.parquet"
    rows = json.loads(run("label", table, "--out", labelled, "--json").output)
    assert [row["device"] for row in rows] == ["P100", "V100"]
    assert all(row["memory_bound"] + row["not_bound"] == 120 for row in rows)
    none = json.loads(
        run(
            "label", table, "--out", labelled, "--peak", "P100=99999", "--peak", "V100=99999", "--json"
        ).output
    )
    assert [row["memory_bound"] for row in none] == [0, 0]


def test_ingest_reports_failures_and_exits_with_1(tmp_path: Path) -> None:
    good = '"Tesla K40c (0)","k()",1,"ipc","Executed IPC",0.5,0.5,0.5\n"Tesla K40c (0)","k()",1,"ipc2","New",x,x,x\n'
    (tmp_path / "good.csv").write_text(
        "==1== NVPROF is profiling process 1, command: ./a 7\n" + HEADER + good
    )
    (tmp_path / "none.csv").write_text("==1== Warning: No kernels were profiled.\n")
    out = tmp_path / "t" / "runs.parquet"
    done = run("ingest", tmp_path / "good.csv", tmp_path / "none.csv", "--out", out)
    assert done.exit_code == 1
    assert "good.csv:4: ipc2 of k()" in done.output
    assert re.search(r"failed: .*none\.csv:1: no kernels were profiled", done.output)
    assert "2 files: 1 read, 0 held already, 0 no profiles, 1 failed" in done.output
    report = json.loads(
        run("ingest", tmp_path / "none.csv", tmp_path / "good.csv", "--out", out, "--json").stdout
    )
    assert (report["already"], report["new"], report["failed"][0]["kind"]) == (1, 0, "no-kernels")


def test_ingest_of_a_mapped_table(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("gpu,k,t\nTesla K40c,f,2.5\n")
    (tmp_path / "map.json").write_text(
        '{"device": {"column": "gpu"}, "kernel": {"column": "k"}, "metrics": {"duration": {"column": "t", "unit": "ms"}}}'  # noqa: E501
    )
    out = tmp_path / "runs.parquet"
    assert (
        run("ingest", source, "--out", out, "--format", "table", "--map", tmp_path / "map.json").exit_code
        == 0
    )
    assert json.loads(run("info", out, "--json").output)["devices"][0]["device"] == "K40"
    assert run("ingest", source, "--out", out, "--format", "table").exit_code == 2


def test_metrics_and_gpus() -> None:
    assert (
        "0.03125 * smsp__thread_inst_executed_per_inst_executed.ratio"
        in run("metrics", "warp_execution_efficiency").output
    )
    assert len(run("metrics", "--published").output.splitlines()) == 117
    assert {entry["kind"] for entry in json.loads(run("metrics", "--kind", "stall", "--json").output)} == {
        "stall"
    }
    assert "732e9 bytes/s" in run("gpus", "Tesla P100").output
    assert json.loads(run("gpus", "V100", "--json").output)[0]["sms"] == 80
    assert len(run("gpus").output.splitlines()) > 20


def test_collect_prints_the_command() -> None:
    done = run(
        "collect", "--gpu", "P100", "--metrics", "memory-bound", "--dry-run", "--", "./app", "--flag", "7"
    )
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].endswith(
        "--metrics dram_read_throughput,dram_write_throughput ./app --flag 7"
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["info", "nothing.parquet"],
            "error: cannot read the table nothing.parquet: there is no such file; `xarch",
        ),
        (["nothing"], "error: No such command 'nothing'"),
        (["simulate", "--runs", "x"], "is not a valid integer"),
        (["ingest", "nowhere", "--out", "x.parquet"], "no such file or folder"),
        (["ingest", ".", "--out", "x.parquet", "--app-from", "("], "no regular expression"),
        (["ingest", ".", "--out", "x.parquet", "--format", "table", "--map", "nomap"], "no column map"),
        (["metrics", "icp"], "did you mean"),
        (["metrics", "--kind", "nothing"], "no metrics of the kind"),
        (["gpus", "Voodoo 2"], "no data-sheet facts"),
        (["simulate", "--gpu", "P100", "--out", "x", "--runs", "1"], "at least"),
        (["collect", "--gpu", "P100", "--metrics", "bogus", "--", "./a"], "unknown metric"),
        (["collect", "--gpu", "P100", "--dry-run"], "no program"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*args)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--source", "K40", "--dest", "V100"], "no runs of the GPU 'K40'"),
        (["--source", "P100", "--dest", "P100"], "name two GPUs"),
        (["--source", "P100", "--dest", "V100", "--tolerance", "7"], "tolerance"),
        (["--source", "P100", "--dest", "V100", "--on", "colour"], "no such column"),
    ],
)
def test_bad_requests_for_pairs(table: Path, extra: list[str], words: str) -> None:
    done = run("pair", table, *extra)
    assert done.exit_code == 2
    assert words in done.stderr


def test_bad_peaks(table: Path) -> None:
    for peak in ("P100=fast", "P100=-5", "K40=5"):
        done = run("label", table, "--out", table.with_name("no.parquet"), "--peak", peak)
        assert done.exit_code == 2, peak


def commands() -> dict[str, click.Command]:
    return dict(main.commands)


DOCUMENTED = {
    "xarch.md": (
        *("ingest", "info", "pair", "label", "metrics", "gpus", "collect", "simulate"),
        *("compare", "roofline", "export"),
    ),
    "xarch-curation.md": ("next", "curate", "portability"),
}


@pytest.mark.parametrize("page", DOCUMENTED)
def test_every_command_and_option_is_documented(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    ours = DOCUMENTED[page]
    assert set(ours) <= set(commands())
    for name in ours:
        assert f"xarch {name}" in text
        start = text.index("## xarch metrics" if name == "gpus" else f"## xarch {name}")
        part = text[start : text.find("\n## ", start + 1)]
        for parameter in commands()[name].params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert f"`{option}" in part or f" {option} " in part, f"xarch {name} {option}"


@pytest.mark.parametrize(("option", "value"), [("--seed", "-1"), ("--seed", "4294967296"), ("--jobs", "0")])
def test_seeds_and_jobs_that_no_model_takes_are_one_line_in_every_command(option: str, value: str) -> None:
    taking = [name for name, command in commands().items() if any(option in p.opts for p in command.params)]
    assert {"train", "evaluate", "curate", "next"} <= set(taking)
    for name in taking:
        done = CliRunner().invoke(main, [name, option, value])
        assert done.exit_code == 2, name
        assert done.stderr.startswith(f"error: Invalid value for '{option}': "), (name, done.stderr)
        assert done.stderr.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from proxima_cli.xarch import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'pyarrow', 'numpy', 'sklearn', 'ase_proxima', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_library_never_imports_the_other_one() -> None:
    for path in [*(ROOT / "gpu_xarch").rglob("*.py"), *(ROOT / "cli").glob("xarch*.py")]:
        assert not re.search(r"^\s*(?:from|import) ase_proxima", path.read_text(), re.MULTILINE), path


def test_files_stay_readable() -> None:
    for path in [*(ROOT / "gpu_xarch").rglob("*.py"), *(ROOT / "cli").glob("xarch*.py")]:
        assert len(path.read_text().splitlines()) < 400, path


@pytest.mark.slow
def test_train_alone_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("train", "--target", "ipc", "--model", "forest")
    assert done.exit_code == 0, done.output
    assert "no --data: taking the package's own 600 pairs P100 -> V100. SIMULATED" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ipc-P100-V100.skops"]
    assert done.stdout.splitlines()[-2:] == [
        "next: xarch ingest PROFILES --out runs.parquet",
        "next: xarch predict ipc-P100-V100.skops --data runs.parquet",
    ]


def test_a_table_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(HEADER + '"Tesla K40c (0)","k()",1,"ipc","Executed IPC",0.5,0.5,0.5\n')
    (tmp_path / "afile").touch()
    done = run("ingest", tmp_path / "good.csv", "--out", tmp_path / "afile" / "t.parquet")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "cannot write the table" in done.stderr


def test_help_shows_the_commands_in_the_order_of_the_work() -> None:
    lines = [line.split() for line in run("--help").output.splitlines()]
    named = [words[0] for words in lines if words and words[0] in main.commands]
    assert named == list(main.commands)
    wanted = [
        "collect",
        "ingest",
        "export",
        "roofline",
        "compare",
        "pair",
        "train",
        "predict",
        "report",
        "next",
    ]
    assert [name for name in named if name in wanted] == wanted
