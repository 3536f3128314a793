"""``headrace demo``: the two systems that Headrace came of, whole, on this machine alone."""

from __future__ import annotations

from typing import Any, Final

from headrace.cli import demo_papers, demo_tags
from headrace.cli.options import plain

#: The systems, in the order of their help; each module has ``add(systems)``.
_SYSTEMS: Final = (demo_papers, demo_tags)


def add(verbs: Any) -> None:
    """Describe the verb and its systems."""
    parser = verbs.add_parser("demo", help="see a whole system work", description=plain(__doc__))
    systems = parser.add_subparsers(dest="system", metavar="SYSTEM", required=True)
    for module in _SYSTEMS:
        module.add(systems)
