"""The query language: script text to a bound plan."""
