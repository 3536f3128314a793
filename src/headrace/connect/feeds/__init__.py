"""Feeds of papers: what to read, how to ask politely, and each paper into a hub once."""
