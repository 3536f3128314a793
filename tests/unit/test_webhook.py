"""Webhooks: rows posted in requests that have the same key each time, until the target has taken them."""

import contextlib
import email.utils
import json
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.connect.post import Answer
from headrace.connect.retry import NotNow, retry_after_s, until_signalled
from headrace.connect.sink import Refused, Rows
from headrace.connect.webhook import WebhookSettings, WebhookSink
from headrace.errors import DataError, Transient, UserError
from headrace.events.formats.json import from_rows
from headrace.project.settings import OUTPUT_KINDS
from headrace.project.values import section
from headrace.redaction import redacted, remember_secret


class Target(ThreadingHTTPServer):
    """Takes rows on loopback, once for each key; `answers` says what the next requests get instead.

    An answer is a status, headers and a body; "drop" takes the rows and breaks the connection, "drip" sends a
    byte now and then for ever.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.requests, self.taken, self.max_bytes = [], [], {}, 1 << 30
        self.refuses = lambda row: None
        self.connections, self.over = 0, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/rows?code=hidden"

    @property
    def rows(self):
        return [row for rows in self.taken.values() for row in rows]

    def handle_error(self, request, client_address):
        """A connection that was broken on purpose is none."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers, body))
        if len(body) > self.server.max_bytes:
            return self._say(413)
        answer = self.server.answers.pop(0) if self.server.answers else (200, {}, b"")
        if statuses := list(filter(None, map(self.server.refuses, json.loads(body)))):
            answer = (statuses[0], {}, b"")
        if answer == "drip":
            return self._drip()
        if answer == "drop" or 200 <= answer[0] < 300:
            self.server.taken.setdefault(self.headers["Idempotency-Key"], json.loads(body))
        if answer == "drop":
            return self.connection.shutdown(socket.SHUT_RDWR)
        return self._say(*answer)

    def _say(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self):
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 10_000:
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.02):
                    return

    def log_message(self, *_):
        pass


