"""Formats of events: one file each, decoding and encoding."""
