"""From profiler files to tables."""