@pytest.fixture
def target():
    with Target() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def opened(target):
    """Open a sink that posts to the target; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_sink(source="project", **more):
            settings = WebhookSettings(**{"url": target.url, **more})
            sink = WebhookSink("hook", settings, source, clock=ManualClock())
            stack.callback(sink.close)
            return sink

        yield open_sink


def until_taken(sink, block, producer="p", sequence=1):
    """Deliver a block as the loop of deliveries does; return how often that took."""
    for tries in range(1, 100):
        with contextlib.suppress(NotNow):
            sink.deliver(block, producer, sequence)
            return tries
    raise AssertionError("never taken")


def rows_of(count, start=0):
    return [{"n": n} for n in range(start, start + count)]


def block_of(rows):
    return b"\n".join(msgspec.json.encode(row) for row in rows)


def keys(target):
    return [headers["Idempotency-Key"] for _, headers, _ in target.requests]


# --- what is posted ---------------------------------------------------------------------------------------


def test_rows_are_posted_as_an_array_with_the_headers_of_the_settings(target, opened):
    sink = opened(headers={"Authorization": "Bearer one", "content-type": "application/vnd.rows+json"})
    batch = from_rows([{"n": 9007199254740993, "text": "über\n🙂", "of": {"a": [1.0]}}])
    prepared = sink.prepare(Rows(batch, lambda: pl.Series(["a"])))
    assert (prepared.rows, prepared.failures) == (1, {})
    sink.deliver(prepared.payload, "job:j:hook:instance-0", 7)
    [(path, headers, body)] = target.requests
    assert path == "/rows?code=hidden"
    assert body == '[{"n":9007199254740993,"text":"über\\n🙂","of":{"a":[1.0]}}]'.encode()
    assert headers["authorization"] == "Bearer one"
    assert headers["content-type"] == "application/vnd.rows+json"
    assert headers["idempotency-key"].startswith("project:job:j:hook:instance-0:7:0+1:")


def test_a_block_is_cut_at_the_same_places_under_the_same_keys_each_time(target, opened):
    for _ in range(2):
        opened(max_rows=4).deliver(block_of(rows_of(10)), "p", 1)
    assert keys(target)[:3] == keys(target)[3:]
    assert len(set(keys(target))) == 3
    assert target.rows == rows_of(10)


def test_the_same_rows_of_another_project_have_another_key(target, opened):
    """So have those of a data folder that was deleted, which counts from 1 again."""
    opened().deliver(block_of(rows_of(3)), "p", 1)
    opened("other").deliver(block_of(rows_of(3)), "p", 1)
    assert target.rows == rows_of(3) * 2


def test_other_rows_under_the_same_number_have_another_key(target, opened):
    """A data folder that was put back from a copy; the target must not take its rows for old ones."""
    opened().deliver(block_of(rows_of(3)), "p", 1)
    opened().deliver(block_of(rows_of(3, start=5)), "p", 1)
    assert target.rows == rows_of(3) + rows_of(3, start=5)


def test_one_connection_serves_many_requests(target, opened):
    sink = opened(max_rows=1)
    sink.deliver(block_of(rows_of(20)), "p", 1)
    assert len(target.requests) == 20
    assert target.connections == 1


def test_proxies_of_the_environment_are_not_used(target, opened, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    opened().deliver(block_of(rows_of(1)), "p", 1)
    assert target.rows == rows_of(1)


# --- what is asked again ----------------------------------------------------------------------------------


def test_a_target_that_fails_ten_times_gets_the_rows_once_each(target, opened):
    target.answers = [(503, {}, b"")] * 10
    sink = opened()
    with pytest.raises(
        NotNow, match=r"'hook': http://127.0.0.1:\d+ does not take the rows now: it answers 503"
    ):
        sink.deliver(block_of(rows_of(3)), "p", 1)
    assert until_taken(sink, block_of(rows_of(3))) == 10
    assert target.rows == rows_of(3)
    assert len(set(keys(target))) == 1


def test_a_connection_that_breaks_after_the_request_was_taken_doubles_nothing(target, opened):
    target.answers = ["drop", "drop", (200, {}, b"")]
    until_taken(opened(max_rows=2), block_of(rows_of(6)))
    assert len(target.requests) == 5
    assert target.rows == rows_of(6)


def test_a_block_that_was_taken_in_part_goes_on_where_it_stopped(target, opened):
    target.answers = [(200, {}, b""), (200, {}, b""), (503, {}, b""), (503, {}, b"")]
    sink = opened(max_rows=2)
    with pytest.raises(NotNow) as raised:
        sink.deliver(block_of(rows_of(6)), "p", 1)
    assert raised.value.settled == 4
    until_taken(sink, block_of(rows_of(6)))
    assert len(target.requests) == 5
    until_taken(sink, block_of(rows_of(6, start=6)), sequence=2)
    assert target.rows == rows_of(12)


def test_a_target_that_is_not_there_is_told_without_the_secret_parts_of_its_address(target):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hidden/path?code=hidden"
        sink = WebhookSink("hook", WebhookSettings(url=url), "project")
        with pytest.raises(NotNow, match=r"http://127.0.0.1:\d+ does not take") as raised:
            sink.deliver(block_of(rows_of(1)), "p", 1)
        sink.close()
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 504, 599])
def test_what_may_pass_is_asked_again(status, target, opened):
    target.answers = [(status, {}, b"")] * 2
    assert until_taken(opened(), block_of(rows_of(1))) == 3


@pytest.mark.parametrize(
    ("asked", "wished"),
    [
        ("7", 7.0),
        (email.utils.formatdate(ManualClock().us / 1e6 + 12, usegmt=True), 12.0),
        ("86400", 86400.0),
        ("soon", 0.0),
    ],
)
def test_what_the_target_wishes_is_passed_on(asked, wished, target, opened):
    target.answers = [(429, {"Retry-After": asked}, b"")]
    with pytest.raises(NotNow) as raised:
        opened().deliver(block_of(rows_of(1)), "p", 1)
    assert raised.value.wished_wait_s == pytest.approx(wished)


def test_a_request_that_waits_for_its_answer_can_be_broken_off(target, opened):
    target.answers = ["drip"]
    sink = opened()
    began = time.monotonic()
    threading.Timer(0.1, sink.interrupt).start()
    with pytest.raises(NotNow, match="does not take the rows now"):
        sink.deliver(block_of(rows_of(1)), "p", 1)
    assert time.monotonic() - began < 5


def test_a_wait_ends_when_a_signal_comes_and_at_once_if_it_came_before():
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    began = time.monotonic()
    try:
        with until_signalled() as wait:
            assert not wait(0)
            assert wait(30)
            assert wait(30)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 15
    assert signal.set_wakeup_fd(-1) == -1


def test_a_thread_that_gets_no_signals_just_waits():
    told = []

    def waiting():
        with until_signalled() as wait:
            told.append(wait(0.001))

    thread = threading.Thread(target=waiting)
    thread.start()
    thread.join()
    assert told == [False]


def test_an_answer_that_never_ends_is_cut_off_in_time(target, opened):
    target.answers = ["drip"]
    began = time.monotonic()
    with pytest.raises(NotNow, match=r"no answer within 0\.2 s"):
        opened(timeout_s=0.2).deliver(block_of(rows_of(1)), "p", 1)
    assert time.monotonic() - began < 10
    opened().deliver(block_of(rows_of(1)), "p", 1)
    assert target.rows == rows_of(1)


def test_a_long_answer_is_not_read_to_its_end(target, opened):
    target.answers = [(200, {"Content-Length": str(1 << 40)}, b"x" * 100_000)]
    opened().deliver(block_of(rows_of(1)), "p", 1)
    assert len(target.requests) == 1


# --- what is refused --------------------------------------------------------------------------------------


def test_413_halves_the_rows_until_they_fit(target, opened):
    target.max_bytes = 30
    for _ in range(2):
        opened().deliver(block_of(rows_of(13)), "p", 1)
    assert target.rows == rows_of(13)


def test_a_single_row_that_is_too_large_for_the_target_stops_the_job(target, opened):
    target.max_bytes = 20
    with pytest.raises(DataError, match=r'refuses the rows with 413.*The first of 1 is {"n":"xxx.*are kept'):
        opened().deliver(block_of([{"n": "x" * 50}]), "p", 1)


@pytest.mark.parametrize("status", [400, 422])
def test_rows_that_the_target_refuses_stop_the_job_and_are_named(status, target, opened):
    target.answers = [(status, {}, "no such\n field\x07 ü".encode() + b" " * 500 + b"end")]
    with pytest.raises(DataError, match=rf'{status}: no such field ü end\. The first of 2 is {{"n":0}}'):
        opened().deliver(block_of(rows_of(2)), "p", 1)
    assert len(target.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_rows_that_are_set_aside_are_found_one_by_one_and_the_rest_is_delivered(status, target, opened):
    target.refuses = lambda row: status if row["n"] % 5 == 2 else None
    sink = opened(max_rows=8, on_error="dead-letter")
    with pytest.raises(Refused) as raised:
        sink.deliver(block_of(rows_of(20)), "p", 1)
    assert raised.value.rest_delivered
    assert sorted(raised.value.rows) == [2, 7, 12, 17]
    assert str(status) in raised.value.rows[2]
    assert sorted(row["n"] for row in target.rows) == [n for n in range(20) if n % 5 != 2]


def test_rows_that_are_set_aside_are_found_again_under_the_same_keys_by_the_next_process(target, opened):
    target.refuses = lambda row: 422 if row["n"] in {3, 4} else None
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            opened(on_error="dead-letter").deliver(block_of(rows_of(9)), "p", 1)
        assert sorted(raised.value.rows) == [3, 4]
    half = len(keys(target)) // 2
    assert keys(target)[:half] == keys(target)[half:]
    assert sorted(row["n"] for row in target.rows) == [0, 1, 2, 5, 6, 7, 8]


def test_what_was_refused_before_the_target_went_away_is_told(target, opened):
    target.refuses = lambda row: 422 if row["n"] == 0 else None
    target.answers = [(422, {}, b""), (422, {}, b""), (200, {}, b""), (503, {}, b"")]
    with pytest.raises(NotNow) as raised:
        opened(max_rows=2, on_error="dead-letter").deliver(block_of(rows_of(4)), "p", 1)
    assert (raised.value.settled, list(raised.value.refused)) == (2, [0])


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_request_that_is_refused_stops_the_job_as_a_mistake_in_the_settings(status, target, opened):
    target.answers = [(status, {}, b"x" * 5000)]
    with pytest.raises(UserError, match=rf"{status}: x{{200}}\. Check the url") as raised:
        opened().deliver(block_of(rows_of(2)), "p", 1)
    assert "code=hidden" not in str(raised.value)


def test_a_redirect_is_not_followed(target, opened):
    target.answers = [(307, {"Location": target.url}, b"")]
    with pytest.raises(UserError, match="Redirects are not followed"):
        opened().deliver(block_of(rows_of(1)), "p", 1)
    assert len(target.requests) == 1


class Unsteady:
    """A target that takes up to so many rows at once and that, as chance has it, fails before or after."""

    def __init__(self, most, moods):
        self.most, self.moods, self.taken = most, moods, {}

    def post(self, body, headers):
        mood = self.moods.pop() if self.moods else "well"
        rows = json.loads(body)
        if mood == "gone":
            raise Transient("gone")
        if len(rows) > self.most:
            return Answer(413, "", 0)
        self.taken.setdefault(headers["idempotency-key"], rows)
        if mood == "lost":
            raise Transient("the answer was lost")
        return Answer(200, "", 0)

    def close(self):
        """Nothing is open."""


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    max_rows=st.integers(1, 20),
    most=st.integers(1, 20),
    moods=st.lists(st.sampled_from(["well", "gone", "lost"]), max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_whatever_fails_when_each_row_is_at_the_target_once_and_in_its_order(sizes, max_rows, most, moods):
    poster = Unsteady(most, moods)
    sent = []
    for sequence, size in enumerate(sizes):
        rows = rows_of(size, start=len(sent))
        sent += rows
        delivered = False
        while not delivered:  # as the instances that follow each other do
            own = WebhookSettings(url="http://target.example/", max_rows=max_rows)
            sink = WebhookSink("hook", own, "project")
            sink.close()
            sink._poster = poster
            with contextlib.suppress(Transient):
                sink.deliver(block_of(rows), "p", sequence)
                delivered = True
    assert [row for rows in poster.taken.values() for row in rows] == sent


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"url": None}, "outputs.hook: url is missing"),
        ({"url": "ftp://a.example/x"}, "no web address"),
        ({"url": "http:///x"}, "no web address"),
        ({"url": "https://a.example:99999/"}, "no web address"),
        ({"url": "http://[::1/"}, "no web address"),
        ({"url": "http://a.example/a b"}, "no spaces"),
        ({"url": "http://a.example/\n"}, "no spaces"),
        ({"url": "https://me:hidden@a.example/"}, 'name or password.*Authorization = "Bearer'),
        ({"url": "https://hidden@a.example/"}, "name or password"),
        ({"headers": {"X-A": "one\r\nX-B: two"}}, "headers: 'X-A' is no header"),
        ({"headers": {"X A": "one"}}, "headers: 'X A' is no header"),
        ({"headers": {"X-A": "ü"}}, "plain ASCII"),
        ({"headers": {"Idempotency-Key": "1"}}, "set by Headrace itself"),
        ({"headers": {"X-A": 1}}, r"outputs.hook.headers\[...\]: expected a text"),
        ({"timeout_s": 0}, "outputs.hook.timeout_s"),
        ({"max_rows": 0}, "outputs.hook.max_rows"),
        ({"max_tries": 3}, 'max_tries and give_up_seconds need on_error = "dead-letter"'),
        ({"on_error": "drop"}, "outputs.hook.on_error"),
        ({"heders": {}}, "heders: no such setting. Did you mean 'headers'?"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_key(more, problem):
    table = {"kind": "webhook", "url": "https://a.example/hook", **more}
    table = {key: value for key, value in table.items() if value is not None}
    with pytest.raises(UserError, match=problem) as raised:
        section({"outputs": {"hook": table}}, "outputs", OUTPUT_KINDS)
    assert "hidden" not in str(raised.value)


def test_neither_a_path_nor_a_header_is_shown():
    own = WebhookSettings(url="https://a.example/secret?code=secret", headers={"Authorization": "secret"})
    assert "secret" not in repr(own)
    assert "https://a.example" in repr(own)


def test_a_secret_that_the_target_sends_back_is_not_shown(target, opened):
    remember_secret("tok-12345")
    target.answers = [(401, {}, b"unknown token tok-12345")]
    with pytest.raises(UserError) as raised:
        opened(headers={"Authorization": "tok-12345"}).deliver(block_of(rows_of(1)), "p", 1)
    assert "unknown token ***" in redacted(str(raised.value))


@pytest.mark.parametrize(("value", "seconds"), [("", 0), ("5", 5), ("-5", 0), ("9" * 40, 999_999_999)])
def test_the_seconds_of_retry_after(value, seconds):
    assert retry_after_s(value, 0) == seconds
