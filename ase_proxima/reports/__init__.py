"""Reports, comparisons and plots of runs."""
