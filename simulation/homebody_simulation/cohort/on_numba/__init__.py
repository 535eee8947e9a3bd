"""Kernels compiled by numba: the default on a processor with a few cores; no compiler needed."""

import homebody_simulation.cohort.compiled  # noqa: F401 - says first where kernels are kept
