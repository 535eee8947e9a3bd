"""Kernels in Triton: the default where there is a CUDA device."""
