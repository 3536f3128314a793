"""A project: ``headrace.toml``, its settings, and opening its jobs."""

from headrace.project.project import FILE_NAME, Project

__all__ = ["FILE_NAME", "Project"]
