"""Kills of a job that makes histories of sensor files: ``python -m headrace.testing.tags_campaign``."""
