"""Reading feeds: arXiv's four forms and their traps, other feeds, and documents made to do harm."""

import codecs
import contextlib
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connect.feeds.arxiv import arxiv_id, class_of, is_api_url, old_title
from headrace.connect.feeds.parse import parse_feed
from headrace.connect.feeds.text import author_names, text_of_html
from headrace.errors import DataError, Transient, UserError
from headrace.limits import MAX_FEED_BYTES, MAX_FEED_DEPTH, MAX_FEED_ENTRIES

ROOT = Path(__file__).parents[2]
OWN = ROOT / "tests" / "data" / "feeds"
REAL = ROOT.parent / "shared" / "data" / "feeds"
URL = "http://blog.example/feed"

real_feeds = pytest.mark.skipif(not REAL.is_dir(), reason="the real feed documents are not here")


def read(name, folder=OWN):
    return parse_feed((folder / name).read_bytes(), url=URL).papers


def rss(item):
    return b"<rss version='2.0'><channel><item>" + item + b"</item></channel></rss>"


def test_the_api_names_the_primary_category_and_each_author():
    first, old = read("api.atom.xml")
    assert (first.id, first.version, first.announce_type) == ("3101.00001", 2, None)
    assert first.title == 'Rivers & races: a "short" study'
    assert first.doc == (
        r"Let $a<b$ and $c>d$. We bound the flow of a mill race by $\mathcal{O}(n \log n)$ "
        "for Poincaré maps & write &lt; as it is."
    )
    assert first.authors == ("Ada Müller", "Bo Smith, Jr.")
    assert (first.primary, first.categories) == ("math.DS", ("math.DS", "cs.LG"))
    assert first.paper_class == "math"
    assert (first.published, first.updated) == ("2031-01-02T03:04:05Z", "2031-01-09T08:07:06Z")
    assert (old.id, old.version, old.paper_class) == ("hep-th/9901001", 1, "Physics")


def test_rss_1_has_id_category_and_announcement_in_its_title_and_html_in_its_abstract():
    new, crossed, replaced, both = read("rss1.rdf.xml")
    assert new.title == "Sluices (and how to open them)"
    assert new.doc == r'A range of $2.6<\eta<4$ in "quotes" & more.'
    assert new.authors == ("Jane Doe", "Richárd Roe")
    assert [(p.id, p.version, p.primary, p.paper_class, p.announce_type) for p in (new, crossed)] == [
        ("1905.00011", 1, "q-bio.PE", "bio", "new"),
        ("1905.00012", 1, "q-fin.RM", "finance", "cross"),
    ]
    assert [(p.title, p.version, p.primary, p.paper_class, p.announce_type) for p in (replaced, both)] == [
        ("An updated one?", 3, "math-ph", "Physics", "replace"),
        ("Both", 2, "stat.ML", None, "replace-cross"),
    ]
    assert new.published is None
    assert new.categories == ("q-bio.PE",)


def test_rss_2_has_the_primary_category_first_and_a_prefix_before_the_abstract():
    papers = read("rss2.xml")
    assert [(p.id, p.version, p.announce_type) for p in papers] == [
        ("3102.00021", 1, "new"),
        ("3102.00022", 1, "cross"),
        ("3001.00023", 4, "replace"),
        ("math/0301024", 2, "replace-cross"),
    ]
    assert papers[0].title == 'On $x<y$ in "mill races"'
    assert papers[0].doc == r'If $x<y$ then <p, q> is $\leq 1$; &amp; stays, naïve "quotes" stay.'
    assert papers[0].authors == ("Ann Lee", "José Núñez")
    assert papers[0].link == "https://arxiv.org/abs/3102.00021"
    assert papers[0].published == "2031-02-06T05:00:00Z"
    assert papers[0].updated is None
    assert (papers[1].primary, papers[1].categories) == ("q-bio.NC", ("q-bio.NC", "cs.XX"))
    assert [p.paper_class for p in papers] == ["compsci", "bio", None, "math"]


def test_the_atom_form_of_today_is_read_whatever_its_namespace_prefix():
    new, replaced = read("rssatom.atom.xml")
    assert (new.doc, new.authors, new.announce_type) == ("Words with $k<l$.", ("Ann Lee", "Bo Li"), "new")
    assert (new.primary, new.categories, new.paper_class) == ("gr-qc", ("gr-qc", "cs.XX"), "Physics")
    assert (new.published, new.updated) == ("2031-02-06T05:00:00Z", "2031-02-06T05:00:11Z")
    assert (replaced.version, replaced.announce_type, replaced.paper_class) == (3, "replace", None)


