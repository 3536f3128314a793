"""Headrace: stream analytics you can run anywhere."""
