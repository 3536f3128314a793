"""Polling feeds: manners towards servers, and each version of a paper in the hub exactly once."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.connect.feeds.fetch import Response
from headrace.connect.feeds.poll import FeedPoller
from headrace.connect.feeds.publish import publish_new
from headrace.connect.feeds.schedule import next_poll_us
from headrace.connect.feeds.state import SEEN_FOR_US, FeedState, StateFile
from headrace.errors import DataError, Transient, UserError
from headrace.limits import MAX_EVENT_BYTES, MAX_FEED_SEEN
from headrace.local.hub import Hub

OWN = Path(__file__).parents[1] / "data" / "feeds"
URL = "https://rss.arxiv.org/rss/cs.XX"
SECOND = 1_000_000
HOUR = 3_600 * SECOND


def item(number, version=1, kind="new"):
    return (
        f"<item><guid isPermaLink='false'>oai:arXiv.org:2501.{number:05}v{version}</guid>"
        f"<title>t{number}</title><arxiv:announce_type>{kind}</arxiv:announce_type></item>"
    )


def rss(*items, channel=""):
    inside = channel + "".join(items)
    start = "<rss version='2.0' xmlns:arxiv='http://arxiv.org/schemas/atom'><channel>"
    return f"{start}{inside}</channel></rss>".encode()


def answer(body=b"", status=200, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, body, URL)


class Server:
    """A Fetch that gives the answers it is handed, then empty feeds, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, url, headers):
        self.asked.append(dict(headers))
        given = self.answers.pop(0) if self.answers else answer(rss())
        if isinstance(given, Exception):
            raise given
        return given


def poller(*answers, clock=None, url=URL, **settings):
    server = Server(*answers)
    settings.setdefault("interval_s", 60)
    settings.setdefault("jitter", lambda: 0.0)
    return FeedPoller(url, fetch=server, clock=clock or ManualClock(), **settings), server


def wait_after(*answers, **settings):
    """Return the seconds that a poller waits after its last of these answers."""
    polls, _ = poller(*answers, **settings)
    for _ in answers:
        polls.state = FeedState.from_json(polls.state.to_json())
        polls._clock.sleep(polls.wait_s())
        polls.poll()
        polls.acknowledge()
    return polls.wait_s()


def summary(polled):
    events = [json.loads(event) for event in polled.events]
    return [(event["id"][-2:], event["version"], event["replaces"]) for event in events]


def polled_bodies(*bodies):
    """Poll a feed that reads so one after the other; return what each poll gave."""
    polls, _ = poller(*map(answer, bodies))
    found = []
    for _ in bodies:
        polls._clock.sleep(polls.wait_s())
        found.append(summary(polls.poll()))
        polls.acknowledge()
    return found


# --- what is new ------------------------------------------------------------------------------------------


def test_the_same_version_again_is_not_emitted_and_a_higher_one_replaces():
    assert polled_bodies(
        rss(item(1), item(2)),
        rss(item(1), item(2, kind="cross"), item(3)),
        rss(item(1, version=2, kind="replace"), item(2, version=3)),
        rss(item(2, version=2, kind="replace"), item(1, version=2, kind="replace-cross")),
    ) == [
        [("01", 1, False), ("02", 1, False)],
        [("03", 1, False)],
        [("01", 2, True), ("02", 3, True)],
        [],
    ]


def test_a_replacement_of_a_paper_that_was_never_seen_says_that_it_replaces():
    assert polled_bodies(rss(item(1, version=4, kind="replace"), item(2, version=2, kind="cross"))) == [
        [("01", 4, True), ("02", 2, False)]
    ]


def test_a_paper_listed_twice_in_one_document_is_emitted_once():
    assert polled_bodies(rss(item(1), item(1, kind="cross"))) == [[("01", 1, False)]]


def test_an_entry_of_another_feed_is_emitted_again_when_it_was_updated():
    def entry(updated):
        return (
            f"<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>urn:a:01</id><updated>{updated}</updated>"
            "</entry></feed>"
        ).encode()

    first, again, later = polled_bodies(
        entry("2031-01-01T00:00:00Z"), entry("2031-01-01T00:00:00Z"), entry("2031-01-01T00:00:01Z")
    )
    assert (first, again, later) == ([("01", None, False)], [], [("01", None, True)])


