"""Where the parts of a TOML file stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.config.positions import KeyPath, linesOf
from txgroupsock.relay.config.toml import loads

GAPS = ["", "", " ", "\n", '# ] } , = "\n', "\n\t\n# '''\n"]
WRAPS = [
    "{}",
    '"{} ] # \\" \\\\"',
    "'{} ] # \"'",
    '"""{}\n] "" \\""""""',
    "'''{}\n] '' '''''",
    "[{}, [], {{}}]",
]


@define
class Writer:
    """
    Writes a TOML file in which no two keys or values are alike, in whatever style is drawn.

    @ivar text: so far.
    """

    data: st.DataObject
    text: str = ""
    count: int = 0

    def gap(self) -> None:
        self.text += self.data.draw(st.sampled_from(GAPS))

    def unique(self) -> str:
        self.count += 1
        return f"x{self.count:04}x"

    def key(self) -> str:
        part = st.sampled_from(["{}", '"{} . = "', "'{}#'", '"\\u0041{}"'])
        parts = [self.data.draw(part).format(self.unique()) for _ in range(self.number(1, 3))]
        return self.data.draw(st.sampled_from([".", " . "])).join(parts)

    def number(self, least: int, most: int) -> int:
        return self.data.draw(st.integers(least, most))

    def value(self, depth: int) -> None:
        kind = self.number(0, 3 if depth else 1)
        if kind == 2:
            self.text += "["
            for _ in range(self.number(0, 3)):
                self.gap()
                self.value(depth - 1)
                self.gap()
                self.text += ","
            self.gap()
            self.text += "]"
        elif kind == 3:
            self.text += "{ "
            for index in range(self.number(0, 3)):
                self.text += ", " * (index > 0) + f"{self.key()} = "
                self.value(depth - 1)
            self.text += " }"
        elif kind == 1:
            wrap = self.data.draw(st.sampled_from(WRAPS[1:5]))
            self.text += wrap.format(self.unique())
        else:
            self.text += self.data.draw(st.sampled_from(["1979-05-27 07:32:00", "-1.5e3", "true"]))

    def file(self) -> str:
        for _ in range(self.number(0, 6)):
            self.gap()
            self.text += "\n"
            kind = self.number(0, 3)
            if kind == 0:
                self.text += f"[{self.key()}]"
            elif kind == 1:
                self.text += self.data.draw(st.sampled_from(["[[array]]", "[[ array . inner ]]"]))
            else:
                self.text += f"{self.key()} = "
                self.value(2)
            self.text += self.data.draw(st.sampled_from(["\n", " # ] ''' [[x]]\n"]))
        return self.text


def partsOf(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every part of a file as the parser has it."""
    if path:
        yield path, value
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from partsOf(each, (*path, key))


@given(st.data())
def test_everyPartIsFoundWhereItStands(data: st.DataObject) -> None:
    """Whatever the style, each table, key and element has the line on which its text begins."""
    text = Writer(data).file()
    try:
        values = loads(text)
    except ValueError:  # an array that is a table already
        return
    found = linesOf(text)
    lines = text.split("\n")
    parts = dict(partsOf(values))
    assert found.keys() == parts.keys()
    for path, value in parts.items():
        name = re.search("x[0-9]{4}x", path[-1] if isinstance(path[-1], str) else str(value))
        if name is not None and (isinstance(path[-1], str) or isinstance(value, str)):
            assert name[0] in lines[found[path] - 1], (path, found[path])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a = 1", {("a",): 1}),
        (
            "\n\na.b = 1\nc = [\n1,\n2 ]",
            {("a",): 3, ("a", "b"): 3, ("c",): 4, ("c", 0): 5, ("c", 1): 6},
        ),
        (
            "[[a]]\nb = 1\n[[a]]\n[a.c]\nd = 1",
            {
                ("a",): 1,
                ("a", 0): 1,
                ("a", 0, "b"): 2,
                ("a", 1): 3,
                ("a", 1, "c"): 4,
                ("a", 1, "c", "d"): 5,
            },
        ),
    ],
)
def test_linesCountFromOne(text: str, expected: dict[KeyPath, int]) -> None:
    """Lines count from 1, elements of an array from 0; each [[header]] is another element."""
    assert linesOf(text) == expected


@given(st.text("ab.=[]{}\"'#,\n\\ 1", max_size=40))
def test_anyTextIsTaken(text: str) -> None:
    """What is no TOML has no lines that mean anything, but raises nothing and comes to an end."""
    linesOf(text)
