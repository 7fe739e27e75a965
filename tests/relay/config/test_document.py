"""What a configuration says of viewers and of operators, and what is wrong with one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.config.file import ConfigurationError, checkedDocument, parseConfiguration
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.viewers import AllowList, Form, Limits, StreamModel, TCPModel

GROUP = "udp://239.1.1.1:5000?interface=eth0"
NEWS = {"name": "news", "from": GROUP, "viewers": "plain"}
TO = "udp://10.0.0.1:5000"


def configured(**document: Any) -> Configuration:
    """The configuration of a document that is right."""
    return checkedDocument(document, "x")


def problems(**document: Any) -> list[str]:
    """What is wrong with a document."""
    with pytest.raises(ConfigurationError) as caught:
        checkedDocument(document, "x")
    return [f"{each.key}: {each.text}" for each in caught.value.problems]


# Good ones


def test_eachModelIsMadeOnce(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    To read routes makes each input, each output and each route once, so it validates them once.

    Ten thousand routes would take twice as long else, at the start and at each reload.
    """
    made: Counter[type] = Counter()
    for kind in (InputModel, OutputModel, RouteModel):
        make = kind.__init__

        def counting(self: Any, *args: Any, make: Any = make, **kwargs: Any) -> None:
            made[type(self)] += 1
            make(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", counting)
    routes = [
        {"from": f"udp://239.1.1.{number}:5000?latency=5ms&refresh=9s", "to": f"{TO}?ttl=4"}
        for number in range(5)
    ]
    configured(route=routes)
    assert made == {InputModel: 5, OutputModel: 5, RouteModel: 5}


def test_nothingIsServedUnlessAskedFor() -> None:
    """Without their tables there are neither viewers nor operators."""
    found = configured(route=[{"from": GROUP, "to": TO}])
    assert (found.viewers.endpoints, found.admin.endpoints) == ((), ())


def test_bothListenOnLoopbackUnlessToldOtherwise() -> None:
    """Empty tables serve on loopback, allow nothing to be asked for, and let nothing be changed."""
    found = configured(viewers={}, admin={})
    assert found.viewers.endpoints == ("tcp:8080:interface=127.0.0.1",)
    assert found.viewers.allowed == AllowList()
    assert found.viewers.access.isOpen
    assert found.viewers.limits == Limits()
    assert found.admin.endpoints == ("tcp:8088:interface=127.0.0.1",)
    assert found.admin.readers.isOpen
    assert found.admin.tokens == ()


def test_aRouteMayBeForViewers() -> None:
    """A route with viewers is offered by its name; it relays too if it has somewhere to."""
    found = configured(
        route=[
            NEWS,
            {**NEWS, "name": "sport", "to": TO, "viewers": "rtp"},
            {**NEWS, "name": "off", "enabled": False},
        ],
        viewers={},
    )
    stream = InputModel.parse(GROUP)
    assert found.viewers.named == {
        "news": StreamModel(stream),
        "sport": StreamModel(stream, Form.RTP),
    }
    assert [each.name for each in found.relay.routes] == ["sport"]
    assert found.names == ("news", "sport", "off")


def test_everythingAboutViewers() -> None:
    """Every key of the table for viewers has its place in the model."""
    text = """
        [viewers]
        listen = ["tcp:8080", "tcp6:8081"]
        allow = ["239.1.0.0/16?interface=eth0", "[ff3e::/32]:5000"]
        tokens = "correct-horse"
        [viewers.users]
        anna = "secret"
        [viewers.limits]
        viewers = 10
        backlog = "1MiB"
        stallTime = "1min"
        [[viewers.tcp]]
        listen = "tcp:9000"
        stream = "news"
        [[viewers.tcp]]
        listen = ["tcp:9001", "tcp:9002"]
        stream = "udp://239.1.1.2:5000"
        form = "framed"
        [[viewers.tcp]]
        listen = "tcp:9003"
        stream = "news"
        form = "rtp"
        [[route]]
        name = "news"
        from = "udp://239.1.1.1:5000?interface=eth0"
        viewers = "plain"
    """
    found = parseConfiguration(text, "x").viewers
    assert found.endpoints == ("tcp:8080", "tcp6:8081")
    assert found.allowed == AllowList.parse(["239.1.0.0/16?interface=eth0", "[ff3e::/32]:5000"])
    assert found.access.tokens == ("correct-horse",)
    assert found.access.checker is not None
    assert found.limits == Limits(viewers=10, backlog=1024**2, stallTime=60.0)
    framed = StreamModel(InputModel.parse("udp://239.1.1.2:5000"), Form.FRAMED)
    assert found.tcp == (
        TCPModel("tcp:9000", "news"),
        TCPModel("tcp:9001", framed),
        TCPModel("tcp:9002", framed),
        TCPModel("tcp:9003", StreamModel(InputModel.parse(GROUP), Form.RTP)),
    )


def test_operatorsMayBeKeptOut() -> None:
    """With users, only they and who has a token may look; with tokens alone, everybody."""
    found = configured(admin={"tokens": ["correct-horse"]}).admin
    assert found.readers.isOpen
    assert found.tokens == ("correct-horse",)
    found = configured(admin={"tokens": ["correct-horse"], "users": {"anna": "x"}}).admin
    assert found.readers.tokens == ("correct-horse",)
    assert found.readers.checker is not None


def test_equalConfigurationsAreEqual() -> None:
    """A file that says the same again is no change, passwords included."""
    document = {"viewers": {"users": {"anna": "x"}}, "admin": {"users": {"bert": "y"}}}
    assert configured(**document) == configured(**document)
    other = {"viewers": {"users": {"anna": "z"}}, "admin": {"users": {"bert": "y"}}}
    assert configured(**document) != configured(**other)


def test_secretsAreNotShown() -> None:
    """Tokens and passwords are in no text that is made of a configuration."""
    table = {"tokens": "correct-horse", "users": {"anna": "battery-staple"}}
    found = configured(viewers=table, admin=table)
    for text in (repr(found), "\n".join(summary(found))):
        assert "correct" not in text
        assert "battery" not in text


def test_theSummaryTellsOfBoth() -> None:
    """What would be served is told with what may be asked for, and by whom."""
    table = {"allow": "239.1.0.0/16?interface=eth0", "tokens": "correct-horse"}
    tcp = [{"listen": "tcp:9000", "stream": "news"}]
    found = configured(route=[NEWS], viewers={**table, "tcp": tcp}, admin={"users": {"a": "b"}})
    assert summary(found) == [
        "0 routes would run",
        "viewers would be served on tcp:8080:interface=127.0.0.1, to who has a token",
        "  /news is /udp/239.1.1.1:5000",
        "  239.1.0.0/16?interface=eth0 may be asked for",
        "  tcp:9000 gives news",
        (
            "status, API and metrics would be served on tcp:8088:interface=127.0.0.1, to who has "
            "a password; nobody may change routes, as there are no tokens"
        ),
    ]


# Wrong ones


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"viewers": 1}, ["viewers: it is a whole number, and should be a table"]),
        ({"admin": {"listen": []}}, ["admin.listen: the list is empty; give it an endpoint"]),
        (
            {"admin": {"listen": ["tcp:x", 3]}},
            [
                (
                    "admin.listen[1]: 'tcp:x' is no endpoint (port=x: a port is a whole number "
                    "from 0 to 65535); it is one of Twisted's, such as tcp:8080:interface=127.0.0.1"
                ),
                "admin.listen[2]: it is a whole number, and should be an endpoint",
            ],
        ),
        (
            {"admin": {"tokens": "short"}},
            [
                (
                    "admin.tokens: a token has eight characters or more: letters, digits and "
                    "-._~+/ (RFC 6750)"
                )
            ],
        ),
        (
            {"admin": {"users": {"a:b": "c", "d": "", "": "x"}}},
            [
                'admin.users."a:b": a name has at least one character, and no colon (RFC 7617)',
                "admin.users.d: a password is a text, and not an empty one",
                'admin.users."": a name has at least one character, and no colon (RFC 7617)',
            ],
        ),
        (
            {"viewers": {"allow": ["10.0.0.0/8"]}},
            [
                (
                    "viewers.allow[1]: '10.0.0.0/8': 10.0.0.0/8 is not within the multicast "
                    "groups, 224.0.0.0/4 or ff00::/8"
                )
            ],
        ),
        (
            {"viewers": {"limits": {"viewers": 0, "backlog": "2MB", "stallTime": 3, "x": 1}}},
            [
                "viewers.limits.viewers: 0 is not a whole number from 1 to 1000000",
                (
                    'viewers.limits.backlog: 2MB is not a size of 0 bytes or more, such as "2MiB"; '
                    "units are KiB, MiB, GiB"
                ),
                (
                    "viewers.limits.stallTime: it is a whole number, and should be a time of 1ms "
                    'or more, such as "5s", in quotes'
                ),
                (
                    "viewers.limits.x: there is no such key; there are viewers, viewersPerChannel, "
                    "viewersPerAddress, channels, connections, backlog, sendBuffer, blockSize, "
                    "blockTime, lingerTime, "
                    "stallTime, headTime"
                ),
            ],
        ),
        (
            {"viewers": {"tcp": [{"listen": "tcp:1", "stream": "news"}]}},
            ["viewers.tcp[1].stream: no route that has viewers is called 'news'"],
        ),
        (
            {"viewers": {"tcp": [{"stream": "udp://x"}]}},
            [
                "viewers.tcp[1]: listen is missing; it is an endpoint or a list of endpoints",
                (
                    "viewers.tcp[1].stream: 'udp://x': it has no port; the shape is "
                    "udp://[source@]address:port[?interface=NAME&...]"
                ),
            ],
        ),
        (
            {"route": [{"from": GROUP, "viewers": "plain"}], "viewers": {}},
            [
                "route[1]: viewers ask for it by its name, as /NAME; give it one without a slash",
            ],
        ),
        (
            {"route": [{**NEWS, "name": "a/b"}], "viewers": {}},
            [
                (
                    "route[1].name: viewers ask for it by its name, as /NAME; give it one without "
                    "a slash"
                ),
            ],
        ),
        (
            {"route": [{**NEWS, "viewers": "udp"}], "viewers": {}},
            ['route[1].viewers: \'udp\' is not "plain" or "rtp"'],
        ),
        (
            {"route": [NEWS]},
            [": routes have viewers, but there is no [viewers], which says where to listen"],
        ),
        (
            {"route": [{**NEWS, "from": "udp://:5"}], "workers": 2, "viewers": {}},
            [
                (
                    "route[1].viewers: a worker receives this, and only a group can be received "
                    "twice; leave out workers, or give it a group"
                )
            ],
        ),
    ],
)
def test_everyProblemHasItsKeyAndRemedy(document: Any, expected: list[str]) -> None:
    """Everything that is wrong is said, where it is, and how to mend it."""
    assert problems(**document) == expected
