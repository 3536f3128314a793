"""What every server shares: keys, limits, host checks."""
