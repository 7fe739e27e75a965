"""What a token for routes gives no right to, unless the file says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from txgroupsock.relay.admin.answer import Refusal
from txgroupsock.relay.config.admin import AdminModel

NOTHING: Mapping[str, Any] = MappingProxyType({})


def checkPowers(
    table: dict[str, Any], before: Mapping[str, Any], admin: AdminModel
) -> dict[str, Any]:
    """
    A token is for routes: who has one is not to run programs, to post to anywhere or to have files
    made anywhere.

    It touches the disk, so it is to be called in a thread.

    @param before: what the file, or nobody, said of this route; that may stay.
    @return: the same table, with the real path of a folder to record to.
    @raise Refusal: it asks for what it may not have.
    """
    health, healthBefore = _tableIn(table, "health"), _tableIn(before, "health")
    command = health.get("command")
    if command and command != healthBefore.get("command"):
        raise Refusal(403, "a command for alarms can be given in the configuration file only")
    url = health.get("url")
    if url and url != healthBefore.get("url") and not _isHost(url, admin.hookHosts):
        raise Refusal(
            403,
            "a route given by the API may post alarms only to the hosts in [admin] hookHosts",
        )
    record = _tableIn(table, "record")
    folder = record.get("folder")
    if not isinstance(folder, str) or folder == _tableIn(before, "record").get("folder"):
        return table
    if "\0" in folder or not os.path.isabs(folder):
        return table  # that is refused as it would be in the file
    real = os.path.realpath(folder)
    roots = [os.path.realpath(each) for each in admin.recordingFolders]
    if not any(os.path.commonpath([real, root]) == root for root in roots):
        raise Refusal(
            403,
            "a route given by the API may record only within the folders in [admin] "
            "recordingFolders",
        )
    return {**table, "record": {**record, "folder": real}}


def _tableIn(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else NOTHING


def _isHost(url: object, hosts: tuple[str, ...]) -> bool:
    """Whether a URL leads to one of these: hosts with any port, or with the one that it says."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return False
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    known = {each.lower() for each in hosts}
    return bool(host) and (name in known or f"{name}:{port}" in known)