def test_papers_are_forgotten_once_unlisted_for_long_and_the_oldest_first_when_there_are_too_many():
    clock = ManualClock()
    polls, _ = poller(answer(rss(item(1), item(2))), answer(rss(item(2))), answer(rss(item(3))), clock=clock)
    polls.poll()
    polls.acknowledge()
    clock.us += SEEN_FOR_US - 1
    polls.poll()
    assert len(polls.state.seen) == 2
    clock.us += SEEN_FOR_US
    polls.poll()
    assert list(polls.state.seen) == ["2501.00002", "2501.00003"]

    many = {f"old{number}": (1, clock.us) for number in range(MAX_FEED_SEEN)}
    state = FeedState.from_json(json.dumps({"url": URL, "seen": many}).encode())
    polls, _ = poller(answer(rss(item(1))), clock=clock, state=state)
    polls.poll()
    assert len(polls.state.seen) == MAX_FEED_SEEN
    assert "old0" not in polls.state.seen
    assert {"old1", "2501.00001"} <= set(polls.state.seen)


def test_a_paper_that_no_hub_takes_is_named_and_the_others_go_on():
    huge = item(2).replace("<title>", f"<title>{'x ' * (MAX_EVENT_BYTES // 2)}")
    polls, _ = poller(answer(rss(item(1), huge, item(3))))
    polled = polls.poll()
    assert [event[0] for event in summary(polled)] == ["01", "03"]
    assert polled.oversize == ("2501.00002",)


# --- manners ----------------------------------------------------------------------------------------------


def test_a_poll_that_is_not_due_asks_nothing():
    polls, server = poller(interval_s=60)
    assert polls.wait_s() == 0
    assert polls.poll().outcome == "read"
    assert polls.wait_s() == 60
    polls._clock.sleep(59)
    assert polls.poll().outcome == "waiting"
    polls._clock.sleep(1)
    assert polls.poll().outcome == "read"
    assert len(server.asked) == 2


def test_requests_are_conditional_once_the_server_gave_a_mark():
    polls, server = poller(
        answer(rss(), etag='"v1"', last_modified="Thu, 06 Feb 2031 05:00:02 GMT"),
        answer(status=304),
        answer(rss()),
    )
    for outcome in ("read", "unchanged", "read", "read"):
        assert polls.poll().outcome == outcome
        polls._clock.sleep(polls.wait_s())
    marks = {"If-None-Match": '"v1"', "If-Modified-Since": "Thu, 06 Feb 2031 05:00:02 GMT"}
    assert server.asked == [{}, marks, marks, {}]


def test_marks_of_an_answer_that_could_not_be_read_are_not_kept():
    polls, _ = poller(answer(b"<html>", etag='"v1"'))
    assert isinstance(polls.poll().error, DataError)
    assert polls.state.etag is None


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 60),
        ({"cache_control": "public, max-age=600"}, 600),
        ({"cache_control": "max-age=600", "age": "100"}, 500),
        ({"cache_control": "s-maxage=600, no-cache"}, 60),
        ({"cache_control": "max-age=nonsense"}, 60),
        ({"retry_after": "120"}, 120),
        ({"retry_after": "Thu, 01 Jan 2026 00:02:00 GMT"}, 120),
        ({"retry_after": "Thu, 01 Jan 2015 00:00:00 GMT"}, 60),
        ({"retry_after": "soon"}, 60),
        ({"retry_after": "9" * 30}, 7 * 86_400),
    ],
)
def test_the_wait_is_what_the_server_wishes_but_never_under_the_interval(headers, wait_s):
    assert wait_after(answer(rss(), **headers)) == wait_s
    if "retry_after" in headers:
        assert wait_after(answer(b"", 503, **headers)) == wait_s
        assert wait_after(answer(b"", 304, **headers)) == wait_s