def test_an_empty_result_and_a_weekend_without_papers_are_no_errors():
    assert read("api_empty.atom.xml") == ()
    weekend = parse_feed((OWN / "rss2_weekend.xml").read_bytes())
    assert weekend.papers == ()
    wishes = weekend.document
    assert (wishes.ttl_minutes, wishes.skip_hours, wishes.skip_days) == (
        90,
        (0, 1, 0),
        ("Saturday", "Sunday"),
    )


def test_an_error_of_the_api_is_the_users_with_the_apis_own_words():
    with pytest.raises(UserError, match="start must be an integer"):
        read("api_error.atom.xml")


@pytest.mark.parametrize("text", ["Rate exceeded.", "internal error", "The query timed out", "timeout"])
def test_an_error_of_the_api_that_passes_is_transient(text):
    body = (OWN / "api_error.atom.xml").read_bytes().replace(b"start must be an integer", text.encode())
    with pytest.raises(Transient, match=text):
        parse_feed(body)


def test_a_paper_titled_error_is_a_paper():
    body = (OWN / "api_error.atom.xml").read_bytes().replace(b"/api/errors#start", b"/abs/3101.00001v1?")
    assert parse_feed(body).papers[0].title == "Error"


def test_any_other_rss_feed_works_too():
    first, unnamed, bare, bad_link = read("blog.rss.xml")
    assert (first.id, first.version, first.primary, first.paper_class) == ("post-1", None, None, None)
    assert first.title == "Water & wheels"
    assert first.doc == "First bold H2O line two &lt;kept&gt; if $a<b$ then"
    assert (first.categories, first.authors) == (("math",), ("Jane Doe",))
    assert first.link == "http://blog.example/posts/1?a=1&b=2"
    assert (unnamed.id, unnamed.doc) == ("http://blog.example/posts/2", "Café d'été")
    assert bare.id.startswith("sha256:")
    assert bare.link is None
    assert (bad_link.id, bad_link.link) == ("post-4", None)
    (broken,) = parse_feed(rss(b"<link>http://[</link>"), url=URL).papers
    assert broken.link is None


def test_any_other_atom_feed_works_too():
    (entry,) = read("blog.atom.xml")
    assert (entry.id, entry.title) == ("tag:blog.example,2031:1", "Wheels & water")
    assert entry.doc == "Only content, 1 < 2."
    assert (entry.published, entry.updated) == (None, "2031-02-03T08:00:00Z")


def test_an_event_is_json_with_the_fields_by_their_names():
    event = msgspec.json.decode(read("rss2.xml")[0].event())
    assert list(event) == [
        *("id", "version", "title", "doc", "authors", "primary", "categories", "class"),
        *("published", "updated", "announce_type", "link", "feed", "replaces"),
    ]
    assert (event["class"], event["feed"], event["replaces"]) == ("compsci", URL, False)


@real_feeds
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "rss1_hep-ex_2018-05-23.rdf.xml",
            ["1805.08875 1 new", "1805.09166 1 cross", "1805.06430 2 replace"],
        ),
        ("rss2_composed_from_real_items.xml", ["2509.13332 1 new", "2203.01250 3 replace-cross"]),
        ("rss2_composed_weekend_empty.xml", []),
        ("api_empty_result.atom.xml", []),
        ("api_id_1605.08386.atom.xml", ["1605.08386 1 None"]),
        (
            "rssatom_cs.LG_2026-09-25_trimmed.atom.xml",
            ["2609.28553 1 new", "2402.10149 3 cross", "2401.08875 3 replace"],
        ),
    ],
)
def test_real_documents_are_read(name, expected):
    papers = read(name, REAL)
    assert [f"{p.id} {p.version} {p.announce_type}" for p in papers] == expected
    for paper in papers:
        assert paper.paper_class in {"Physics", "math", "compsci"}
        assert not paper.doc.startswith(("arXiv:", "<p>", "Abstract"))
        assert len(paper.doc) > 20


