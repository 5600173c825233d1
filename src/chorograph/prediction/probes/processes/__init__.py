"""Gaussian processes: exact, on inducing rows, and the evidence that their kernels are found by."""
