"""Operators: pure steps from batch to batch, one file each."""
