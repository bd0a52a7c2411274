"""Data sheets of the user's own, from TOML and from what the driver's tools print."""

from __future__ import annotations

import pandas as pd
import pytest
from click.testing import CliRunner

from gpu_xarch import InputError, add_gpus, find_gpu, gpus, label_runs
from gpu_xarch.specs import canonical_device, forget
from gpu_xarch.tables.limits import device_limits
from proxima_cli.xarch import main

SHEET = """
["RTX 3060"]
compute_capability = "8.6"
sms = 28
boost_MHz = 1777
bandwidth_GBs = 360.0
memory_GiB = 12
l2_KiB = 3072
source = "a board on the desk"
"""
QUERY = """
 CUDA Device Query (Runtime API) version (CUDART static linking)

Detected 1 CUDA Capable device(s)

Device 0: "{name}"
  CUDA Driver Version / Runtime Version          12.2 / 12.2
  CUDA Capability Major/Minor version number:    8.6
  Total amount of global memory:                 12037 MBytes (12622168064 bytes)
  (028) Multiprocessors, (128) CUDA Cores/MP:    3584 CUDA Cores
  GPU Max Clock rate:                            1777 MHz (1.78 GHz)
  Memory Clock rate:                             7501 Mhz
  Memory Bus Width:                              192-bit
  L2 Cache Size:                                 3145728 bytes
  Maximum number of threads per multiprocessor:  1536
"""
SMI = """
==============NVSMI LOG==============
Attached GPUs                             : 1
GPU 00000000:01:00.0
    Product Name                          : Tesla P100-PCIE-12GB
    FB Memory Usage
        Total                             : 12288 MiB
        Used                              : 0 MiB
    Clocks
        SM                                : 405 MHz
    Max Clocks
        Graphics                          : 1328 MHz
        SM                                : 1328 MHz
        Memory                            : 715 MHz
    Max Customer Boost Clocks
        Graphics                          : N/A
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A file of the user's own that no other test sees."""
    path = tmp_path / "settings" / "gpus.toml"
    monkeypatch.setenv("XARCH_GPUS", str(path))
    forget()
    yield path
    monkeypatch.undo()
    forget()


