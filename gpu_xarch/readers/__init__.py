"""Readers of profiler output."""