@real_feeds
def test_a_real_search_agrees_with_another_reading_of_the_same_bytes():
    body = (REAL / "api_search_testing_100.atom.xml").read_bytes()
    atom, arxiv = "{http://www.w3.org/2005/Atom}", "{http://arxiv.org/schemas/atom}"
    entries = ET.fromstring(body).findall(f"{atom}entry")
    papers = parse_feed(body).papers
    assert len(papers) == len(entries) == 100
    for paper, entry in zip(papers, entries, strict=True):
        assert f"http://arxiv.org/abs/{paper.id}v{paper.version}" == entry.findtext(f"{atom}id")
        doc = " ".join(entry.findtext(f"{atom}summary").split())
        if doc.isascii():  # the recording holds some UTF-8 that was read as Latin-1, which is mended
            assert paper.doc == doc
        assert len(paper.authors) == len(entry.findall(f"{atom}author"))
        assert paper.primary == entry.find(f"{arxiv}primary_category").get("term")
        assert paper.published == entry.findtext(f"{atom}published")


@real_feeds
def test_the_real_error_of_the_api_is_told_in_its_words():
    with pytest.raises(UserError, match="incorrect id format for abc"):
        read("api_error_bad_id.atom.xml", REAL)


XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("<>&$\"'\n\\"),
    max_size=60,
)


@given(XML_TEXT)
def test_an_abstract_comes_out_as_it_was_written(text):
    item = ET.Element("item")
    ET.SubElement(item, "guid", isPermaLink="false").text = "oai:arXiv.org:2501.00001v1"
    ET.SubElement(
        item, "description"
    ).text = f"arXiv:2501.00001v1 Announce Type: new \nAbstract: \u0416{text}"
    body = b"<rss version='2.0'><channel>" + ET.tostring(item) + b"</channel></rss>"
    (paper,) = parse_feed(body).papers
    assert paper.doc == " ".join(f"\u0416{text}".split())
    assert msgspec.json.decode(paper.event())["doc"] == paper.doc


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"\x93\x01\xff\xfe", "byte 0 is 0x93"),
        (b"<rss><channel></rss>", r"not well-formed XML: mismatched tag: line 1"),
        (b"<?xml version='1.0'?>\n<rss>\n<a &>", "line 3"),
        (b'{"papers": []}', "not well-formed XML"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body>", "web page"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>", "web page"),
        (b"<kml><Document/></kml>", "no feed: its root is <kml>"),
        (b"<rss><channel><item><x:y/></item></channel></rss>", "unbound prefix"),
        (rss(b"<title>&nbsp;</title>"), "undefined entity"),
        (b"<rss>" + b"<a>" * 100_000, "nested deeper than 100"),
        (b"<rss " + b" ".join(b"a%d='x'" % i for i in range(20_000)) + b"/>", "attributes"),
        (rss(b"<category>a</category>" * 20_000), "categories"),
        (rss(b"<author>" + b"a" * 1_000_000 + b"</author>"), "word of more than"),
        (b"<rss><channel>" + b"<item/>" * (MAX_FEED_ENTRIES + 1), "more than 10,000 entries"),
        (b" " * (MAX_FEED_BYTES + 1), "at most 16,777,216"),
        (rss(b"<title type='html'>&amp;#%s;&lt;/b&gt;</title>" % (b"1" * 5_000)), "cannot be read"),
    ],
)
def test_what_is_no_feed_is_a_data_error_that_says_why(body, message):
    with pytest.raises(DataError, match=message):
        parse_feed(body)


@pytest.mark.parametrize(
    "prolog",
    [
        b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE r [<!ENTITY % a "x"> %a;]>',
        b'<!DOCTYPE r [<!ENTITY a "' + b"x" * 100_000 + b'">]>',
    ],
)
def test_a_document_that_declares_entities_is_refused(prolog):
    with pytest.raises(DataError, match="declares XML entities"):
        parse_feed(prolog + rss(b"<title>&a;</title>"))


def test_a_document_as_deep_as_allowed_is_read():
    depth = MAX_FEED_DEPTH - 3
    body = rss(b"<title>t</title>" + b"<a>" * depth + b"</a>" * depth)
    assert parse_feed(body).papers[0].title == "t"


