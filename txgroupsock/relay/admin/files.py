"""The files of the status page, as they are in the package."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from txgroupsock.relay.admin.answer import Answer

_KINDS = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "png": b"image/png",
}
_HEADERS = {
    # Everything is the relay's own, and no other page may show this one.
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",
}


def pageFiles() -> dict[str, Answer]:
    """Each file by its path: C{"/page.js"}; the page itself is C{"/"}."""
    found = {}
    for each in files(__package__).joinpath("page").iterdir():
        kind = _KINDS.get(each.name.rpartition(".")[2])
        if kind is None:
            continue
        body = each.read_bytes()
        tag = b'"' + hashlib.sha256(body).hexdigest()[:16].encode() + b'"'
        path = "/" if each.name == "index.html" else f"/{each.name}"
        found[path] = Answer(body, kind, headers={**_HEADERS, b"etag": tag})
    return found
