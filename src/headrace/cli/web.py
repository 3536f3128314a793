"""Serve the HTTP publishing endpoint: POST /HUB/messages, as the Event Hubs REST API has it.

[publish] in headrace.toml has `host` (127.0.0.1 unless it says otherwise), `port` and `keys`; each request
carries a shared access signature made with one of the keys. --token HUB prints such a signature, for clients
that cannot make their own. On the loopback GET /metrics and GET /status tell how the jobs are. SIGTERM and
Ctrl-C finish the requests under way and end.
"""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import duration
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import note, print_json, print_lines
from headrace.cli.stopping import STEP_S, asked_to_stop
from headrace.clock import SystemClock
from headrace.connect.hub import HubSettings, open_hub
from headrace.errors import UserError
from headrace.http.keys import create_token
from headrace.project import Project
from headrace.project.places import declared_places, find_place
from headrace.project.status import JobStatus, looking
from headrace.web.publish import LOCAL_HOSTS, publish_app
from headrace.web.server import serving
from headrace.web.watching import Look, watch_routes

#: How long a token that is printed opens its hub.
TOKEN_HOURS: Final = 24


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "web",
        help="serve the HTTP publishing endpoint",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--token", metavar="HUB", help="print a token for this hub and end")
    parser.add_argument(
        "--hours", type=duration, default=TOKEN_HOURS, help=f"with --token: how long it opens ({TOKEN_HOURS})"
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop, or print a token."""
    project = Project.load(Path(arguments.project))
    settings = project.publish
    if not settings.keys:
        raise UserError(
            "publish.keys is missing: nobody could publish without a key, and nobody may. "
            'Add to headrace.toml:\n[publish.keys]\nsender = "${HEADRACE_SENDER_KEY}"'
        )
    if arguments.token is not None:
        _print_token(project, arguments)
        return 0
    hubs = _make_hubs(project)
    if not hubs:
        raise UserError('the project declares no hub to publish to: add an input with kind = "hub"')
    app = publish_app(
        project.data / "hubs",
        settings.keys,
        hosts=_host_names(settings.host),
        max_body_bytes=settings.max_body_bytes,
        routes=watch_routes(_look_of(project)) if settings.host in LOCAL_HOSTS else (),
    )
    clock = SystemClock()
    with asked_to_stop() as stopped, serving(app, host=settings.host, port=settings.port) as url:
        if arguments.json:
            print_json({"url": url, "hubs": hubs})
        else:
            note(f"serving {url}; events go to " + ", ".join(f"{url}/{hub}/messages" for hub in hubs))
        while not stopped():
            clock.sleep(STEP_S)
    note("stopped; requests under way were finished")
    return 0


def _look_of(project: Project) -> Look:
    """Return what looks at the jobs, opening what is stored each time: it may not be there yet."""

    def look() -> list[JobStatus]:
        with looking(project, list(project.jobs)) as looks:
            return looks.look()

    return look


def _make_hubs(project: Project) -> list[str]:
    """Make the declared hubs that are missing, so that they can be published to; return all names."""
    hubs: dict[str, HubSettings] = {}
    for _, place in declared_places(project):
        if isinstance(place.settings, HubSettings):
            hubs.setdefault(place.name, place.settings)
    for name, settings in hubs.items():
        open_hub(project.data / "hubs", name, settings).close()
    return sorted(hubs)


def _host_names(host: str) -> tuple[str, ...]:
    """Return the names by which clients may call a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (*LOCAL_HOSTS, host)
    if address.is_unspecified:  # every address of the machine: the token alone decides
        return ("*",)
    return (*LOCAL_HOSTS, host)


def _print_token(project: Project, arguments: argparse.Namespace) -> None:
    place = find_place(project, arguments.token, ("hub",), "to publish to")
    settings = project.publish
    name, key = next(iter(settings.keys.items()))
    expires_s = SystemClock().now_us() // 1_000_000 + int(arguments.hours * 3600)
    url = f"http://{settings.host}:{settings.port}/{place.name}"
    token = create_token(url, name, key, expires_s=expires_s)
    if arguments.json:
        print_json({"url": f"{url}/messages", "authorization": token, "expires_s": expires_s})
    else:
        print_lines([token])
