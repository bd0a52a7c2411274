"""An analytic model of kernels, for data that say they are simulated."""
