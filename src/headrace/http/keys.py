"""Shared access signatures: tokens that prove the knowledge of a key without carrying it.

The form is that of Azure Event Hubs, so that its clients work as they are:
``SharedAccessSignature sr=<resource>&sig=<signature>&se=<expiry>&skn=<key name>``, where the signature is the
HMAC-SHA256, under the key as text, of the URL-encoded resource, a newline and the expiry in Unix seconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

from headrace.errors import UserError

_SCHEME: Final = "sharedaccesssignature"
_FIELDS: Final = {"sr", "sig", "se", "skn"}
_EXPIRY: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

#: Tokens are some 200 characters; nobody needs a server to parse a megabyte before it says no.
_MAX_TOKEN_CHARS: Final = 4096


class TokenRefused(UserError):
    """A token that does not open what is asked for; the message says why, and tells no secret."""


def create_token(resource: str, key_name: str, key: str, *, expires_s: int) -> str:
    """Return a token for `resource` and all below it, good until the Unix time `expires_s`.

    `resource` is a URL such as ``http://host/papers``, or without a path for every hub of the server.
    """
    encoded = quote(resource, safe="")
    signature = quote(_signature(encoded, str(expires_s), key), safe="")
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expires_s}&skn={quote(key_name, safe='')}"


def check_token(token: str, keys: Mapping[str, str], *, path: Sequence[str], now_s: float) -> None:
    """Raise `TokenRefused` unless the token was made with one of `keys` for `path` or something above it.

    `keys` maps key names to keys; `path` are the decoded segments of the URL that is asked for. The host in
    the token is not compared: a server behind a proxy does not know its names, and a caller chooses the Host
    header anyway. Case does not count in the path, since Azure's own clients send it in lower case.
    """
    fields = _fields(token)
    # An unknown name takes the same time as a wrong signature.
    known = keys.get(unquote(fields["skn"]))
    wanted = _signature(fields["sr"], fields["se"], known or secrets.token_hex())
    given = unquote(fields["sig"], errors="replace")
    if not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")) or known is None:
        raise TokenRefused(
            "the signature does not match: check the key, its name and the URL it was made for"
        )
    if not _EXPIRY.fullmatch(fields["se"]) or now_s >= int(fields["se"]):
        raise TokenRefused("the token has expired: make a new one")
    granted = _segments(unquote(fields["sr"], errors="replace"))
    if [part.casefold() for part in path[: len(granted)]] != granted:
        raise TokenRefused(f"the token is for /{'/'.join(granted)}, not for /{'/'.join(path)}")


def _fields(token: str) -> dict[str, str]:
    scheme, _, text = token.partition(" ")
    pairs = [part.partition("=")[::2] for part in text.strip().split("&")]
    fields = dict(pairs)
    whole = len(token) <= _MAX_TOKEN_CHARS and scheme.casefold() == _SCHEME
    if not (whole and fields.keys() == _FIELDS and len(pairs) == len(_FIELDS) and all(fields.values())):
        raise TokenRefused(
            "send an Authorization header like 'SharedAccessSignature sr=...&sig=...&se=...&skn=...'"
        )
    return fields


def _signature(resource: str, expiry: str, key: str) -> str:
    text = f"{resource}\n{expiry}".encode("utf-8", "replace")
    return base64.b64encode(hmac.digest(key.encode(), text, hashlib.sha256)).decode("ascii")


def _segments(resource: str) -> list[str]:
    """Return the path segments of a URL, whose scheme may be left out, in one case."""
    place = re.sub(r"^[a-z][a-z0-9+.-]*://", "", resource, flags=re.IGNORECASE)
    return [part.casefold() for part in place.split("/")[1:] if part]
