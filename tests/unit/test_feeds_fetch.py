"""Fetching feeds: bounded, patient with servers, and never led into a private network."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import headrace.connect.feeds.fetch as module
from headrace.clock import ManualClock
from headrace.connect.feeds.addresses import allowed_addresses, checked_url
from headrace.connect.feeds.fetch import HttpFetch
from headrace.connect.feeds.poll import FeedPoller
from headrace.errors import DataError, Transient, UserError
from headrace.limits import MAX_FEED_BYTES

OWN = Path(__file__).parents[1] / "data" / "feeds"


class FeedServer(ThreadingHTTPServer):
    """Serves `pages` (path -> status, headers, body) on loopback and keeps the requests it saw."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.seen = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        status, headers, body = self.server.pages.get(self.path, (404, {}, b""))
        if headers.get("ETag") and self.headers["If-None-Match"] == headers["ETag"]:
            status, body = 304, b""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with FeedServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_feed_is_polled_over_http_end_to_end(server):
    body = (OWN / "rss2.xml").read_bytes()
    packed = {"ETag": '"one"', "Content-Type": "application/rss+xml", "Content-Encoding": "gzip"}
    server.pages["/rss/cs.XX?a=%20b"] = (200, packed, gzip.compress(body, mtime=0))
    clock = ManualClock()
    poller = FeedPoller(f"{server.url}/rss/cs.XX?a=%20b", fetch=HttpFetch(), clock=clock)
    events = [json.loads(event) for event in poller.poll().events]
    assert [(event["id"], event["replaces"]) for event in events] == [
        ("3102.00021", False),
        ("3102.00022", False),
        ("3001.00023", True),
        ("math/0301024", True),
    ]
    poller.acknowledge()
    clock.sleep(poller.wait_s())
    assert poller.poll().outcome == "unchanged"
    (_, first), (_, second) = server.seen
    assert first["User-Agent"].startswith("Headrace")
    assert first["Host"] == urlsplit(server.url).netloc
    assert "If-None-Match" not in first
    assert second["If-None-Match"] == '"one"'


def test_redirects_are_followed_and_the_answer_says_where_it_came_from(server):
    server.pages["/old"] = (301, {"Location": "/new"}, b"ignored")
    server.pages["/new"] = (200, {}, b"<rss/>")
    response = HttpFetch()(f"{server.url}/old", {})
    assert (response.status, response.body, response.url) == (200, b"<rss/>", f"{server.url}/new")


def test_a_circle_of_redirects_ends(server):
    server.pages["/round"] = (302, {"Location": "/round"}, b"")
    with pytest.raises(UserError, match="redirects more than 5 times"):
        HttpFetch()(f"{server.url}/round", {})
    assert len(server.seen) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/feed", "gopher://x/", "http://["]
)
def test_a_redirect_to_anything_but_the_web_is_refused(server, location):
    server.pages["/"] = (302, {"Location": location}, b"")
    with pytest.raises(UserError, match=r"is no (feed )?address"):
        HttpFetch()(f"{server.url}/", {})


def test_a_public_feed_cannot_lead_to_this_machine(server):
    """The public host is played by the local server: names resolve as handed in, addresses are checked."""
    server.pages["/"] = (302, {"Location": f"http://localhost:{server.server_port}/secret"}, b"")
    server.pages["/secret"] = (200, {}, b"<rss/>")

    def resolve(host, port):
        return ["127.0.0.1"]

    configured = urlsplit("http://feeds.example/")
    with pytest.raises(UserError, match="inside this machine or a private network"):
        allowed_addresses(configured, urlsplit(f"http://localhost:{server.server_port}/secret"), resolve)
    with pytest.raises(UserError, match=r"feeds\.example is at 127\.0\.0\.1"):
        HttpFetch(resolve=resolve)(f"http://feeds.example:{server.server_port}/", {})
    assert server.seen == []


