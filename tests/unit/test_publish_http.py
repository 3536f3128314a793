"""Publishing over HTTP, against a real server on the loopback."""

import contextlib
import http.client
import json
import logging
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest

from headrace.clock import ManualClock
from headrace.errors import Transient, UserError
from headrace.http.keys import create_token
from headrace.local.hub import Hub
from headrace.web.publish import publish_app
from headrace.web.server import serving

KEYS = {"send": "a key", "lab": "another key"}
BATCH = {"content-type": "application/vnd.microsoft.servicebus.json"}


class Client:
    """Sends requests to the server under test, with a good token unless told otherwise."""

    def __init__(self, url, hub, clock):
        self.url, self.hub, self.clock = url, hub, clock

    def token(self, path="", name="send", key=None, for_s=60):
        expires_s = self.clock.us // 1_000_000 + for_s
        return create_token(self.url + path, name, key or KEYS[name], expires_s=expires_s)

    def request(self, body=b"", path="/papers/messages", method="POST", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers.setdefault("authorization", self.token())
        headers = {name: value for name, value in headers.items() if value is not None}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def stored(self):
        events = []
        for partition in range(self.hub.partitions):
            found = self.hub.read(partition, 0, max_events=1000, max_bytes=1 << 24)
            keys = found.keys or [None] * len(found)
            properties = found.properties or [None] * len(found)
            events += zip(found.bodies, keys, properties, [partition] * len(found), strict=True)
        return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hubs")


@pytest.fixture(scope="module")
def clock():
    return ManualClock()


@pytest.fixture(scope="module")
def url(folder, clock):
    app = publish_app(folder, KEYS, clock=clock, max_body_bytes=100_000, body_timeout_s=0.2)
    with serving(app) as url:
        yield url


@pytest.fixture
def client(url, folder, clock):
    with Hub.ensure(folder, "papers", clock=clock) as hub:
        yield Client(url, hub, clock)
        hub.expire(clock.us + 1)
        clock.us += 10


@pytest.mark.parametrize("body", [b'{"a": 1}', b"", b"two\nlines", bytes(range(256)), "Erdős ∑".encode()])
def test_a_single_body_is_one_event_with_its_bytes_as_given(client, body):
    begins = client.hub.ends()
    assert client.request(body, path="/papers/messages?timeout=60&api-version=2014-01") == (201, "")
    partition = next(
        i for i, (old, new) in enumerate(zip(begins, client.hub.ends(), strict=True)) if new > old
    )
    found = client.hub.read(partition, begins[partition], max_events=9, max_bytes=1 << 20)
    assert found.bodies == [body]
    assert found.keys is None
    assert found.properties is None


def test_headers_carry_the_partition_key_and_user_properties(client):
    broker = json.dumps({"PartitionKey": "lab-7", "CorrelationId": "x"})
    assert client.request(b"{}", BrokerProperties=broker, Alert="Strong Wind")[0] == 201
    assert [event[:3] for event in client.stored()] == [(b"{}", "lab-7", {"alert": "Strong Wind"})]


def test_a_batch_is_stored_message_by_message(client):
    batch = [
        {"Body": "é ∑"},
        {"Body": '{"x": "line\\nbreak"}', "UserProperties": {"n": 1, "on": True, "s": "t", "f": 0.5}},
        {"Body": "", "BrokerProperties": {"PartitionKey": "k", "MessageId": "1"}, "Unknown": [1]},
    ]
    content_type = BATCH["content-type"] + "; charset=utf-8"
    assert client.request(json.dumps(batch).encode(), content_type=content_type) == (201, "")
    stored = {event[0]: event[1:3] for event in client.stored()}
    assert stored == {
        "é ∑".encode(): (None, None),
        b'{"x": "line\\nbreak"}': (None, {"n": "1", "on": "true", "s": "t", "f": "0.5"}),
        b"": ("k", None),
    }


def test_a_publisher_always_writes_to_one_partition(client):
    batch = json.dumps([{"Body": "1"}, {"Body": "2"}])
    assert client.request(batch, path="/papers/publishers/lab-1/messages", **BATCH)[0] == 201
    assert client.request(b"3", path="/papers/publishers/lab-1/messages")[0] == 201
    assert [event[:2] for event in client.stored()] == [(b"1", "lab-1"), (b"2", "lab-1"), (b"3", "lab-1")]


def test_a_partition_can_be_chosen(client):
    assert client.request(b"3", path="/papers/partitions/3/messages")[0] == 201
    assert [event[3] for event in client.stored()] == [3]


def test_a_request_with_producer_and_sequence_can_be_sent_again(client):
    for _ in range(2):
        assert client.request(b"once", x_headrace_producer="p", x_headrace_sequence="5")[0] == 201
    assert [event[0] for event in client.stored()] == [b"once"]
    assert client.request(b"x", x_headrace_producer="p")[0] == 400
    assert client.request(b"x", x_headrace_producer="p", x_headrace_sequence="-1")[0] == 400


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer eyJ", "SharedAccessSignature sr=x&sig=y&se=1&skn=send", "expired", "foreign", "wrong"],
)
def test_without_a_good_token_nothing_is_told_or_stored(client, authorization):
    made = {
        "expired": client.token(for_s=-1),
        "foreign": client.token("/news"),
        "wrong": client.token(key="guess"),
    }
    token = made.get(authorization or "", authorization)
    for path in ("/papers/messages", "/papers/publishers/x/messages", "/missing/messages"):
        if (authorization, path) == ("foreign", "/missing/messages"):
            continue
        status, text = client.request(b"{}", path=path, authorization=token)
        assert status == 401
        error = json.loads(text)["error"]
        assert error["code"] == "Unauthorized"
        assert "key" not in error["message"] or "a key" not in error["message"]
    assert client.stored() == []