def test_the_channels_ttl_and_skipped_hours_and_days_hold_also_after_an_unchanged_answer():
    body = (OWN / "rss2_weekend.xml").read_bytes()  # 90 minutes, not in hours 0 and 1, nor at weekends
    assert wait_after(answer(body)) == 2 * 3_600  # from midnight: after 90 minutes hour 1 is skipped
    assert wait_after(answer(body), answer(status=304)) == 90 * 60


@pytest.mark.parametrize(
    ("now", "wait_s", "hours", "days", "expected"),
    [
        ("2026-01-02T23:59:00", 30, (), ("Saturday", "Sunday"), "2026-01-02T23:59:30"),
        ("2026-01-02T23:59:30", 30, (), ("Saturday", "Sunday"), "2026-01-05T00:00:00"),
        ("2026-01-01T10:30:00", 60, (10, 11), (), "2026-01-01T12:00:00"),
        ("2026-01-02T22:30:00", 0, (22, 23, 0), ("Saturday",), "2026-01-04T01:00:00"),
        ("2026-01-01T10:30:00", 60, tuple(range(24)), (), "2026-01-01T10:31:00"),
        ("2026-01-01T10:30:00", -5, (), ("Someday",), "2026-01-01T10:30:00"),
    ],
)
def test_skipped_hours_are_gmt_and_a_channel_that_skips_all_is_not_believed(
    now, wait_s, hours, days, expected
):
    from datetime import UTC, datetime

    def us(text):
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND

    assert next_poll_us(us(now), wait_s, hours, days) == us(expected)


def test_errors_back_off_with_jitter_and_a_good_answer_ends_that():
    down = [Transient("down")] * 12
    assert [wait_after(*down[:count], interval_s=1) for count in (1, 2, 3, 8, 12)] == [
        30,
        60,
        120,
        3600,
        3600,
    ]
    assert wait_after(*down[:1], interval_s=1, jitter=lambda: 0.5) == 37.5
    assert wait_after(*down[:1], interval_s=100) == 100
    assert wait_after(*down, answer(rss()), interval_s=5) == 5
    assert wait_after(*down, answer(rss()), Transient("down"), interval_s=1) == 30


def test_arxivs_api_is_never_asked_more_often_than_every_three_seconds():
    api = "https://export.arxiv.org/api/query?search_query=cat:cs.XX"
    assert wait_after(answer(rss()), url=api, interval_s=1) == 3
    assert wait_after(answer(rss()), url=api, interval_s=10) == 10


def test_a_due_time_that_a_wrong_clock_set_does_not_silence_a_feed():
    clock = ManualClock()
    state = FeedState(url=URL, next_poll_us=clock.us + 365 * 24 * HOUR)
    assert poller(clock=clock, state=state)[0].poll().outcome == "read"


@pytest.mark.parametrize(
    ("given_answer", "kind", "message"),
    [
        (Transient("no route"), Transient, "no route"),
        (answer(b"oops", 500), Transient, "HTTP status 500"),
        (answer(b"", 429), Transient, "HTTP status 429"),
        (answer(b"<html>gone</html>", 404), UserError, "HTTP status 404; check the address"),
        (answer((OWN / "api_error.atom.xml").read_bytes(), 400), UserError, "start must be an integer"),
        (answer((OWN / "api_error.atom.xml").read_bytes(), 200), UserError, "start must be an integer"),
        (answer((OWN / "api_error.atom.xml").read_bytes(), 503), Transient, "start must be an integer"),
        (answer(rss(), 400), UserError, "HTTP status 400"),
        (answer(b"<rss>", 200), DataError, "not well-formed"),
        (answer(b"", 200), DataError, "empty"),
    ],
)
def test_a_failure_is_returned_by_its_kind_and_leaves_what_was_seen(given_answer, kind, message):
    polls, _ = poller(answer(rss(item(1))), given_answer, answer(rss(item(1), item(2))))
    polls.poll()
    polls.acknowledge()
    polls._clock.sleep(polls.wait_s())
    failed = polls.poll()
    assert (failed.outcome, failed.events, type(failed.error)) == ("failed", (), kind)
    assert message in str(failed.error)
    polls._clock.sleep(polls.wait_s())
    assert summary(polls.poll()) == [("02", 1, False)]