@pytest.mark.parametrize(
    ("configured", "target", "address", "allowed"),
    [
        ("http://a.example/", "http://a.example/", "93.184.215.14", True),
        ("http://a.example/", "http://b.example/", "93.184.215.14", True),
        ("http://a.example/", "http://b.example/", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("http://a.example/", "http://a.example/", "10.0.0.5", True),  # a feed of one's own network
        ("http://a.example/", "http://b.example/", "10.0.0.5", False),
        ("http://a.example/", "http://b.example/", "192.168.1.1", False),
        ("http://a.example/", "http://b.example/", "100.64.0.1", False),
        ("http://a.example/", "http://b.example/", "fd00::1", False),
        ("http://a.example/", "http://b.example/", "::ffff:10.0.0.5", False),
        ("http://a.example/", "http://b.example/", "224.0.0.1", False),
        ("http://a.example/", "http://a.example/", "127.0.0.1", False),
        ("http://a.example/", "http://a.example/", "::1", False),
        ("http://a.example/", "http://a.example/", "::ffff:127.0.0.1", False),
        ("http://a.example/", "http://a.example/", "0.0.0.0", False),
        ("http://a.example/", "http://a.example/", "169.254.169.254", False),
        ("http://a.example/", "http://a.example/", "fe80::1%eth0", False),
        ("http://10.0.0.5/", "http://10.0.0.6/", "10.0.0.6", False),
        ("http://127.0.0.1/", "http://localhost:81/", "::1", True),
        ("http://localhost/", "http://127.0.0.2/", "127.0.0.2", True),
        ("http://[::1]/", "http://localhost/", "127.0.0.1", True),
        ("http://127.0.0.1/", "http://b.example/", "10.0.0.5", False),
    ],
)
def test_which_addresses_may_be_asked(configured, target, address, allowed):
    def resolve(host, port):
        return ["93.184.215.14", address]

    asked = urlsplit(configured), urlsplit(target)
    if allowed:
        assert address in allowed_addresses(*asked, resolve)
    else:
        with pytest.raises(UserError, match="inside this machine or a private network"):
            allowed_addresses(*asked, resolve)


def test_the_connection_goes_to_the_address_that_was_checked(server):
    """A name that answers differently the second time gains nothing: it is resolved once."""
    server.pages["/"] = (200, {}, b"<rss/>")
    answers = [["127.0.0.1"]]
    fetch = HttpFetch(resolve=lambda host, port: answers.pop())
    assert fetch(f"http://localhost:{server.server_port}/", {}).status == 200
    assert server.seen[0][1]["Host"] == f"localhost:{server.server_port}"


def test_the_next_address_is_tried_when_one_does_not_answer(server):
    server.pages["/"] = (200, {}, b"<rss/>")
    fetch = HttpFetch(resolve=lambda host, port: ["::1", "127.0.0.1"])
    assert fetch(f"http://localhost:{server.server_port}/", {}).body == b"<rss/>"


def test_a_redirect_from_https_to_http_is_not_followed(monkeypatch):
    fetch = HttpFetch(resolve=lambda host, port: ["93.184.215.14"])
    moved = module.Response(301, {"location": "http://a.example/"}, b"", "https://a.example/")
    monkeypatch.setattr(fetch, "_ask_any", lambda *_: moved)
    with pytest.raises(UserError, match="from https to http"):
        fetch("https://a.example/", {})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a.example/", "no feed address"),
        ("file:///etc/passwd", "no feed address"),
        ("a.example/feed", "no feed address"),
        ("http://", "no feed address"),
        ("http://[::1", "is no address"),
        ("http://a.example:99999/", "is no address"),
        ("http://user:secret@a.example/", "holds a password"),
        ("ftp://user:secret@a.example/", "no feed address"),
        ("http://user:secret@[::1/", "is no address"),
        ("http://a.example/a b", "spaces"),
        ("http://a.example/\x00", "spaces"),
        ("http://a.example/" + "x" * 2_000, "longer than 1,000"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_a_password(url, message):
    with pytest.raises(UserError, match=message) as raised:
        checked_url(url)
    assert "secret" not in str(raised.value)


def test_a_body_over_the_limit_is_not_read_to_its_end(server):
    server.pages["/big"] = (200, {}, b" " * (MAX_FEED_BYTES + 1))
    with pytest.raises(DataError, match="more than 16,777,216 bytes"):
        HttpFetch()(f"{server.url}/big", {})


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(server):
    bomb = gzip.compress(b" " * (4 * MAX_FEED_BYTES), mtime=0)
    assert len(bomb) < 100_000
    server.pages["/bomb"] = (200, {"Content-Encoding": "gzip"}, bomb)
    with pytest.raises(DataError, match="more than 16,777,216 bytes"):
        HttpFetch()(f"{server.url}/bomb", {})


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"Content-Encoding": "gzip"}, b"not gzip", DataError),
        ({"Content-Encoding": "br"}, b"x", DataError),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"<rss/>" * 1000, mtime=0)[:-20], Transient),
        ({"Content-Length": "100"}, b"<rss/>", Transient),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_an_error(server, headers, body, error):
    server.pages["/"] = (200, headers, body)
    if headers.get("Content-Length"):
        headers["Connection"] = "close"
    with pytest.raises(error):
        HttpFetch()(f"{server.url}/", {})


def test_an_error_without_a_body_keeps_its_status(server):
    server.pages["/"] = (404, {"Content-Encoding": "gzip"}, b"")
    assert HttpFetch()(f"{server.url}/", {}).status == 404


def test_an_answer_that_takes_too_long_in_all_is_given_up(server):
    server.pages["/"] = (200, {}, b"<rss/>")

    class LateClock(ManualClock):
        def monotonic_ns(self):
            self.us += 100 * 1_000_000
            return self.us * 1000

    with pytest.raises(Transient, match="longer than 60 s"):
        HttpFetch(clock=LateClock(), total_timeout_s=60)(f"{server.url}/", {})


def test_nobody_there_is_transient():
    with FeedServer() as gone:
        url = gone.url
    with pytest.raises(Transient, match="cannot be reached"):
        HttpFetch()(url, {})
    with pytest.raises(Transient, match="does not resolve"):
        HttpFetch(resolve=_fails)("http://nowhere.example/", {})


def _fails(host, port):
    raise OSError("no such name")


def test_arxivs_api_is_given_three_seconds_between_requests_of_all_pollers(server, monkeypatch):
    server.pages["/api/query"] = server.pages["/rss"] = (200, {}, b"<rss/>")
    monkeypatch.setattr(module, "is_api_url", lambda url: "/api/" in url)
    clock = ManualClock()
    fetch, started = HttpFetch(clock=clock), clock.us

    def seconds_after(path):
        fetch(f"{server.url}{path}", {})
        return (clock.us - started) / 1_000_000

    assert [seconds_after(path) for path in ("/api/query", "/rss", "/api/query")] == [0, 0, 3]
    clock.sleep(1)
    assert seconds_after("/api/query") == 6
    clock.sleep(10)
    assert seconds_after("/api/query") == 16


def test_without_the_optional_packages_the_user_is_told_what_to_install(monkeypatch):
    import sys

    from headrace.connect.feeds.parse import parse_feed

    for name in ("httpx2", "feedparser"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'headrace\[feeds\]'"):
        HttpFetch(resolve=lambda host, port: ["127.0.0.1"])("http://localhost/", {})
    with pytest.raises(UserError, match=r"pip install 'headrace\[feeds\]'"):
        parse_feed(b"<rss/>")
