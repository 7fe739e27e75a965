"""The JSON schema of the configuration file, and the files that stand beside it in docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.relay.models.test_udp import URLS
from txgroupsock.relay.config.file import parseConfiguration
from txgroupsock.relay.config.keys import FILE
from txgroupsock.relay.config.schema import schema, schemaText
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.config.toml import loads
from txgroupsock.relay.models.url import StreamURL, URLError

DOCS = Path(__file__).parents[3] / "docs"
VALIDATOR = Draft7Validator(schema())
GOOD = {"from": "udp://239.1.1.1:5000", "to": ["udp://10.0.0.1:5000"]}


def test_itIsASchema() -> None:
    """It is a schema of draft 7, and docs have it as --schema prints it."""
    Draft7Validator.check_schema(schema())
    assert json.loads(schemaText()) == schema()
    assert (DOCS / "relay.schema.json").read_text() == schemaText()


def test_theExampleIsGood() -> None:
    """The example in docs is right, by the schema too, and names that for editors."""
    text = (DOCS / "relay.example.toml").read_text()
    assert text.startswith("#:schema relay.schema.json\n")
    VALIDATOR.validate(loads(text))
    model = parseConfiguration(text, "relay.example.toml").relay
    assert [each.name for each in model.routes + model.disabled] == [
        "news",
        "sports",
        "contribution",
        "studio",
    ]


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"route": []},
        {"route": GOOD},
        {"route": [GOOD], "rout": 1},
        {"route": [GOOD], "workers": 0},
        {"route": [GOOD], "workers": "2"},
        {"route": [{**GOOD, "name": ""}]},
        {"route": [{**GOOD, "enabled": "yes"}]},
        {"route": [{**GOOD, "to": []}]},
        {"route": [{**GOOD, "to": [1]}]},
        {"route": [{**GOOD, "to": "tcp://10.0.0.1:5"}]},
        {"route": [{**GOOD, "to": "udp://10.0.0.1"}]},
        {"route": [{"to": "udp://10.0.0.1:5"}]},
        {"route": [{**GOOD, "form": 1}]},
        {"route": [{**GOOD, "merge": {"window": "50"}}]},
        {"route": [{**GOOD, "merge": {"by": {"offset": 4}}}]},
        {"route": [{**GOOD, "merge": {"loss": 1}}]},
        {"route": [{**GOOD, "from": [["udp://10.0.0.1:5", 1]], "merge": {}}]},
        {"route": [{**GOOD, "failover": {"boundary": "gop"}}]},
        {"route": [{**GOOD, "failover": {"window": "50ms"}}]},
    ],
)
def test_itRefusesWhatTheRelayRefuses(file: dict[str, Any]) -> None:
    """What is plainly wrong is so for an editor, too."""
    assert not VALIDATOR.is_valid(file)


SCALARS = (
    st.none() | st.booleans() | st.integers(-1, 300) | st.floats(1.5, 1.6) | st.just("udp://x:5")
)
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=2, unique_by=repr) | st.dictionaries(st.just("a"), SCALARS)
)
NUMBERS = st.fixed_dictionaries(
    {}, optional={"offset": SCALARS, "width": st.integers(0, 9), "byteorder": st.just("big")}
)
REDUNDANCY = st.fixed_dictionaries(
    {},
    optional={
        "window": st.sampled_from(["50ms", "50"]),
        "by": st.sampled_from(["rtp", "RTP", 1]) | NUMBERS,
        "limit": SCALARS,
        "loss": SCALARS | st.floats(0, 1),
        "boundary": st.sampled_from(["ts-unit", "gop"]),
        "return": st.sampled_from(["10s", 10]),
    },
)
LEGS = st.lists(VALUES, max_size=3, unique_by=repr)
ROUTES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "to", "enabled", "other"), VALUES),
        "from": VALUES | LEGS,
        "merge": VALUES | REDUNDANCY,
        "failover": REDUNDANCY,
    },
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "workers": VALUES,
        "route": st.just([GOOD]) | VALUES | st.lists(ROUTES, max_size=2),
        "other": VALUES,
    },
)


@given(FILES)
@example({"route": [GOOD], "workers": True})
def test_itAgreesWithTheCheck(file: dict[str, Any]) -> None:
    """A file of any types and keys is right for an editor if and only if it is for the relay."""
    assert VALIDATOR.is_valid(file) == (not list(FILE.check(file, ())))


@given(URLS)
def test_everyURLIsRightForTheSchema(url: str) -> None:
    """What the relay takes for a URL the schema does not refuse."""
    try:
        StreamURL.parse(url)
    except URLError:
        return
    VALIDATOR.validate({"route": [{"from": url, "to": url}]})


def test_theSummaryIsInPlainWords() -> None:
    """--check says in words what would run, in order."""
    model = parseConfiguration(
        """
        workers = 2
        [[route]]
        name = "news"
        from = [
            "udp://10.0.0.1@232.1.1.1:5000?interface=lo",
            "udp://10.0.0.2@232.1.1.1:5000?interface=lo",
        ]
        to = [
            "udp://10.0.0.3:5000",
            "udp://10.0.0.9@239.2.2.2:5000?interface=eth1&ttl=8&dscp=EF&rate=1.5M",
        ]
        [[route]]
        from = "udp://:5001?latency=5ms"
        to = "udp://camera.example:5001"
        [[route]]
        from = "udp://[::1]:5002"
        to = "udp://[ff15::1]:5002"
        enabled = false
        """,
        "",
    )
    assert summary(model) == [
        "2 routes would run, shared out among 2 processes",
        "route news",
        "  from group 232.1.1.1 port 5000, joined on lo, heard from 10.0.0.1 and 10.0.0.2",
        "  to 10.0.0.3 port 5000",
        (
            "  to 239.2.2.2 port 5000, by eth1, from 10.0.0.9, with TTL 8, marked DSCP 46, "
            "at most 1.5 Mbit/s"
        ),
        "route udp://0.0.0.0:5001",
        "  from every IPv4 address of this host, port 5001, gathering for 5 ms under load",
        "  to camera.example port 5001",
        "route udp://[::1]:5002 (disabled: would not run)",
        "  from ::1 port 5002 of this host",
        "  to ff15::1 port 5002",
    ]
