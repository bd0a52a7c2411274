"""Files that are not read are called what they are, with the command whose output is."""

from __future__ import annotations

import pytest

from gpu_xarch import ingest

FILES = {
    "a.ncu-rep": (b"NVR\0\1\2\3\4", "a report of Nsight Compute", "ncu --import a.ncu-rep --csv --page raw"),
    "renamed.bin": (b"NVR\0\1\2\3\4", "a report of Nsight Compute", "ncu --import renamed.bin"),
    "a.nsys-rep": (b"\x01\0\0\0abc", "a report of Nsight Systems", "nsys stats --report cuda_gpu_kern_sum"),
    "a.sqlite": (b"SQLite format 3\0....", "a report of Nsight Systems", "--format csv a.sqlite"),
    "a.nvvp": (
        b"SQLite format 3\0....",
        "a profile that nvprof exported",
        "nvprof --import-profile a.nvvp --csv",
    ),
    "rocprof.csv": (
        b'"Index","KernelName","gpu-id"\n0,"f",1\n',
        "output of AMD's rocprof",
        "--format table --map",
    ),
    "rocprofv3.csv": (
        b'"Kind","Agent_Id","Queue_Id"\n"KERNEL_DISPATCH",1,1\n',
        "output of AMD's rocprof",
        "--map",
    ),
    "summary.csv": (
        b'==PROF== Connected to process 5 (/a)\n"Process ID","Process Name","Host Name","Kernel Name","Device","CC",'
        b'"Invocations","Section Name","Metric Name","Metric Unit","Minimum","Maximum","Average"\n',
        "a page of Nsight Compute that sums launches up",
        "--page raw",
    ),
    "excel.csv": (
        b'"Device";"Kernel";"Invocations";"Metric Name";"Metric Description";"Min";"Max";"Avg"\n',
        "a profile that a spreadsheet saved",
        "as the profiler wrote it",
    ),
    "pandas.csv": (
        b",ID,Process ID,Kernel Name,gpu__time_duration.sum\n0,,,,ns\n1,0,7,k(int),2300\n",
        "a profile that another program saved again, without the quotes",
        "as the profiler wrote it",
    ),
    "unquoted.csv": (
        b"Device,Kernel,Invocations,Metric Name,Metric Description,Min,Max,Avg\n",
        "a profile that another program saved again, without the quotes",
        "as the profiler wrote it",
    ),
    "cut_out.csv": (
        b'"Kernel Name","Metric Name","Metric Unit","Metric Value"\n"f","dram__bytes.sum","byte","7"\n',
        "a table of Nsight Compute's metrics without the ID of each launch",
        "ncu --csv",
    ),
    "ncu.txt": (
        b"==PROF== Connected to process 5 (/a)\n  relax (8, 1, 1)x(64, 1, 1), Context 1, Stream 7\n"
        b"    Section: GPU Speed Of Light Throughput\n    Metric Name   Metric Unit Metric Value\n",
        "a text page of Nsight Compute",
        "ncu --csv",
    ),
    "nvprof.txt": (
        b"==3== NVPROF is profiling process 3, command: ./a\n==3== Metric result:\n"
        b"Invocations      Metric Name    Metric Description   Min   Max   Avg\n",
        "a text table of nvprof",
        "nvprof --csv",
    ),
    "launches.csv": (
        b"Count,QCount,QAvg (ns),KAvg (ns),API Name,Kernel Name\n3,3,10,900,cudaLaunchKernel,f\n",
        "a report of Nsight Systems on launches and queues",
        "cuda_gpu_kern_sum",
    ),
    "launches_by_thread.csv": (
        b"PID,TID,DevId,Count,QCount,KAvg (ns),API Name,Kernel Name\n7,7,0,3,3,900.0,cudaLaunchKernel,f\n",
        "a report of Nsight Systems on launches and queues",
        "cuda_gpu_kern_sum",
    ),
    "ranges.csv": (
        b"NVTX Range,Style,PID,TID,NVTX Inst,Kern Inst,Total Time (ns),Kernel Name\n:f,PushPop,1,1,1,4,400,k(int)\n",
        "a report of Nsight Systems on NVTX ranges",
        "cuda_gpu_kern_sum",
    ),
    "range_sums.csv": (
        b"Time (%),Total Time (ns),Instances,Avg (ns),Min (ns),Max (ns),Style,Range\n90,100,1,100,100,100,PushPop,f\n",
        "a report of Nsight Systems on NVTX ranges",
        "cuda_gpu_kern_sum",
    ),
    "counters.csv": (
        b'"Correlation_Id","Dispatch_Id","Agent_Id","Counter_Name","Counter_Value"\n1,1,1,"SQ_WAVES",10\n',
        "output of AMD's rocprof",
        "--map",
    ),
    "a.csv.xz": (b"\xfd7zXZ\0\0\1", "a packed file or an archive", "unpack a.csv.xz"),
    "a.zip": (b"PK\3\4\0\0", "a packed file or an archive", "unpack a.zip"),
    "a.tar.gz": (b"\x1f\x8b\x08\0", "a packed file or an archive", "unpack a.tar.gz"),
    "nsys.txt": (
        b" ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):\n\n"
        b" Time (%)  Total Time (ns)  Instances  Avg (ns)  Name\n",
        "a text table of Nsight Systems",
        "--format csv",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_file_is_named_with_the_command_to_run(profiles, tmp_path, name):
    content, what, command = FILES[name]
    path = profiles.write(content, name)
    (problem,) = ingest(path, tmp_path / "runs.parquet").failed
    assert (problem.kind, problem.fatal) == ("other-format", True)
    assert problem.message.startswith(what)
    assert command in problem.message


def test_in_a_folder_it_is_a_word_and_no_failure(profiles, tmp_path):
    profiles.write(profiles.profile(), "all/good.csv")
    profiles.write(b"NVR\0\1\2", "all/good.ncu-rep")
    report = ingest(tmp_path / "all", tmp_path / "runs.parquet")
    assert (report.failed, report.skipped, report.new) == ([], 1, 1)
    assert "a report of Nsight Compute" in report.problems[0].message


def test_a_profile_with_a_line_that_looks_foreign_is_still_read(profiles):
    (run,), problems = profiles.read("  Section: Results\n" + profiles.profile())
    assert (len(run.values), problems) == (7, [])
