"""Shared access signatures."""

import base64
import hashlib
import hmac
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.http.keys import TokenRefused, check_token, create_token

KEYS = {"send": "c2VjcmV0+/=", "other": "another"}
URL = "http://127.0.0.1:8080/papers"


def _token(resource: str = URL, name: str = "send", key: str = KEYS["send"], expires_s: int = 2_000) -> str:
    return create_token(resource, name, key, expires_s=expires_s)


def _check(token: str, path: str = "papers", now_s: float = 1_000) -> None:
    check_token(token, KEYS, path=path.split("/"), now_s=now_s)


def test_a_token_opens_its_resource_and_what_lies_below():
    _check(_token())
    _check(_token(), "papers/publishers/lab-1")
    _check(_token("http://127.0.0.1:8080"), "papers")
    _check(_token("http://127.0.0.1:8080/"), "anything")


@pytest.mark.parametrize("path", ["news", "paper", "papers2", "publishers/papers"])
def test_a_token_does_not_open_another_hub(path):
    with pytest.raises(TokenRefused, match="not for"):
        _check(_token(), path)


def test_a_token_for_a_publisher_does_not_open_the_hub():
    token = _token(URL + "/publishers/lab-1")
    _check(token, "papers/publishers/lab-1")
    for path in ("papers", "papers/publishers/lab-2", "papers/partitions/0"):
        with pytest.raises(TokenRefused):
            _check(token, path)


def test_a_token_ends_at_its_expiry():
    _check(_token(expires_s=2_000), now_s=1_999.9)
    with pytest.raises(TokenRefused, match="expired"):
        _check(_token(expires_s=2_000), now_s=2_000)


def test_a_token_of_another_key_or_an_unknown_name_is_refused_alike():
    problems = set()
    for name, key in (("send", "wrong"), ("nobody", KEYS["send"]), ("other", KEYS["send"])):
        with pytest.raises(TokenRefused) as caught:
            _check(_token(name=name, key=key))
        problems.add(str(caught.value))
    assert len(problems) == 1


@pytest.mark.parametrize(
    "encode", [lambda url: quote(url, safe=""), quote_plus, lambda url: _lower(quote_plus(url))]
)
@pytest.mark.parametrize(
    "url", [URL, "sb://ns.servicebus.windows.net/papers", "ns.servicebus.windows.net/papers"]
)
def test_a_token_made_by_the_documented_recipe_is_taken_however_it_encodes(encode, url):
    """.NET writes %2f where others write %2F; some clients leave the scheme out, some lower the case."""
    resource = encode(url)
    digest = hmac.new(KEYS["send"].encode(), f"{resource}\n1500".encode(), hashlib.sha256).digest()
    signature = quote_plus(base64.b64encode(digest))
    token = f"SharedAccessSignature sr={resource}&sig={signature}&se=1500&skn=send"
    _check(token)
    _check(token, "Papers")


def _lower(text: str) -> str:
    return text.replace("%2F", "%2f").replace("%3A", "%3a")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "SharedAccessSignature",
        "SharedAccessSignature ",
        "Bearer abc",
        "SharedAccessSignature sr=x&sig=y&se=9",
        "SharedAccessSignature sr=x&sig=y&se=9&skn=send&skn=other",
        "SharedAccessSignature sr=x&sig=y&se=9&skn=",
        "SharedAccessSignature sr=x&sig=y&se=9&skn=send&admin=1",
        "SharedAccessSignature " + "&" * 100_000,
    ],
)
def test_what_is_no_token_is_refused_with_its_form(token):
    with pytest.raises(TokenRefused, match="Authorization header"):
        _check(token)


def test_an_expiry_that_is_no_number_is_refused_even_when_signed():
    for expiry in ("never", "1e9", "-5", "٣٣٣٣٣"):
        token = _token(expires_s=expiry)  # type: ignore[arg-type]
        with pytest.raises(TokenRefused, match="expired"):
            _check(token, now_s=0)


@given(st.integers(min_value=0), st.characters(min_codepoint=33, max_codepoint=255))
def test_changing_any_character_makes_a_token_worthless(place, character):
    token = _token()
    place = len("SharedAccessSignature ") + place % (len(token) - len("SharedAccessSignature "))
    changed = token[:place] + character + token[place + 1 :]
    if unquote(changed) == unquote(token):  # %2b and %2B are one character
        return
    with pytest.raises(TokenRefused):
        _check(changed)


def test_a_refusal_tells_no_secret():
    with pytest.raises(TokenRefused) as caught:
        _check(_token(key="wrong"))
    assert KEYS["send"] not in str(caught.value)
