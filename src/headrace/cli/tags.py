"""``headrace tags``: files of sensors and the histories of their tags."""

from __future__ import annotations

from typing import Any, Final

from headrace.cli import (
    tags_compact,
    tags_enqueue,
    tags_export,
    tags_generate,
    tags_list,
    tags_plot,
    tags_read,
    tags_stats,
    tags_watch,
)
from headrace.cli.options import plain

#: The actions, in the order of their help; each module has ``add(actions)``.
_ACTIONS: Final = (
    tags_generate,
    tags_enqueue,
    tags_watch,
    tags_list,
    tags_read,
    tags_plot,
    tags_stats,
    tags_export,
    tags_compact,
)


def add(verbs: Any) -> None:
    """Describe the verb and its actions."""
    parser = verbs.add_parser(
        "tags", help="sensor files and the histories of their tags", description=plain(__doc__)
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for module in _ACTIONS:
        module.add(actions)
