"""A project: ``headrace.toml``, its settings, and opening its jobs."""

from headrace.project.project import Project

__all__ = ["Project"]