def test_two_authorization_headers_are_refused(client):
    connection = http.client.HTTPConnection(urlsplit(client.url).netloc, timeout=10)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/papers/messages")
        for _ in range(2):
            connection.putheader("authorization", client.token())
        connection.putheader("content-length", "0")
        connection.endheaders()
        assert connection.getresponse().status == 401


def test_a_token_for_one_publisher_serves_that_publisher_alone(client):
    token = client.token("/papers/publishers/lab-1", name="lab")
    send = {"authorization": token}
    assert client.request(b"1", path="/papers/publishers/lab-1/messages", **send)[0] == 201
    assert client.request(b"1", path="/papers/publishers/lab-2/messages", **send)[0] == 401
    assert client.request(b"1", path="/papers/messages", **send)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/missing/messages",
        "/Papers/messages",
        "/..%2fpapers/messages",
        "/%2e%2e/messages",
        "/papers/partitions/4/messages",
        "/papers/partitions/-1/messages",
        "/papers/partitions/x/messages",
        "/papers",
        "/",
        "//papers/messages",
        "/papers/messages/head",
        "/" + "x" * 500 + "/messages",
    ],
)
def test_what_is_not_there_is_404(client, path):
    status, text = client.request(b"{}", path=path)
    assert status == 404
    assert json.loads(text)["error"]["message"]


def test_other_methods_are_refused(client):
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method=method)[0] == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"{}",
        b"[]",
        b"[1]",
        b'["text"]',
        b'[{"body": "x"}]',
        b'[{"Body": {"a": 1}}]',
        b'[{"Body": "\\ud800"}]',
        b'[{"Body": "\xff"}]',
        b'[{"Body": "x", "UserProperties": {"a": [1]}}]',
        b'[{"Body": "x", "BrokerProperties": {"PartitionKey": 5}}]',
        b'[{"Body": "x", "BrokerProperties": {"PartitionKey": "' + b"k" * 2000 + b'"}}]',
        b'[{"Body": "x", "Other": ' + b"[" * 45_000 + b"]" * 45_000 + b"}]",
        b"[" * 90_000,
    ],
)
def test_a_malformed_batch_is_400_and_nothing_of_it_is_stored(client, body):
    status, text = client.request(body, **BATCH)
    assert (status, json.loads(text)["error"]["code"]) == (400, "BadRequest")
    assert "Traceback" not in text
    assert client.stored() == []