def test_settings_that_cannot_be_are_the_users():
    with pytest.raises(UserError, match=r"every 1 s at most"):
        poller(interval_s=0.5)
    with pytest.raises(UserError, match="no feed address"):
        poller(url="ftp://example.org/feed")
    with pytest.raises(UserError, match="was handed to"):
        poller(state=FeedState(url="https://elsewhere.example/"))


def test_the_producer_is_the_address_or_its_digest_when_that_is_too_long_for_a_hub():
    assert poller()[0].producer == f"feed:{URL}"
    long = poller(url=URL + "?" + "x" * 600)[0].producer
    assert long.startswith("feed:sha256:")
    assert long != poller(url=URL + "?" + "y" * 600)[0].producer


# --- once -------------------------------------------------------------------------------------------------


def test_a_block_is_returned_again_without_a_request_until_it_is_acknowledged():
    polls, server = poller(answer(rss(item(1))), answer(rss(item(1), item(2))))
    first = polls.poll()
    again, server_again = poller(state=FeedState.from_json(first.state.to_json()))
    repeated = again.poll()
    assert (repeated.outcome, repeated.events, repeated.state.sequence) == ("pending", first.events, 1)
    assert server_again.asked == []
    assert len(server.asked) == 1


class Crash(Exception):
    """The process dies here."""


class FakeHub:
    """A hub as far as feeds need one; `fail` makes the next publish die before or after its commit."""

    def __init__(self):
        self.stored, self.sequences, self.fail, self.reads = [], {}, None, 0

    def last_sequence(self, producer):
        return self.sequences.get(producer)

    def publish_bodies(self, bodies, *, producer, sequence, keys):
        fail, self.fail = self.fail, None
        if fail == "before":
            raise Crash
        assert [json.loads(body)["id"] for body in bodies] == keys
        if sequence > self.sequences.get(producer, 0):
            assert sequence == self.sequences.get(producer, 0) + 1
            self.sequences[producer] = sequence
            self.stored += bodies
        if fail == "after":
            raise Crash

    def begins(self):
        return [0]

    def ends(self):
        return [len(self.stored)]

    def read(self, partition, offset, *, max_events, max_bytes):
        from types import SimpleNamespace

        self.reads += 1
        return SimpleNamespace(bodies=self.stored[offset : offset + 2], next_offset=offset + 2)

    def papers(self):
        return [(paper["id"], paper["version"]) for paper in map(json.loads, self.stored)]


class Disk:
    """Where states are saved; keeps them all, so that an old one can be put back."""

    def __init__(self):
        self.states, self.fail_at = [FeedState(url=URL).to_json()], None

    def save(self, state):
        if self.fail_at == 0:
            self.fail_at = None
            raise Crash
        if self.fail_at:
            self.fail_at -= 1
        self.states.append(state.to_json())

    def load(self):
        return FeedState.from_json(self.states[-1])


STEP = st.tuples(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), max_size=4),  # what the feed lists now
    st.sampled_from(
        [None, None, "save", "publish before", "publish after", "second save", "old state", "no state"]
    ),
)


