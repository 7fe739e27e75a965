"""What of a route's table may be shown: what hooks are given may hold passwords and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

MORE = "…"
"""Stands for what is not shown."""


def shownURL(url: str) -> str:
    """Where a URL leads: its scheme, host and port; of the rest only that there is more."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
        host = parts.hostname or ""
    except ValueError:
        return MORE
    host = f"[{host}]" if ":" in host else host
    isAll = parts.path in ("", "/") and not parts.query and "@" not in parts.netloc
    return f"{parts.scheme}://{host}{port}{parts.path if isAll else f'/{MORE}'}"


def shownCommand(command: Sequence[str]) -> list[str]:
    """A program; of its arguments only that there are some."""
    return [*command[:1], *([MORE] if len(command) > 1 else [])]


def shownTable(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a route as anybody may see it who may look."""
    health = table.get("health")
    return {**table, "health": _shown(health)} if isinstance(health, dict) else dict(table)


def _shown(health: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(health)
    if isinstance(shown.get("url"), str):
        shown["url"] = shownURL(shown["url"])
    if isinstance(shown.get("command"), list):
        shown["command"] = shownCommand(shown["command"])
    return shown


def restored(table: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """
    A table as it is meant by who was shown another: what is as it was shown is as it was.

    @param before: the other, as it is.
    """
    health, known = table.get("health"), before.get("health")
    if not isinstance(health, dict) or not isinstance(known, dict):
        return dict(table)
    shown = _shown(known)
    same = {
        key: known[key]
        for key in ("url", "command")
        if key in known and health.get(key) == shown[key]
    }
    return {**table, "health": {**health, **same}}
