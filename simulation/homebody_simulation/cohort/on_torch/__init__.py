"""Kernels of plain PyTorch: for any model that says its loss in torch, on a CPU or a GPU."""