@pytest.mark.parametrize(
    "unit", [b"a ", b"a@", b"&lt;!--", b"&lt;script&gt;", b"(", b"1", b"&lt;p ", b"\xc3\xa9"]
)
@pytest.mark.parametrize("element", [b"title", b"description", b"author", b"pubDate", b"category", b"link"])
def test_long_texts_cost_time_in_proportion(element, unit):
    text = unit * (100_000 // len(unit))
    started = time.perf_counter()
    with contextlib.suppress(DataError):
        parse_feed(rss(b"<%s>%s</%s>" % (element, text, element)))
    assert time.perf_counter() - started < 5  # quadratic work would take minutes


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "windows-1252"]
)
def test_a_document_is_read_in_the_encoding_it_declares(encoding):
    text = f"<?xml version='1.0' encoding='{encoding}'?>\n" + rss("<title>é</title>".encode()).decode()
    assert parse_feed(text.encode(encoding)).papers[0].title == "é"


def test_the_charset_of_the_answer_comes_before_the_declaration_and_a_byte_order_mark_before_both():
    text = "<?xml version='1.0' encoding='ascii'?><rss><channel><item><title>é</title></item></channel></rss>"
    header = "text/xml; charset=ISO-8859-1"
    assert parse_feed(text.encode("latin-1"), content_type=header).papers[0].title == "é"
    assert parse_feed(codecs.BOM_UTF8 + text.encode(), content_type=header).papers[0].title == "é"


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        ("<rss>é</rss>".encode("latin-1"), "", "not in its encoding, 'utf-8': byte 5 is 0xe9"),
        (b"<?xml version='1.0' encoding='klingon'?><rss/>", "", "'klingon' as its encoding"),
        (b"<rss/>", "application/xml; charset=idna", "'idna' as its encoding"),
        (b"<rss/>", "application/xml; charset=hex", "'hex' as its encoding"),
        (b"\xff\xfe<\x00r\x00s", "", "'utf-16-le'"),
    ],
)
def test_a_wrong_encoding_is_a_data_error_never_a_guess(body, content_type, message):
    with pytest.raises(DataError, match=message):
        parse_feed(body, content_type=content_type)


def test_the_class_follows_from_the_primary_category_as_in_the_data_set():
    expected = {
        "math": "math.AG math alg-geom dg-ga funct-an q-alg",
        "compsci": "cs.LG cs cmp-lg",
        "bio": "q-bio.NC q-bio",
        "finance": "q-fin.RM",
        "Physics": "astro-ph.CO cond-mat gr-qc hep-th nucl-ex quant-ph physics.optics nlin.CD math-ph",
    }
    for name, categories in expected.items():
        assert {class_of(category) for category in categories.split()} == {name}
    assert {class_of(other) for other in ("stat.ML", "econ.GN", "eess.SP", "sports", "", None)} == {None}


def test_the_class_agrees_with_every_paper_of_the_data_set():
    path = ROOT.parent / "shared" / "data" / "arxiv_public.parquet"
    if not path.exists():
        pytest.skip("the data set is not here")
    import polars as pl

    rows = pl.read_parquet(path, columns=["primary", "class"]).unique()
    assert [class_of(primary) for primary in rows["primary"]] == rows["class"].to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://arxiv.org/abs/1605.08386v1", ("1605.08386", 1)),
        ("https://export.arxiv.org/abs/0704.0001", ("0704.0001", None)),
        ("oai:arXiv.org:2509.13332v12", ("2509.13332", 12)),
        ("arXiv:math.GT/0309136v2", ("math/0309136", 2)),
        ("http://arxiv.org/abs/cond-mat/0102536", ("cond-mat/0102536", None)),
        ("http://example.org/abs/1605.08386v1", None),
        ("1605.08386v1", None),
        ("", None),
    ],
)
def test_an_id_is_told_from_its_version(text, expected):
    assert arxiv_id(text) == expected


def test_a_title_without_the_old_ending_is_left_alone():
    assert old_title("Plain title") is None
    assert old_title("Plain (arXiv:nonsense [x])") is None


def test_only_the_api_is_asked_with_its_pause():
    assert is_api_url("http://export.arxiv.org/api/query?search_query=all:x")
    assert not is_api_url("https://rss.arxiv.org/rss/cs.LG")
    assert not is_api_url("http://example.org/?http://arxiv.org/api/")


def test_markup_goes_and_what_only_looks_like_it_stays():
    assert text_of_html("<b>a</b> &lt;b&gt; <x, y> a<b & c>d") == "a <b> <x, y> a<b & c>d"
    assert text_of_html("keep<!-- a --> <!-- open <p>end") == "keep "


def test_commas_in_affiliations_split_no_names():
    assert author_names("A B (X, Y (Z, W)), C D") == ["A B", "C D"]
    assert author_names("A B), , C (D") == ["A B", "C"]
    assert author_names("") == []
