"""Kernels compiled by numba: the default on a processor with a few cores; no compiler needed."""
