"""Analytic functions: for each event a value made of the events before it, one file per kind."""