def write(tmp_path, text, name="sheet.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_sheet_is_known_from_then_on(tmp_path, own):
    (spec,) = add_gpus(write(tmp_path, SHEET))
    assert (spec.sms, spec.boost_hz, spec.bandwidth, spec.memory, spec.l2) == (
        28,
        1777e6,
        360e9,
        12 << 30,
        3 << 20,
    )
    # the multiprocessor is that of the other boards of its compute capability
    assert (spec.fp32_lanes, spec.warps, spec.shared, spec.architecture) == (128, 48, 100 << 10, "Ampere")
    assert own.exists()
    assert canonical_device("NVIDIA GeForce RTX 3060 (0)") == "RTX 3060"
    assert find_gpu("rtx3060") == spec
    assert device_limits("RTX 3060")["ipc"][1] == 4.0
    forget()
    assert find_gpu("RTX 3060").peak_fp32 == pytest.approx(2 * 28 * 128 * 1777e6)


def test_what_device_query_prints(tmp_path):
    (spec,) = add_gpus(write(tmp_path, QUERY.format(name="NVIDIA GeForce RTX 3060"), "query.txt"))
    assert (spec.name, spec.sms, spec.boost_hz, spec.l2, spec.warps) == ("RTX 3060", 28, 1777e6, 3 << 20, 48)
    assert spec.bandwidth == pytest.approx(360.048e9)
    assert spec.memory == 12622168064
    shown = CliRunner().invoke(main, ["gpus", "RTX 3060"]).output
    assert "memory:          11.76 GiB, L2 3072 KiB" in shown


def test_what_nvidia_smi_prints_corrects_a_known_gpu(tmp_path):
    before = find_gpu("P100 12GB")
    (spec,) = add_gpus(write(tmp_path, SMI, "smi.txt"))
    assert (spec.name, spec.boost_hz, spec.memory) == ("P100 12GB", 1328e6, 12 << 30)
    assert (spec.sms, spec.issue_width, spec.l2) == (before.sms, before.issue_width, before.l2)
    assert find_gpu("Tesla P100-PCIE-12GB").boost_hz == 1328e6
    with pytest.raises(InputError, match=r"tells no multiprocessors, caches and memory bus of Voodoo 2"):
        add_gpus(write(tmp_path, SMI.replace("Tesla P100-PCIE-12GB", "Voodoo 2"), "other.txt"))


def test_sheets_are_added_to_those_that_are_there(tmp_path, own):
    add_gpus(write(tmp_path, SHEET))
    add_gpus(
        write(
            tmp_path,
            SHEET.replace("RTX 3060", 'My "fast" one').replace('"My "fast" one"', "'My \"fast\" one'"),
        )
    )
    add_gpus(write(tmp_path, SHEET.replace("1777", "1900")))
    assert [name for name in gpus() if name in ("RTX 3060", 'My "fast" one')] == ["RTX 3060", 'My "fast" one']
    assert find_gpu("RTX 3060").boost_hz == 1900e6
    assert len(own.read_text().split("source =")) == 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sms = 28", "", "needs sms"),
        ("sms = 28", "sms = -1", "sms must be a number above 0, got -1"),
        ("sms = 28", "sms = nan", "sms must be a number above 0, got nan"),
        ("sms = 28", "sms = true", "sms must be a number above 0, got True"),
        ("sms = 28", "sms = 28\ncolour = 3", "unknown entries colour"),
        ('"8.6"', '"eight"', "needs compute_capability"),
        ('"8.6"', '"99.0"', "needs l1_KiB, as no GPU of compute capability 99.0 is known"),
        ("sms = 28", "sms = =", "cannot read the data sheets"),
        (SHEET, "sms = 3", "is no table"),
        (SHEET, "", "no GPU in"),
    ],
)
def test_a_sheet_that_cannot_serve_is_refused(tmp_path, own, old, new, words):
    with pytest.raises(InputError, match=words):
        add_gpus(write(tmp_path, SHEET.replace(old, new)))
    assert not own.exists()


def test_query_with_a_line_missing(tmp_path):
    text = QUERY.format(name="Some GPU").replace("L2 Cache Size", "L7 Cache Size")
    with pytest.raises(InputError, match="does not tell l2: write a data sheet in TOML"):
        add_gpus(write(tmp_path, text, "query.txt"))


def test_command(tmp_path, own):
    done = CliRunner().invoke(main, ["gpus", "--add", str(write(tmp_path, SHEET))])
    assert (done.exit_code, done.output) == (0, f"added RTX 3060 to {own}\n")
    assert "a board on the desk" in CliRunner().invoke(main, ["gpus", "RTX 3060"]).output
    wrong = CliRunner().invoke(main, ["gpus", "P100", "--add", str(write(tmp_path, SHEET))])
    assert wrong.exit_code == 2


def test_a_gpu_without_a_sheet_costs_its_labels_alone():
    runs = pd.DataFrame({"device": ["P100", "Voodoo 2"], "dram_throughput": [700e9, 1e9]})
    assert label_runs(runs)["memory_bound"].isna().tolist() == [False, True]
    assert label_runs(runs, peaks={"Voodoo 2": 1.1e9})["memory_bound"].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match=r"no data-sheet facts for the GPU 'Voodoo 2'.*gpus --add FILE"):
        label_runs(runs[runs["device"] == "Voodoo 2"])


def test_sheets_of_new_boards_give_the_operations_that_their_makers_state():
    stated = {
        "RTX 3080": 29.8e12,
        "RTX 4080": 48.7e12,
        "RTX 5090": 104.8e12,
        "GTX 980": 4.98e12,
        "RTX 2080": 10.1e12,
    }
    for name, peak in stated.items():
        assert find_gpu(name).peak_fp32 == pytest.approx(peak, rel=0.01), name
