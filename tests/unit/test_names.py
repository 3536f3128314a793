"""Names from users: nothing they type leaves the folder, meets another name, or becomes a path as it is."""

import itertools
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import UserError
from headrace.limits import MAX_NAME_CHARS
from headrace.names import checked_name, inside, safe_file_stem

PATHS = [
    "..", ".", "...", "/", "//", "\\", "~", "~root", "a/b", "a\\b", "/etc/passwd", "C:\\boot.ini", "C:",
    "c:evil", "\\\\host\\share", "//host/share", "file:///etc/passwd", "%2e%2e", "%2e%2e%2f",
    "%252e%252e%252f", "..%2f", "..%5c", "%c0%ae%c0%ae/", "..;/", "./.", ".../...//", "..//..//",
    "a/../../b", "a/..", "a/.", "/..", "\\..", "../" * 20, "..\\" * 20, "....//", "..\0", "a\0.db", "\0",
    "nul\0", "$HOME", "${HOME}", "`id`", "$(id)", "|id", ";id", "&id", "a\nb", "a\r\nb", "a\tb", "a b",
    " a", "a ", ".a", "-a", "_a", "--help", "-rf", "*", "?", "[a]", "{a,b}", "<a>", "\"a\"", "'a'",
    "a'; DROP TABLE entity; --", "a:stream", "a::$DATA", "a.", "..a", "\x1b[31mred", "\x7f", "\x80",
    "\u0085", "\u2028", "\u2029", "\ufeff", "\u200b", "\u200ea", "\u202eexe.a", "\u2024\u2024",
    "\uff0e\uff0e", "\uff0f", "\u2215", "\u2044", "\u29f8", "\uff3c", "\u2025", "\u2026", "\ud800",
    "a\udfff", "\U0001f600", "\u0430dmin", "\u0391", "\u00e9", "e\u0301", "\u212b", "\u00c5", "A\u030a",
    "\u00df", "\u1e9e", "\u017f", "\u0131", "\u0130", "i\u0307", "\ufb01", "\u01c6", "\u2160", "\u0661",
    "\uff11", "\u00b2", "\u00aa", "", "a" * (MAX_NAME_CHARS + 1), "A" * 300, "/" * 300, "\u00e9" * 300,
]  # fmt: skip

DEVICES = ["con", "nul", "aux", "prn", "com1", "com9", "lpt1", "clock$", "conin$"]

HOSTILE = sorted(
    {
        *PATHS,
        *(before + path for path, before in itertools.product(PATHS, ("tag/", "A"))),
        *(path + ".db" for path in PATHS),
        *DEVICES,
        *map(str.upper, DEVICES),
        *map(str.title, DEVICES),
        *(device + ".txt" for device in DEVICES),
        *(device + "." for device in DEVICES),
    }
)

ANY_TEXT = st.text(max_size=12) | st.text(st.sampled_from("aA./\\~%é\u0301e0\0-_"), max_size=8)


def folded(stem):
    """What the most forgiving file systems make of a name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFC", stem).casefold()).rstrip(". ")


def name_of(stem):
    """Read a stem back, by the rule that its docstring states."""
    written = re.sub(r"~([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), stem.removesuffix("."))
    return written.encode("latin-1").decode("utf-8", "surrogatepass")


def test_there_are_hostile_names_enough():
    assert len(HOSTILE) >= 300


@pytest.mark.parametrize(
    "name", [name for name in HOSTILE if not re.fullmatch(r"[0-9A-Za-z][\w.-]*", name, re.A)]
)
def test_a_hostile_name_is_refused_with_the_rule(name):
    with pytest.raises(UserError, match=r"cannot name a tag: use letters, digits") as caught:
        checked_name(name, "tag")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("length", [1, MAX_NAME_CHARS])
def test_a_plain_name_is_itself_up_to_the_limit(length):
    assert checked_name("a" * length, "hub") == "a" * length
    assert checked_name("Papers_2.raw-1", "hub") == "Papers_2.raw-1"


def test_a_name_over_the_limit_is_refused():
    with pytest.raises(UserError, match=f"at most {MAX_NAME_CHARS} characters"):
        checked_name("a" * (MAX_NAME_CHARS + 1), "hub")


def test_no_two_hostile_names_share_a_file_on_any_file_system():
    stems = {folded(safe_file_stem(name)): name for name in HOSTILE}
    assert len(stems) == len(HOSTILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_file_of_a_hostile_name_lies_in_its_folder(tmp_path, name):
    stem = safe_file_stem(name)
    assert re.fullmatch(r"[a-z0-9_~-]*", stem)
    path = (tmp_path / f"{stem}.db").resolve()
    assert path.parent == tmp_path
    path.touch()


@given(name=ANY_TEXT)
def test_a_stem_that_is_not_cut_tells_its_name(name):
    stem = safe_file_stem(name)
    assert "~~" in stem or name_of(stem) == name


@given(name=st.from_regex(r"[A-Z]{64}", fullmatch=True))
def test_the_stem_of_a_checked_name_is_never_cut(name):
    assert name_of(safe_file_stem(checked_name(name, "hub"))) == name


@given(one=ANY_TEXT, other=ANY_TEXT)
@example("a", "A")
@example("\u00e9", "e\u0301")
@example("\u00df", "ss")
@example("~41", "A")
@example("con", "con.")
def test_different_names_have_different_files_after_folding(one, other):
    assert (folded(safe_file_stem(one)) == folded(safe_file_stem(other))) == (one == other)


@pytest.mark.parametrize("child", ["..", "../x", "a/../../x", "/etc/passwd", ".", "", "a/.."])
def test_a_child_that_leads_out_of_the_folder_is_refused(tmp_path, child):
    with pytest.raises(UserError, match="leads out of"):
        inside(tmp_path, child)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    (tmp_path / "data" / "own").symlink_to(tmp_path / "data" / "target")
    with pytest.raises(UserError, match="leads out of"):
        inside(tmp_path / "data", "link/secret")
    assert inside(tmp_path / "data", "own/file") == tmp_path / "data" / "target" / "file"


def test_a_child_of_a_folder_behind_a_link_is_inside_it(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "link", "a/b") == tmp_path / "real" / "a" / "b"
