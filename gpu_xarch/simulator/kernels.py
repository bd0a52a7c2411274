"""The kernels that `xarch simulate` knows, as counts of work for each thread.

The counts were estimated from the algorithms (a vector triad loads two words, stores one and does one fused
multiply-add); nothing here was measured. They describe the kernels of the applications that the literature on
performance prediction across GPUs profiles most: Rodinia, BabelStream, and a few of their like.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KERNELS", "KernelModel"]

Power = tuple[float, float]


@dataclass(frozen=True)
class KernelModel:
    """Work of one kernel as a function of the input size n; a `Power` (a, p) stands for a n^p.

    Parameters
    ----------
    application, kernel, command : str
        Names; the command has ``{n}`` where the size goes.
    share : float
        Weight of the application's runs in a data set.
    sizes : tuple of float
        Least and greatest n.
    step : int
        n is a multiple of it.
    threads, loop, footprint : Power
        Threads of a launch, repetitions of the work below in each thread, bytes of distinct data.
    block, registers, shared_bytes : int
        Threads of a block, registers of a thread, shared memory of a block.
    add, mul, fma, special : float
        Single-precision operations of one repetition in a thread.
    dadd, dmul, dfma : float
        The same in double precision.
    integer, control, convert, misc, exchange : float
        Other instructions: `exchange` between threads (shuffles).
    loads, stores : float
        Global accesses.
    width : int
        Bytes of an access.
    load_sectors, store_sectors : float
        32-byte sectors that a warp's access touches.
    shared_loads, shared_stores, conflicts : float
        Accesses to shared memory and transactions of each.
    barriers, atomics : float
        Barriers and global atomics.
    local_reuse, far_reuse : float
        Shares of the loads that would hit in an endless first- and second-level cache beyond the first touch.
    active, uniform : float
        Mean share of active threads; share of branches that a warp takes as one.
    parallelism : float
        Independent instructions of a thread in flight.
    texture : bool
        Loads go through the texture path.
    """

    application: str
    kernel: str
    command: str
    share: float
    sizes: tuple[float, float]
    step: int
    threads: Power
    footprint: Power
    loop: Power = (1.0, 0.0)
    block: int = 256
    registers: int = 24
    shared_bytes: int = 0
    add: float = 0.0
    mul: float = 0.0
    fma: float = 0.0
    special: float = 0.0
    dadd: float = 0.0
    dmul: float = 0.0
    dfma: float = 0.0
    integer: float = 6.0
    control: float = 2.0
    convert: float = 0.0
    misc: float = 3.0
    exchange: float = 0.0
    loads: float = 1.0
    stores: float = 1.0
    width: int = 4
    load_sectors: float = 4.0
    store_sectors: float = 4.0
    shared_loads: float = 0.0
    shared_stores: float = 0.0
    conflicts: float = 1.0
    barriers: float = 0.0
    atomics: float = 0.0
    local_reuse: float = 0.0
    far_reuse: float = 0.0
    active: float = 1.0
    uniform: float = 1.0
    parallelism: float = 1.5
    texture: bool = False


K = KernelModel
KERNELS: tuple[KernelModel, ...] = (
    K("backprop", "bpnn_layerforward_CUDA(float*, float*, float*, float*, int, int)", "./backprop {n}", 12,
      (1024, 4194304), 16, (16, 1), (72, 1), registers=18, shared_bytes=1088, mul=1, add=2, fma=1, special=1,
      integer=22, control=9, loads=2, stores=1.1, shared_loads=6, shared_stores=4, conflicts=1.4, barriers=5,
      local_reuse=0.15, far_reuse=0.3, active=0.92, uniform=0.93, parallelism=1.3),
    K("backprop", "bpnn_adjust_weights_cuda(float*, int, float*, int, float*, float*)", "./backprop {n}", 12,
      (1024, 4194304), 16, (16, 1), (140, 1), registers=20, dmul=0.0, fma=2, mul=3, add=2, convert=3,
      integer=14, loads=5, stores=2.1, load_sectors=3.6, local_reuse=0.25, far_reuse=0.35, barriers=1,
      active=0.97, uniform=0.97, parallelism=2.4),
    K("hotspot",
      "calculate_temp(int, float*, float*, float*, int, int, int, int, float, float, float, float, float)",
      "./hotspot {n} {n} 2", 1.2, (64, 8192), 16, (1.65, 2), (12, 2), registers=36, shared_bytes=3072,
      loop=(2, 0), add=8, mul=3, fma=4, dadd=0.5, integer=22, control=8, convert=1, loads=1, stores=0.5,
      load_sectors=5, store_sectors=4.5, shared_loads=9, shared_stores=2, conflicts=1.3, barriers=3,
      local_reuse=0.2, far_reuse=0.4, active=0.86, uniform=0.9, parallelism=1.9),
    K("lud", "lud_diagonal(float*, int, int)", "./lud -s {n}", 0.5, (64, 8192), 16, (16, 0), (1024, 0),
      block=16, registers=32, shared_bytes=1024, loop=(16, 0), fma=6, integer=20, control=8, loads=2,
      stores=2, shared_loads=14, shared_stores=7, conflicts=1.8, barriers=2, local_reuse=0.1, far_reuse=0.5,
      active=0.26, uniform=0.85),
    K("lud", "lud_perimeter(float*, int, int)", "./lud -s {n}", 0.5, (64, 8192), 16, (2, 1), (128, 1),
      block=32, registers=40, shared_bytes=3072, loop=(16, 0), fma=8, integer=18, control=8, loads=3,
      stores=2, load_sectors=3, shared_loads=16, shared_stores=8, conflicts=4, barriers=1, far_reuse=0.5,
      active=0.5, uniform=0.85),
    K("lud", "lud_internal(float*, int, int)", "./lud -s {n}", 0.5, (64, 8192), 16, (1, 2), (4, 2),
      registers=32, shared_bytes=2048, fma=16, integer=14, control=2, loads=3, stores=1, shared_loads=32,
      shared_stores=2, barriers=1, local_reuse=0.2, far_reuse=0.6, parallelism=2.2),
    K("nw", "needle_cuda_shared_1(int*, int*, int, int, int, int)", "./needle {n} 10", 0.6, (64, 16384), 16,
      (1, 1), (600, 1), block=16, registers=26, shared_bytes=2180, loop=(32, 0), integer=22, control=7,
      loads=2.2, stores=1, load_sectors=3, shared_loads=4, shared_stores=1, conflicts=2, barriers=2,
      far_reuse=0.3, active=0.4, uniform=0.8),
    K("srad", "srad_cuda_1(float*, float*, float*, float*, float*, float*, int, int, float)",
      "./srad {n} {n} 0 127 0 127 0.5 2", 0.8, (128, 8192), 16, (1, 2), (24, 2), registers=30,
      shared_bytes=6144, add=12, mul=9, fma=8, special=5, integer=18, control=7, loads=5, stores=5,
      shared_loads=6, shared_stores=6, barriers=5, far_reuse=0.5, local_reuse=0.3, uniform=0.95,
      parallelism=1.8),
    K("srad", "srad_cuda_2(float*, float*, float*, float*, float*, float*, int, int, float, float)",
      "./srad {n} {n} 0 127 0 127 0.5 2", 0.8, (128, 8192), 16, (1, 2), (28, 2), registers=28,
      shared_bytes=5120, add=6, mul=6, fma=6, integer=16, control=6, loads=6, stores=1, shared_loads=5,
      shared_stores=5, barriers=4, far_reuse=0.4, local_reuse=0.3, uniform=0.96, parallelism=2.0),
    K("bfs", "Kernel(Node*, int*, bool*, bool*, bool*, int*, bool*, int)", "./bfs graph{n}.txt", 0.8,
      (4096, 16777216), 1024, (1, 1), (45, 1), block=512, registers=16, integer=10, control=7, loads=9,
      stores=2, load_sectors=16, store_sectors=14, local_reuse=0.3, far_reuse=0.5, active=0.35, uniform=0.7,
      parallelism=1.6),
    K("bfs", "Kernel2(bool*, bool*, bool*, bool*, int)", "./bfs graph{n}.txt", 0.8, (4096, 16777216), 1024,
      (1, 1), (4, 1), block=512, registers=8, integer=5, control=3, loads=1, stores=0.4, width=1,
      load_sectors=1, store_sectors=3, active=0.6, uniform=0.8, parallelism=1.1),
    K("kmeans", "kmeansPoint(float*, int, int, int, int*, float*, float*, int*)", "./kmeans -i {n}_34f.txt",
      0.6, (4096, 4194304), 256, (1, 1), (140, 1), registers=26, loop=(170, 0), add=1, fma=1, integer=3,
      control=1, loads=1.2, stores=0.01, load_sectors=4, local_reuse=0.75, far_reuse=0.9, parallelism=2.6,
      texture=True),
    K("pathfinder", "dynproc_kernel(int, int*, int*, int*, int, int, int, int)", "./pathfinder {n} 100 20",
      0.5, (2048, 16777216), 256, (1.2, 1), (90, 1), registers=16, shared_bytes=2048, loop=(20, 0),
      integer=14, control=4, loads=1.1, stores=0.06, load_sectors=4.4, shared_loads=3, shared_stores=1,
      barriers=2, active=0.92, uniform=0.9),
    K("gaussian", "Fan1(float*, float*, int, int)", "./gaussian -s {n}", 0.4, (64, 16384), 16, (1, 1),
      (130, 1), block=512, registers=12, mul=1, special=1, integer=10, control=2, loads=2, stores=1,
      load_sectors=30, store_sectors=30, far_reuse=0.3, active=0.8, uniform=0.95),
    K("gaussian", "Fan2(float*, float*, float*, int, int, int)", "./gaussian -s {n}", 0.4, (64, 16384), 16,
      (1, 2), (8, 2), block=16, registers=14, fma=1, integer=14, control=3, loads=3, stores=1, load_sectors=9,
      store_sectors=8, local_reuse=0.3, far_reuse=0.4, active=0.48, uniform=0.95),
    K("lavaMD", "kernel_gpu_cuda(par_str, dim_str, box_str*, FOUR_VECTOR*, double*, FOUR_VECTOR*)",
      "./lavaMD -boxes1d {n}", 0.3, (2, 80), 1, (128, 3), (12800, 3), block=128, registers=44,
      shared_bytes=7200, loop=(2700, 0), dadd=5, dmul=5, dfma=6, integer=4, control=1, misc=1, loads=0.05,
      stores=0.02, width=8, load_sectors=8, shared_loads=6, shared_stores=0.2, conflicts=1.6, barriers=0.02,
      local_reuse=0.4, far_reuse=0.8, active=0.9, uniform=0.97, parallelism=2.0),
    K("streamcluster", "kernel_compute_cost(int, int, long, Point*, int, int, float*, float*, int*, bool*)",
      "./sc_gpu 10 20 {n} 65536 65536 1000 none output.txt 1", 0.4, (2048, 2097152), 256, (1, 1), (1100, 1),
      block=512, registers=20, loop=(256, 0), fma=1, add=1, integer=2, control=1, misc=1, loads=1.02,
      stores=0.02, shared_loads=1, far_reuse=0.02, parallelism=2.4),
    K("stream", "void copy_kernel<double>(double const*, double*)", "./cuda-stream -s {n}", 1.0,
      (16384, 67108864), 1024, (1, 1), (16, 1), block=1024, registers=8, integer=3, control=1, misc=2,
      width=8, load_sectors=8, store_sectors=8, parallelism=1.2),
    K("stream", "void triad_kernel<double>(double*, double const*, double const*)", "./cuda-stream -s {n}",
      1.0, (16384, 67108864), 1024, (1, 1), (24, 1), block=1024, registers=12, dfma=1, integer=3, control=1,
      misc=2, loads=2, width=8, load_sectors=8, store_sectors=8, parallelism=1.6),
    K("stream", "void dot_kernel<double>(double const*, double const*, double*, int)", "./cuda-stream -s {n}",
      1.0, (16384, 67108864), 1024, (262144, 0), (16, 1), block=1024, registers=16, shared_bytes=8192,
      loop=(3.8e-6, 1), dfma=1, integer=3, control=1.5, misc=1, loads=2, stores=0.0001, width=8,
      load_sectors=8, shared_loads=0.3, shared_stores=0.2, barriers=0.1, parallelism=2.2),
    K("gemm", "gemm_kernel(float*, float*, float*)", "./gemm {n}", 0.5, (64, 4096), 32, (1, 2), (12, 2),
      registers=32, loop=(1, 1), fma=1, integer=1, control=0.3, misc=0.2, loads=2, stores=0.002,
      load_sectors=2.5, local_reuse=0.7, far_reuse=0.95, parallelism=2.5),
    K("sgemm", "maxwell_sgemm_128x64_nn", "./batchCUBLAS -m{n} -n{n} -k{n}", 0.4, (128, 8192), 64,
      (0.03125, 2), (12, 2), block=128, registers=120, shared_bytes=12288, loop=(1, 1), fma=32, integer=1.2,
      control=0.2, misc=0.5, loads=0.75, stores=0.03, width=16, load_sectors=12, shared_loads=3,
      shared_stores=0.8, barriers=0.125, local_reuse=0.1, far_reuse=0.92, parallelism=6),
    K("stencil", "naive_kernel(float, float, float*, float*, int, int, int)", "./stencil {n} {n} 64 100", 0.4,
      (64, 2048), 32, (62, 2), (512, 2), registers=20, add=5, fma=2, integer=16, control=2, loads=7, stores=1,
      load_sectors=4.3, local_reuse=0.45, far_reuse=0.75, active=0.97, uniform=0.98, parallelism=3.2),
    K("reduction", "void reduce6<float, 256, true>(float*, float*, unsigned int)", "./reduction --n={n}", 0.3,
      (16384, 134217728), 1024, (0.125, 1), (4, 1), registers=16, shared_bytes=1024, loop=(8, 0), add=1.6,
      integer=2.4, control=0.6, misc=0.5, exchange=0.3, loads=1, stores=0.001, shared_loads=0.4,
      shared_stores=0.3, barriers=0.4, active=0.95, uniform=0.95, parallelism=2.0),
    K("radixsort", "DeviceRadixSortDownsweepKernel(unsigned int*, unsigned int*, unsigned int*, int)",
      "./radixSort --n={n}", 0.3, (16384, 67108864), 1024, (0.0625, 1), (8, 1), block=128, registers=60,
      shared_bytes=8448, loop=(16, 0), integer=18, control=1, misc=2, exchange=2, loads=1, stores=1,
      store_sectors=9, shared_loads=6, shared_stores=5, conflicts=1.5, barriers=0.5, active=0.98,
      parallelism=3.5),
    K("histogram", "histogram256Kernel(unsigned int*, unsigned int*, unsigned int)", "./histogram {n}", 0.2,
      (65536, 67108864), 4096, (0.0625, 1), (1, 1), block=192, registers=20, shared_bytes=6144, loop=(4, 0),
      integer=14, control=2, loads=1, stores=0.02, shared_loads=4, shared_stores=4, conflicts=2.2,
      barriers=0.1, atomics=0.06, active=0.99, parallelism=1.8),
    K("spmv", "spmv_csr_scalar_kernel(float*, int*, int*, float*, int, float*)", "./spmv {n}", 0.4,
      (4096, 4194304), 512, (1, 1), (260, 1), block=128, registers=20, loop=(27, 0), fma=1, integer=4,
      control=1.3, loads=3, stores=0.04, load_sectors=15, local_reuse=0.45, far_reuse=0.5, active=0.72,
      uniform=0.85, parallelism=1.8),
    K("fft", "void spRadix0064B::kernel1Mem(kernel_parameters)", "./convolutionFFT2D {n}", 0.3,
      (16384, 33554432), 1024, (0.125, 1), (16, 1), block=128, registers=62, shared_bytes=8192, add=40, mul=6,
      fma=22, special=1, integer=30, control=2, loads=8, stores=8, width=8, load_sectors=8, store_sectors=8,
      shared_loads=16, shared_stores=16, conflicts=1.2, barriers=2, parallelism=4.5),
    K("blackscholes", "BlackScholesGPU(float2*, float2*, float2*, float2*, float2*, float, float, int)",
      "./BlackScholes {n}", 0.3, (16384, 33554432), 1024, (0.5, 1), (20, 1), block=128, registers=22, add=10,
      mul=26, fma=34, special=8, integer=8, control=2, loads=3, stores=2, width=8, load_sectors=8,
      store_sectors=8, parallelism=2.6),
    K("nbody", "void integrateBodies<float>(float4*, float4*, float4*, float)", "./nbody -n={n}", 0.3,
      (1024, 524288), 256, (1, 1), (48, 1), registers=38, shared_bytes=4096, loop=(1, 1), add=3, mul=4, fma=6,
      special=1, integer=0.6, control=0.15, misc=0.2, loads=0.004, stores=0.0001, width=16, load_sectors=16,
      store_sectors=16, shared_loads=1, shared_stores=0.004, barriers=0.008, far_reuse=0.9, parallelism=3.5),
    K("haxpy", "haxpy_kernel(__half2*, __half2 const*, int)", "./haxpy {n}", 0.1, (65536, 67108864), 2048,
      (0.5, 1), (4, 1), registers=10, integer=4, control=1, convert=0.2, loads=2, stores=1, parallelism=1.6),
)  # fmt: skip
