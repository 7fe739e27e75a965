from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from txgroupsock import primitives

PAGE = Path(__file__).parents[2] / "docs" / "live555.md"
SNIPPET = re.compile(r"`([^`]+)`")
# The last has tests of its own, in tests/test_groupsock_pages.py.
OTHER_SECTIONS = {"Errors", "What needs nothing here", "The Groupsock object"}
CALL = re.compile(r"(\w+)\(((?:[^()]|\(\))*)\)(?: -> (\w+))?")


def rows() -> Iterator[tuple[str, str, str]]:
    """What each row says of C++, of here, and of the difference."""
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and section not in OTHER_SECTIONS:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if cells[1:2] != ["here"]:
                yield (cells[0], cells[1].rstrip("| "), "".join(cells[2:]))


def ours() -> list[str]:
    """Each thing of ours that the tables name."""
    return [each for _, here, _ in rows() for each in SNIPPET.findall(here)]


def test_theTablesAreRead() -> None:
    """Some forty functions are in them."""
    assert len(ours()) >= 40


@pytest.mark.parametrize("text", ours())
def test_whatThePageNamesExistsAsItSays(text: str) -> None:
    """A function takes the parameters that the page gives, with their defaults."""
    call = CALL.match(text)
    if call is None:
        owner, _, attribute = text.partition(".")
        assert attribute in inspect.signature(getattr(primitives, owner)).parameters
        return
    name, parameters, result = call.groups()
    signature = inspect.signature(getattr(primitives, name))
    written = [each.strip() for each in parameters.split(",") if each.strip()]
    keywordOnly = False
    expected = []
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not keywordOnly:
            expected.append("*")
            keywordOnly = True
        default = "" if each.default is each.empty else f"={shown(each.default)}"
        expected.append(f"{each.name}{default}")
    assert written == expected
    assert result is None or result in str(signature.return_annotation)


def shown(default: object) -> str:
    """A default as the page writes it."""
    return getattr(default, "name", None) or repr(default)


def test_thePageNamesEveryFunction() -> None:
    """No function of the primitives is missing from it."""
    page = PAGE.read_text(encoding="utf-8")
    functions = [
        name for name in primitives.__all__ if inspect.isfunction(getattr(primitives, name))
    ]
    assert [name for name in functions if f"`{name}" not in page] == []


def test_thePageNamesEveryError() -> None:
    """With when it is raised."""
    page = PAGE.read_text(encoding="utf-8")
    errors = [name for name in primitives.__all__ if name.endswith(("Error", "Closed", "Here"))]
    assert [
        name for name in errors if f"| `{name}` |" not in page and name != "GroupsockError"
    ] == []


def test_theExampleRuns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands but for the interface, which not every machine has."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(example.replace('"eth0"', '"lo"'), names)
    sock, membership = names["sock"], names["membership"]
    assert isinstance(membership, primitives.Membership)
    assert str(membership) == "232.1.1.1 from 192.0.2.10 on lo"
    sock.close()  # type: ignore[attr-defined]
