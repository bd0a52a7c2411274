"""Performance of GPU kernels on another GPU, predicted from profiler metrics."""