@pytest.mark.parametrize("header", ["{", "5", '{"PartitionKey": 1}', '{"PartitionKey": "\\ud800"}'])
def test_a_malformed_broker_properties_header_is_400(client, header):
    assert client.request(b"{}", BrokerProperties=header)[0] == 400


def test_a_key_that_contradicts_the_path_is_400(client):
    broker = {"BrokerProperties": json.dumps({"PartitionKey": "other"})}
    assert client.request(b"{}", path="/papers/publishers/lab/messages", **broker)[0] == 400
    assert client.request(b"{}", path="/papers/partitions/1/messages", **broker)[0] == 400


def test_a_body_over_the_limit_is_413(client):
    assert client.request(b"x" * 100_000)[0] == 201
    assert client.request(b"x" * 100_001)[0] == 413


def test_a_body_over_the_limit_that_does_not_tell_its_length_is_413(client):
    assert client.request(iter([b"x" * 60_000, b"y" * 60_000]))[0] == 413


def test_a_body_that_stalls_is_408(client):
    host = urlsplit(client.url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as connection:
        head = f"POST /papers/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: {client.token()}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 10\r\n\r\nhalf")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    assert client.stored() == []


def test_a_client_that_hangs_up_leaves_the_server_well(client, caplog):
    host = urlsplit(client.url)
    with caplog.at_level(logging.ERROR), socket.create_connection((host.hostname, host.port)) as connection:
        head = f"POST /papers/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: {client.token()}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 10\r\n\r\nhalf")
    assert client.request(b"next")[0] == 201
    assert [event[0] for event in client.stored()] == [b"next"]
    assert all(record.exc_info is None for record in caplog.records)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil", ""])
def test_a_host_that_is_not_ours_is_refused(client, host):
    assert client.request(b"{}", host=host)[0] == 400
    assert client.stored() == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:9"])
def test_the_names_of_the_loopback_are_taken(client, host):
    assert client.request(b"{}", host=host)[0] == 201


def test_a_hub_that_cannot_store_answers_500_without_its_insides(client, monkeypatch, caplog):
    def fail(*_args, **_values):
        raise RuntimeError("at /secret/path")

    monkeypatch.setattr(Hub, "publish", fail)
    status, text = client.request(b"{}")
    assert status == 500
    assert "secret" not in text
    assert "/secret/path" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_busy_hub_answers_503(client, monkeypatch):
    def fail(*_args, **_values):
        raise Transient("it stayed locked")

    monkeypatch.setattr(Hub, "publish", fail)
    assert client.request(b"{}")[0] == 503


def test_many_connections_at_once_lose_nothing(client):
    connections = [http.client.HTTPConnection(urlsplit(client.url).netloc, timeout=10) for _ in range(20)]
    for number, connection in enumerate(connections):
        connection.request(
            "POST", "/papers/messages", str(number).encode(), {"authorization": client.token()}
        )
    for connection in connections:
        assert connection.getresponse().status == 201
        connection.close()
    assert sorted(int(event[0]) for event in client.stored()) == list(range(20))


def test_a_server_needs_a_key(tmp_path):
    with pytest.raises(UserError, match="key"):
        publish_app(tmp_path, {})


def test_without_the_web_extra_the_error_says_what_to_install(tmp_path, monkeypatch):
    for module in ("starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install 'headrace\[web\]'"):
        publish_app(tmp_path, KEYS)
    with pytest.raises(UserError, match=r"pip install 'headrace\[web\]'"), serving(None):
        pass


def test_a_port_that_is_taken_is_a_clear_error(url, tmp_path):
    with (
        pytest.raises(UserError, match="cannot listen"),
        serving(publish_app(tmp_path, KEYS), port=urlsplit(url).port),
    ):
        pass


def test_the_server_stops_at_once(tmp_path):
    started = time.monotonic()
    with serving(publish_app(tmp_path, KEYS)):
        pass
    assert time.monotonic() - started < 3
