"""Kernels of the catalogue's functions, by name."""
