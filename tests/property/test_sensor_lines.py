"""Both parsers of sensor files against the rules of a line, one line at a time, whatever is in the file."""

import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.series.lines import MOST_BAD, BadLine, read_line
from headrace.series.parse_compiled import COMPILED
from headrace.series.parser import new_parser

pytest.importorskip("pyarrow")

#: Whether a parser is compiled.
PARSERS = [True, False] if COMPILED else [False]

_GUIDS = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) for number in range(1, 6)]

_guid = st.one_of(
    st.sampled_from(_GUIDS),
    st.sampled_from(_GUIDS).map(str.upper),
    st.sampled_from(
        [_GUIDS[0][:-1], _GUIDS[0].replace("-", ""), "{" + _GUIDS[0] + "}", "", "g" + _GUIDS[0][1:]]
    ),
    st.sampled_from(
        [chr(ord(_GUIDS[0][0]) ^ 0x20) + _GUIDS[0][1:], chr(ord(_GUIDS[0][0]) ^ 0x10) + _GUIDS[0][1:]]
    ),
)
_part = st.sampled_from
_time = st.one_of(
    st.builds(
        "{}-{}-{}{}{}:{}:{}{}{}".format,
        _part(["2013", "1969", "2100", "0001", "9999", "1600", "2262", "0000"]),
        _part(["01", "02", "12", "13", "00"]),
        _part(["01", "28", "29", "30", "31", "32", "00"]),
        _part(["T", "T", "T", " ", "t"]),
        _part(["00", "23", "24"]),
        _part(["00", "59", "60"]),
        _part(["00", "59", "60"]),
        _part(["", ".5", ".599", ".123456", ".1234567", ".123456789", ".1234567891", "."]),
        _part(["Z", "Z", "Z", "", "+02:00", "-0130", "+24:00", "z"]),
    ),
    _part(["2013-05-05", "2013-05-05T05", "2013-05-05T05:58", "2013-05-05T05:58Z", "", "now", " 2013-05-05"]),
    st.just("2013-05-05T05:58:17.599Z"),
)
_value = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.decimals(-1000, 1000, places=4).map(str),
    _part(
        [
            "",
            "-",
            ".",
            ".5",
            "5.",
            "-0",
            "+5",
            "1e5",
            "1e",
            "1e999",
            " 1.5 ",
            "nan",
            "0x10",
            "1_0",
            "1.2.3",
            "\uff11",
        ]
    ),
)
_line = st.one_of(
    st.builds("{},{},{}".format, _guid, _time, _value),
    st.builds("{},2013-05-05T05:58:17.599Z,{}".format, _part(_GUIDS), st.integers(0, 999)),
    _part(["", " ", "a,b", "a,b,c,d", '"', "\0", "é", _GUIDS[0] + ",2013-05-05T05:58:17Z,1,2"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_line, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_a_file_says_is_what_its_lines_say(lines, newline, ended):
    text = newline.join(lines).encode() + (newline.encode() if ended and lines else b"")
    expected, bad = [], []
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n"), 1):
        if line.strip():
            try:
                expected.append(read_line(line))
            except BadLine as error:
                bad.append((number, str(error)))
    for parser in [new_parser(compiled=compiled) for compiled in PARSERS]:
        for text_of_turn in (text, text * 40):  # short and, for the parser that cuts, long
            found = parser.parse(text_of_turn) if text_of_turn is text or (ended and lines) else None
            if found is None:
                continue
            guids = parser.guids()
            points = found.points
            readings = [
                (guids[code], time_us, _bits(value))
                for code, time_us, value in zip(
                    points.codes.tolist(), points.times_us.tolist(), points.values.tolist(), strict=True
                )
            ]
            turns = 1 if text_of_turn is text else 40
            assert readings == [(guid, at, _bits(value)) for guid, at, value in expected] * turns
            assert [(one.line, one.reason) for one in found.bad[: len(bad)]] == bad
            assert found.bad_lines == len(bad) * turns
            assert len(found.bad) == min(found.bad_lines, MOST_BAD)


def _bits(value):
    return struct.pack("<d", value)


@pytest.mark.parametrize("compiled", PARSERS)
def test_of_rubbish_the_first_lines_are_kept_and_the_others_counted(compiled):
    good = f"{_GUIDS[0]},2013-05-05T05:58:17.599Z,1\n".encode()
    found = new_parser(compiled=compiled).parse(b"x\n" * 5_000 + good, 7)
    assert found.bad_lines == 5_000
    assert [one.line for one in found.bad] == list(range(7, 7 + MOST_BAD))
    assert len(found.points) == 1
    assert found.lines == 5_001


@pytest.mark.parametrize("compiled", PARSERS)
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-0001"])
def test_an_offset_does_not_lead_out_of_the_calendar(compiled, time):
    found = new_parser(compiled=compiled).parse(f"{_GUIDS[0]},{time},1\n".encode())
    assert len(found.points) == 0
    assert "years 1 to 9999" in found.bad[0].reason


@pytest.mark.parametrize("compiled", PARSERS)
def test_tags_are_numbered_as_they_are_met_however_many(compiled):
    guids = [uuid.uuid5(uuid.NAMESPACE_OID, str(number)) for number in range(10_000)]
    text = "".join(f"{guid},2013-05-05T05:58:17.599Z,{number}\n" for number, guid in enumerate(guids))
    parser = new_parser(compiled=compiled)
    for _ in range(2):
        assert parser.parse(text.encode()).points.codes.tolist() == list(range(10_000))
    assert parser.guids() == [guid.bytes for guid in guids]
    assert parser.guids(9_999) == [guids[-1].bytes]
    assert parser.guids(10_001) == []


@pytest.mark.parametrize("compiled", PARSERS)
def test_lines_in_other_layouts_keep_their_places_among_the_others(compiled):
    times = ["2013-05-05T05:58:17.599Z", "2013-05-05T07:58:17.599+02:00", "2013-05-05 05:58:17.599"]
    text = "".join(f"{_GUIDS[0]},{times[number % 3]},{number}\n" for number in range(15_000))
    points = new_parser(compiled=compiled).parse(text.encode()).points
    assert points.values.tolist() == list(range(15_000))
    assert len(set(points.times_us.tolist())) == 1


@pytest.mark.parametrize("compiled", PARSERS)
def test_a_guid_with_white_space_among_its_digits_is_bad(compiled):
    text = f"{_GUIDS[0][:-2]}  ,2013-05-05T05:58:17.599Z,1\n"
    found = new_parser(compiled=compiled).parse(text.encode())
    assert len(found.points) == 0
    assert "is no GUID" in found.bad[0].reason
