"""Whatever a configuration file holds, it is taken, or everything wrong with it is said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.config.test_file import EXAMPLE
from txgroupsock.relay.config import document
from txgroupsock.relay.config.file import (
    ConfigurationError,
    ConfigurationFile,
    Problem,
    parseConfiguration,
)
from txgroupsock.relay.config.positions import KeyPath


def problemsIn(text: str) -> Sequence[Problem]:
    """What is wrong with a file, if anything is."""
    try:
        parseConfiguration(text, "x.toml")
    except ConfigurationError as error:
        return error.problems
    return ()


@define
class Mistakes:
    """
    Writes a file, and keeps account of what is wrong in it.

    @ivar wrong: the line and key of each mistake.
    """

    data: st.DataObject
    lines: list[str]
    wrong: list[tuple[int, str]]

    def line(self, key: str, good: str, *bad: str) -> None:
        """A line that is right or wrong."""
        isWrong = self.data.draw(st.booleans())
        self.lines.append(self.data.draw(st.sampled_from(bad)) if isWrong else good)
        if isWrong:
            self.wrong.append((len(self.lines), key))


@given(st.data())
def test_everyMistakeIsReportedAndNothingElse(data: st.DataObject) -> None:
    """However many mistakes there are, each is reported once, at its line, and nothing besides."""
    made = Mistakes(data, [], [])
    made.line("workers", "workers = 1", "workers = 0", "workers = []", "workers = nan")
    for route in range(1, data.draw(st.integers(1, 4)) + 1):
        at = f"route[{route}]"
        made.lines.append("[[route]]")
        made.line(f"{at}.name", f"name = 'r{route}'", "name = ''", "name = 07:32:00", "name = {}")
        made.line(
            f"{at}.from",
            f"from = 'udp://239.1.1.{route}:5000?interface=lo'",
            "from = ''",
            "from = 'udp://[ff15::1:5000'",
            "from = 1e5",
            "from = []",
            "from = 'udp://239.1.1.1:5000?ttl=3'",
        )
        made.lines.append("to = [")
        for output in range(1, data.draw(st.integers(1, 3)) + 1):
            made.line(
                f"{at}.to[{output}]",
                f"'udp://10.0.{route}.{output}:5000',",
                "'udp://0.0.0.0:5000',",
                "3,",
                "[],",
                "{ url = 'udp://10.0.0.1:5000' },",
                "'udp://10.0.0.1:99999',",
                "'udp://10.0.0.1:5?dscp=EG',",
                "'\\', # ' ]",
            )
        made.lines.append("]")
        made.line(f"{at}.enabled", "enabled = true", "enabled = 'no'", "enabled = 1979-05-27")
        if data.draw(st.booleans()):
            made.lines.append("[[nonsense]]  # ] \" '''")
            if not any(key == "nonsense" for _, key in made.wrong):
                made.wrong.append((len(made.lines), "nonsense"))
    found = problemsIn("\n".join(made.lines))
    assert [(each.line, each.key) for each in found] == made.wrong


@given(st.data())
def test_noTextRaisesAnythingElse(data: st.DataObject) -> None:
    """A file in which anything was changed is taken, or refused with problems of a line each."""
    text = EXAMPLE.read_text()
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text)))
        piece = st.text(max_size=3) | st.sampled_from(
            ['"', "'", "[[", "]", "\n", "from = ", "{", "route", "&", "udp://", "true", "name.x = "]
        )
        text = text[:at] + data.draw(piece) + text[at + data.draw(st.integers(0, 20)) :]
    for each in problemsIn(text):
        assert each.line is None or 1 <= each.line <= text.count("\n") + 1
        assert len(str(each).splitlines()) == 1
        assert each.text


@given(st.binary(max_size=200))
def test_noBytesRaiseAnythingElse(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever bytes a file has, it is refused as any other."""
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        ConfigurationFile.of(str(path)).read()


@pytest.mark.parametrize(
    "elements", ["1", "'udp://10.0.0.1:5?rate=x'"], ids=["noTexts", "refusedURLs"]
)
def test_ofVeryManyMistakesTheFirstAreTold(elements: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 mistakes there are 100, and a last line says so; it looks at the list once."""
    looks: list[str] = []
    look = document.textsIn

    def counted(table: document.Document, key: str) -> list[tuple[KeyPath, str]]:
        looks.append(key)
        return look(table, key)

    monkeypatch.setattr(document, "textsIn", counted)
    listed = 5000 * f"{elements},\n"
    text = f"[[route]]\nfrom = 'udp://:5000'\nto = [\n{listed}]\n"
    found = problemsIn(text)
    assert [each.line for each in found] == [*range(4, 104), None]
    assert str(found[-1]).startswith("x.toml: more than these 100 things are wrong")
    assert looks.count("to") <= 2


def test_whatIsSaidOfOneThingIsShort() -> None:
    """A key or a URL that is nearly the whole file is not all repeated; its ends are."""
    text = f"{'k' * 5000} = 1\n[[route]]\nfrom = 'udp://{'x' * 5000}:5?rate=1'\n"
    for each in problemsIn(text):
        assert len(str(each)) < 3000
        assert each.text[-1] != "x"
