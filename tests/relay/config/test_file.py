"""What a configuration file may say, and what is said about one that is wrong."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from txgroupsock.relay.config.file import (
    MOST_BYTES,
    ConfigurationError,
    ConfigurationFile,
    parseConfiguration,
)
from txgroupsock.relay.engine.model import RelayModel

EXAMPLE = Path(__file__).parents[3] / "docs/relay.example.toml"
A, B, C, D = (f"udp://239.1.1.{number}:5000" for number in range(1, 5))


def problems(text: str) -> list[str]:
    """What is wrong with a file, without its name."""
    with pytest.raises(ConfigurationError) as caught:
        parseConfiguration(text, "x.toml")
    lines = str(caught.value).split("\n")
    assert lines == [str(each) for each in caught.value.problems]
    assert all(each.startswith("x.toml:") for each in lines)
    return [each.removeprefix("x.toml:") for each in lines]


def routeOf(source: str, *targets: str, more: str = "") -> str:
    """A route of a file."""
    return f"[[route]]\nfrom = {source!r}\nto = {list(targets)}\n{more}\n"


# Good files


def test_aFileIsTheSameModelAsACommandLine() -> None:
    """A file with the routes of a command line makes the same model of them."""
    text = routeOf(A, B, "udp://10.0.0.1:5000") + routeOf(C, D)
    expected = RelayModel.of([([A], [B, "udp://10.0.0.1:5000"]), ([C], [D])])
    assert parseConfiguration(text, "").relay == expected


def test_aFileHasNamesAndWorkersAndDisabledRoutes() -> None:
    """A route has the name it is given or else that of its input; those that are off are apart."""
    text = (
        "workers = 3\n"
        + routeOf(A, B, more="name = 'news'")
        + routeOf("udp://10.0.0.1@232.1.1.1:5000?interface=eth0&latency=5ms", B)
        + routeOf(C, D, more="enabled = false")
    )
    model = parseConfiguration(text, "").relay
    assert model.workers == 3
    assert [each.name for each in model.routes] == [
        "news",
        "udp://10.0.0.1@232.1.1.1:5000?interface=eth0",
    ]
    assert [each.name for each in model.disabled] == [C]


def test_oneURLNeedsNoList() -> None:
    """One URL may stand by itself, for the input and for the output."""
    text = f"[[route]]\nfrom = '{A}'\nto = '{B}'\n"
    assert parseConfiguration(text, "").relay == RelayModel.of([([A], [B])])


def test_everyNameIsAnother() -> None:
    """Routes that were given no name and have the same input are numbered, past names given."""
    text = routeOf(A, B) + routeOf(A, C) + routeOf(A, D, more=f"name = '{A} (2)'")
    names = [each.name for each in parseConfiguration(text, "").relay.routes]
    assert names == [A, f"{A} (3)", f"{A} (2)"]


def test_disabledRoutesAreInNobodysWay() -> None:
    """What is off closes no circle, and brings nothing twice."""
    off = "enabled = false"
    text = routeOf(A, B) + routeOf(B, A, more=off) + routeOf(A, B, more=off)
    assert len(parseConfiguration(text, "").relay.disabled) == 2


def test_windowsFilesAreTaken(tmp_path: Path) -> None:
    """A byte order mark and CRLF make no difference, to line numbers neither."""
    path = tmp_path / "relay.toml"
    path.write_bytes(b"\xef\xbb\xbf" + routeOf(A, B).replace("\n", "\r\n").encode())
    assert ConfigurationFile.of(str(path)).read().relay == RelayModel.of([([A], [B])])
    path.write_bytes(b"\xef\xbb\xbf" + routeOf(A, "x").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigurationError) as caught:
        ConfigurationFile.of(str(path)).read()
    assert [each.line for each in caught.value.problems] == [3]


# Problems


SHAPE = "the shape is udp://[source@]address:port[?interface=NAME&...]"
TABLES = "one or more tables, each under its own [[route]]"
WORKERS = "a whole number from 1 to 256"
QUOTES = "texts, URLs too, stand in quotes"
PARTS = "a key has more than 32 parts; none here has more than one"
PLAIN = "is not plain: no control characters, no space at either end"
KEYS = "there are name, from, to, merge, failover, viewers, enabled, health, record"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [f" route is missing; it is {TABLES}; or give it viewers or admin"]),
        ("route = []", [f"1: route: there is none; it is {TABLES}"]),
        (
            f"[route]\nfrom = '{A}'\nto = '{B}'",
            [f"1: route: it is a table, and should be {TABLES}"],
        ),
        ("route = [3]", ["1: route[1]: it is a whole number, and should be a table"]),
        (
            "[[route]]",
            [
                "1: route[1]: from is missing; it is a URL or a list of URLs",
                (
                    "1: route[1]: to is missing; it is a URL or a list of URLs; or give it viewers "
                    "or record"
                ),
            ],
        ),
        (
            routeOf(A, B, more="form = 1\n'a b' = 1"),
            [
                f"4: route[1].form: there is no such key; did you mean from? {KEYS}",
                f'5: route[1]."a b": there is no such key; {KEYS}',
            ],
        ),
        (
            "workers = '2'\n[http]\nport = 80\n" + routeOf(A, B),
            [
                f"1: workers: it is a text, and should be {WORKERS}",
                "2: http: there is no such key; there are workers, route, health, viewers, admin",
            ],
        ),
        (
            "workers = true\n" + routeOf(A, B),
            [f"1: workers: it is true or false, and should be {WORKERS}"],
        ),
        ("workers = 257\n" + routeOf(A, B), [f"1: workers: 257 is not {WORKERS}"]),
        (
            routeOf(A, B, more="enabled = 1"),
            ["4: route[1].enabled: it is a whole number, and should be true or false"],
        ),
        (
            routeOf(A, B, more="name = 1.5"),
            ["4: route[1].name: it is a number with a fraction, and should be a text"],
        ),
        (
            routeOf(A, B, more="name = ''"),
            ["4: route[1].name: it has 0 characters; give it 1 to 200"],
        ),
        (
            routeOf(A, B, more='name = "a\\nb"'),
            [f"4: route[1].name: 'a\\nb' {PLAIN}"],
        ),
        (
            "[[route]]\nfrom = 1979-05-27\nto = []",
            [
                "2: route[1].from: it is a date or a time, and should be a URL or a list of URLs",
                "3: route[1].to: the list is empty; give it a URL",
            ],
        ),
        (
            f"[[route]]\nfrom = '{A}'\nto = [\n  1,\n  'udp://10.0.0.1',\n  '{B}',\n  ['{C}'],\n]",
            [
                "4: route[1].to[1]: it is a whole number, and should be a URL",
                f"5: route[1].to[2]: 'udp://10.0.0.1': it has no port; {SHAPE}",
                "7: route[1].to[4]: it is a list, and should be a URL",
            ],
        ),
        (
            routeOf(
                "tcp://x", "udp://10.0.0.1:5", "udp://10.0.0.1:5?ttl=0", "udp://10.0.0.1:5?ttl=3"
            ),
            [
                f"2: route[1].from: 'tcp://x': tcp:// is not known here; {SHAPE}",
                "3: route[1].to[2]: 'udp://10.0.0.1:5?ttl=0': ttl=0 is not a number from 1 to 255",
                "3: route[1].to[3]: 'udp://10.0.0.1:5?ttl=3': it is there twice; leave one out",
            ],
        ),
        (
            routeOf(A, B, more="name = 'n'") + routeOf(A, B, more="name = 'n'"),
            [
                f"7: route[2].to[1]: '{B}': route 1 brings it all of {A} already; leave one out",
                "8: route[2].name: 'n': route 1 has that name; give each its own",
            ],
        ),
    ],
)
def test_everyProblemHasItsLineAndRemedy(text: str, expected: list[str]) -> None:
    """Each problem is one line: file, line, key, what is wrong and what would be right."""
    assert problems(text) == expected


def test_eachSourceThatIsWrongIsReported() -> None:
    """Of several URLs of an input each is checked, against the first that is right."""
    one, two, none = (f"udp://{each}232.1.1.1:5" for each in ("10.0.0.1@", "10.0.0.2@", ""))
    urls = ["x", one, A, one, none, two, two]
    listed = ",\n".join(f"'{each}'" for each in urls)
    found = problems(f"[[route]]\nfrom = [\n{listed}]\nto = '{B}'")
    assert [re.split("; | or ", each)[0] for each in found] == [
        "3: route[1].from[1]: 'x': it has no scheme",
        f"5: route[1].from[3]: '{A}': a route has one input, and '{one}' is another",
        f"6: route[1].from[4]: '{one}': it is there twice",
        f"7: route[1].from[5]: '{none}': give either one URL without a source",
        f"9: route[1].from[7]: '{two}': it is there twice",
    ]
    assert found[-1].endswith("it is there twice; leave one out")


def test_everyLoopIsReported() -> None:
    """Each output that closes a circle is named where it stands, past outputs that are wrong."""
    one, two = "udp://:6000", "udp://127.0.0.1:6000"
    text = routeOf(A, "udp://x", two) + routeOf(one, A) + routeOf(C, D) + routeOf(D, "?", B)
    text += routeOf(B, C) + routeOf("udp://239.9.9.9:5", "udp://239.9.9.9:5")
    found = problems(text)
    assert [each.partition(": ")[0] for each in found] == ["3", "7", "15", "19", "23"]
    assert f"route[2].to[1]: '{A}': it leads back to {A}, from which it comes" in found[1]
    assert f"route[5].to[1]: '{C}': it leads back to {C}, from which it comes" in found[3]
    assert "it is the input too" in found[4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = udp://x", f"2: not TOML: Invalid value at column 5; {QUOTES}"),
        ("a = [1,\n2,\n\n", f"2: not TOML: Invalid value at the end of the file; {QUOTES}"),
        ("a = 1\na = 2\n", f"2: not TOML: Cannot overwrite a value at column 6; {QUOTES}"),
        ("a = " + "[" * 100_000, " it has lists or tables nested too deeply; none here has to be"),
        (
            "b = 1\na = " + "1" * 9999,
            " a value in it cannot be read, such as a number of thousands of digits",
        ),
        ("b = 1\n" + "a." * 100_000 + "a = 1", f"2: {PARTS}"),
        ("[ " + '"\\"" . ' * 100_000 + "a]", f"1: {PARTS}"),
        ("x = {" + "a." * 100_000 + "a=1}", f"1: {PARTS}"),
    ],
    ids=["value", "end", "twice", "nesting", "digits", "dots", "quoted", "inline"],
)
def test_whatIsNoTOMLIsOneProblem(text: str, expected: str) -> None:
    """Text that is no TOML is refused with its line; none takes long, or much memory."""
    before = time.process_time()
    [found] = problems(text)
    assert found == expected
    assert time.process_time() - before < 2


# Files that cannot be read


def unreadable(path: Path) -> str:
    """Why a file cannot be read."""
    with pytest.raises(ConfigurationError) as caught:
        ConfigurationFile.of(str(path)).read()
    [found] = caught.value.problems
    assert str(found).startswith(f"{path}:")
    return str(found).removeprefix(f"{path}:").strip()


def test_whatCannotBeReadIsOneProblem(tmp_path: Path) -> None:
    """A file that is missing, no file, too large or not UTF-8 is refused with the reason."""
    path = tmp_path / "relay.toml"
    remedy = "check its path, and that this user may read it"
    assert unreadable(path) == f"cannot be read: No such file or directory; {remedy}"
    assert "embedded null" in unreadable(path / "\0")
    assert unreadable(tmp_path) == "it is not a file; give the path of one"
    path.write_bytes(b"#" * MOST_BYTES + b"#")
    assert unreadable(path) == "it is larger than 1,000,000 bytes; is it the right file?"
    path.write_bytes(b"# one\n# two \xff\n")
    assert unreadable(path) == "2: it is not UTF-8, as TOML is; save it as that"
    path.unlink()
    path.symlink_to(path)
    assert "Too many levels of symbolic links" in unreadable(path)


def test_aPipeIsNotWaitedFor(tmp_path: Path) -> None:
    """A pipe, whose opening might never end, is refused."""
    path = tmp_path / "relay.toml"
    os.mkfifo(path)
    assert unreadable(path) == "it is not a file; give the path of one"


def test_aFileMayBeAsLargeAsItMayBe(tmp_path: Path) -> None:
    """A file of the largest size is taken, and that takes seconds at most."""
    path = tmp_path / "relay.toml"
    text = "".join(
        routeOf(f"udp://239.1.{high % 40}.{low}:5000", f"udp://10.0.{high}.{low}:6000")
        for high in range(44)
        for low in range(250)
    )
    path.write_text(text.ljust(MOST_BYTES, "#"))
    before = time.process_time()
    assert len(ConfigurationFile.of(str(path)).read().relay.routes) == 11_000
    assert time.process_time() - before < 20


def test_aFileIsFoundFromElsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that from where the process was; problems have it as it was given."""
    monkeypatch.chdir(tmp_path)
    file = ConfigurationFile.of("relay.toml")
    Path("relay.toml").write_text(routeOf(A, "x"))
    monkeypatch.chdir("/")
    with pytest.raises(ConfigurationError, match=r"^relay\.toml:3: route\[1\]\.to\[1\]: "):
        file.read()
