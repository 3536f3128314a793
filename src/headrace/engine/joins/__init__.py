"""Joins: what rows meet, how long they are kept, and reference data."""
