"""Sensor files to histories, beside other ways to the same: ``python -m benchmarks.tags``."""