@settings(max_examples=80)
@given(st.lists(STEP, max_size=12))
def test_each_version_is_in_the_hub_once_whatever_dies_and_however_the_feed_changes(steps):
    hub, disk, clock = FakeHub(), Disk(), ManualClock()
    newest = {}
    for listed, event in [*steps, (steps[-1][0] if steps else [], None)]:
        body = rss(*(item(number, version) for number, version in listed))
        if event == "old state":
            disk.states = disk.states[: max(1, len(disk.states) // 2)]
        if event == "no state":
            disk.states = disk.states[:1]
        hub.fail = event.removeprefix("publish ") if event and event.startswith("publish") else None
        disk.fail_at = {"save": 0, "second save": 1}.get(event)
        state = disk.load()
        polls = FeedPoller(URL, fetch=lambda url, headers, body=body: answer(body), clock=clock, state=state)
        try:
            while True:  # a restarted process first brings home what is pending
                clock.sleep(polls.wait_s())
                if publish_new(polls, hub, disk.save).outcome != "pending":
                    break
            hub.fail = disk.fail_at = None
            for number, version in listed:
                newest[number] = max(version, newest.get(number, 0))
        except Crash:
            pass
    if not {"old state", "no state"} & {event for _, event in steps}:
        assert hub.reads == 0  # what a crash leaves is mended by the state alone
    for number in range(1, 7):
        versions = [version for paper, version in hub.papers() if paper == f"2501.{number:05}"]
        assert versions == sorted(set(versions))
        assert max(versions, default=0) >= newest.get(number, 0)


def test_saving_only_after_publishing_would_lose_papers():
    """The checker above is worth something: the simpler order fails it when the feed changes meanwhile."""
    hub, clock = FakeHub(), ManualClock()
    first, _ = poller(answer(rss(item(1))), clock=clock)
    polled = first.poll()
    hub.publish_bodies(polled.events, producer=first.producer, sequence=1, keys=["2501.00001"])
    # dies before saving; comes back to a feed with another paper, still at sequence 1
    second, _ = poller(answer(rss(item(1), item(2))), clock=clock)
    polled = second.poll()
    hub.publish_bodies(polled.events, producer=second.producer, sequence=1, keys=["2501.00001", "2501.00002"])
    assert hub.papers() == [("2501.00001", 1)]


def test_a_state_that_fits_the_hub_reads_nothing_back():
    hub, disk = FakeHub(), Disk()
    polls, _ = poller(answer(rss(item(1))), answer(rss(item(2))))
    for _ in range(2):
        publish_new(polls, hub, disk.save)
        polls._clock.sleep(polls.wait_s())
    assert (hub.papers(), hub.reads) == ([("2501.00001", 1), ("2501.00002", 1)], 0)


def test_a_hub_made_anew_gets_the_papers_of_the_feed_again():
    disk = Disk()
    polls, _ = poller(*[answer(rss(item(1), item(2)))] * 2)
    publish_new(polls, FakeHub(), disk.save)
    polls._clock.sleep(polls.wait_s())
    hub = FakeHub()
    publish_new(polls, hub, disk.save)
    assert len(hub.papers()) == 2


def test_papers_go_through_a_real_hub_and_a_state_file(tmp_path):
    clock = ManualClock()
    file = StateFile(tmp_path / "state" / "feed.json")
    with Hub.create(tmp_path / "hubs", "papers", clock=clock) as hub, file.held():
        for number in (1, 2, 3):
            polls, _ = poller(answer(rss(item(1), item(number))), clock=clock, state=file.load(URL))
            publish_new(polls, hub, file.save)
            clock.sleep(polls.wait_s())
        file.path.unlink()  # the state is lost: what was published is read back from the hub
        polls, _ = poller(answer(rss(*map(item, range(1, 6)))), clock=clock, state=file.load(URL))
        publish_new(polls, hub, file.save)
        assert hub.last_sequence(f"feed:{URL}") == 4
        found = [
            json.loads(body)["id"]
            for partition in range(hub.partitions)
            for body in hub.read(partition, 0, max_events=100, max_bytes=10_000_000).bodies
        ]
    assert sorted(found) == [f"2501.{number:05}" for number in range(1, 6)]


def test_a_state_file_is_held_by_one_process_belongs_to_one_feed_and_is_checked(tmp_path):
    file = StateFile(tmp_path / "feed.json")
    with file.held(), pytest.raises(UserError, match="another process"), StateFile(file.path).held():
        pass
    with file.held():
        file.save(FeedState(url=URL, sequence=3, seen={}))
        assert file.load(URL).sequence == 3
    with pytest.raises(UserError, match="belongs to the feed"):
        file.load("https://elsewhere.example/")
    file.path.write_bytes(b'{"url": 1')
    with pytest.raises(DataError, match="damaged"):
        file.load(URL)
