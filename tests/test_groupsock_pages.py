"""What docs/live555.md and docs/groupsock.md say of Groupsock is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs
import pytest

import txgroupsock
from txgroupsock.groupsock.interfaces import IGroupsock

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "groupsock.md").read_text(encoding="utf-8")
SECTION = (DOCS / "live555.md").read_text(encoding="utf-8").split("## The Groupsock object")[1]
NAME = re.compile(r"`((?:Groupsock|SessionDestination|Traffic)\w*(?:\.\w+)?)(\([^`]*\))?`")


def ours() -> list[tuple[str, str]]:
    """Each thing of ours that the table names, with its parameters if they are given."""
    rows = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line[:2] == "| "]
    return [found for row in rows[1:] for found in NAME.findall(" ".join(row[1:]))]


def parametersOf(thing: object) -> str:
    """As the page writes them."""
    written = []
    keywordOnly = False
    for each in inspect.signature(thing).parameters.values():  # type: ignore[arg-type]
        if each.kind is each.KEYWORD_ONLY and not keywordOnly:
            written.append("*")
            keywordOnly = True
        star = "**" if each.kind is each.VAR_KEYWORD else ""
        default = "" if each.default is each.empty else f"={each.default}"
        written.append(f"{star}{each.name}{default}")
    return ", ".join(each for each in written if each != "self")


@pytest.mark.parametrize(("name", "parameters"), ours())
def test_whatThePageNamesExistsAsItSays(name: str, parameters: str) -> None:
    """A class, a method with its parameters and their defaults, or an attribute."""
    owner, _, member = name.partition(".")
    thing = getattr(txgroupsock, owner)
    if member:
        known = {*dir(thing), *(IGroupsock if owner == "Groupsock" else ())}
        known |= {each.name for each in attrs.fields(thing)} if attrs.has(thing) else set()
        known |= {"statistics"} if owner == "GroupsockLookupTable" else set()
        assert member in known
        thing = getattr(thing, member, None)
    if parameters:
        assert parameters.strip("()") == parametersOf(thing).replace("'", "")


def test_thePageNamesEveryMember() -> None:
    """Of the interface; what LIVE555 does not have is in the guide."""
    named = {name.partition(".")[2] for name, _ in ours()}
    for name in IGroupsock:
        assert name in named or f"`{name}" in GUIDE or name in {"family", "isOpen"}, name


def test_theGuideNamesTheArguments() -> None:
    """As they are."""
    assert "`Groupsock(reactor, group, port, received=None, *, source=None, ttl=255," in GUIDE
    (relay, table) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len([line for line in relay.splitlines() if line]) <= 10
    compile(table, "table", "exec")
