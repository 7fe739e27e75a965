"""What a configuration file says of health is taken, or refused with line, key and remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.relay.app.test_tap import parsed
from tests.relay.app.test_tap_config import refused
from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.config.file import ConfigurationError, parseConfiguration
from txgroupsock.relay.config.health import HEALTH, healthOf
from txgroupsock.relay.config.schema import schema
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.config.toml import loads
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.health import HealthModel, HookModel, Thresholds

DOCS = Path(__file__).parents[3] / "docs"
ROUTE = """[[route]]
name = "news"
from = "udp://239.1.1.1:5000?interface=lo"
to = "udp://127.0.0.1:9"
"""
OTHER = ROUTE.replace("news", "other").replace("5000", "5001")
EVERYTHING = """
[health]
rtp = false
ts = true
clockRates = { 97 = 48000, 10 = 44100 }
silence = "2s"
leastBitRate = "1.5M"
mostBitRate = false
kernelDrops = 5
rtpLoss = "0.5%"
jitter = "30ms"
continuityErrors = false
syncByteErrors = 1
transportErrors = 2
missing = false
pcrJitter = "500us"
scrambled = true
raiseAfter = "3s"
clearAfter = "1min"
command = ["logger", "-t", "the news"]
url = "http://127.0.0.1:9000/alarm"
"""
ALL = HealthModel(
    Thresholds(
        silence=2,
        leastBitRate=1.5e6,
        mostBitRate=None,
        kernelDrops=5,
        rtpLoss=0.005,
        jitter=30,
        continuityErrors=None,
        syncByteErrors=1,
        transportErrors=2,
        missing=False,
        pcrJitter=0.5,
        scrambled=True,
        raiseAfter=3,
        clearAfter=60,
    ),
    False,
    True,
    ((10, 44100), (97, 48000)),
    HookModel(("logger", "-t", "the news"), "http://127.0.0.1:9000/alarm"),
)


def configured(text: str) -> Configuration:
    """What a file says, which its schema takes, too."""
    Draft7Validator(schema()).validate(json.loads(json.dumps(loads(text))))
    return parseConfiguration(text, "relay.toml")


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigurationError) as caught:
        parseConfiguration(text, "f")
    return [str(each).removeprefix("f:") for each in caught.value.problems]


def test_eachThresholdIsAKey() -> None:
    """There is a key for everything that Thresholds has, and for the rest of the model."""
    limits = {each.name for each in fields(Thresholds)}
    names = {each.name for each in HEALTH.keys}
    assert names == limits | {"rtp", "ts", "clockRates", "command", "url"}


def test_withoutATableThereIsNone() -> None:
    """A route has no health unless somebody asks for it."""
    assert [each.health for each in configured(ROUTE).relay.routes] == [None]
    off = configured(ROUTE + "health = false\n[health]\n")
    assert [each.health for each in off.relay.routes] == [None]


@pytest.mark.parametrize("how", ["health = true\n", "health = {}\n", "[health]\n"])
def test_usualLimits(how: str) -> None:
    """An empty table, of the route or of all, and true, mean the usual limits."""
    assert [each.health for each in configured(ROUTE + how).relay.routes] == [HealthModel()]


def test_everything() -> None:
    """Each key comes to the model, in the units of that; and goes to a worker and back."""
    [route] = configured(ROUTE + EVERYTHING).relay.routes
    assert route.health == ALL
    assert RouteModel.fromJSON(json.loads(json.dumps(route.toJSON()))) == route


def test_aRouteOverridesSingleKeys() -> None:
    """What a route does not say is as [health] has it; false is none."""
    own = 'health = { silence = false, jitter = "1ms", command = false, url = false }\n'
    route, other = configured(ROUTE + own + OTHER + EVERYTHING).relay.routes
    assert route.health is not None
    assert route.health.thresholds.silence is None
    assert route.health.thresholds.jitter == 1
    assert route.health.thresholds.rtpLoss == 0.005
    assert route.health.hooks == HookModel()
    assert other.health == ALL


def test_mistakesHaveLineKeyAndRemedy() -> None:
    """Each is one line, which says what would be right."""
    text = (
        ROUTE
        + 'health = "yes"\n'
        + OTHER
        + 'health = { jiter = "1ms", command = "logger -t news" }\n'
        + "[health]\n"
        + "silence = 1\n"
        + 'rtpLoss = "1"\n'
        + "kernelDrops = -1\n"
        + "rtp = 1\n"
        + 'command = ["", 3]\n'
        + 'url = "ftp://127.0.0.1/x"\n'
        + "clockRates = { 128 = 48000, 97 = 0 }\n"
        + 'raiseAfter = "forever"\n'
    )
    keys = ", ".join(each.name for each in HEALTH.keys)
    program = 'a list of a program and its arguments, such as ["logger", "-t", "news"]'
    none = "or false, for none"
    assert problems(text) == [
        "5: route[1].health: it is a text, and should be a table; or true or false",
        f"10: route[2].health.jiter: there is no such key; did you mean jitter? there are {keys}",
        (f"10: route[2].health.command: it should be {program}; no shell reads it; {none}"),
        (
            "12: health.silence: it is a whole number, and should be a time of 1ms or more, such "
            f'as "5s", in quotes; {none}'
        ),
        (
            '13: health.rtpLoss: 1 is not a share from 0% to 100%, such as "0.5%"; units are %; '
            f"{none}"
        ),
        f"14: health.kernelDrops: -1 is not a whole number from 0 to 1000000000; {none}",
        "15: health.rtp: it is a whole number, and should be true or false",
        "16: health.command[1]: it should be a text in quotes, and the first not empty",
        "16: health.command[2]: it should be a text in quotes, and the first not empty",
        (
            "17: health.url: it should be a URL to post to, such as "
            f'"http://127.0.0.1:9000/alarm"; http:// and https:// only; {none}'
        ),
        "18: health.clockRates.128: it is no RTP payload type; these are 0 to 127 (RFC 3550)",
        "18: health.clockRates.97: 0 is not a whole number from 1 to 1000000000",
        '19: health.raiseAfter: forever is not a time, such as "3s"',
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(
    st.none()
    | VALUES
    | st.dictionaries(st.sampled_from([each.name for each in HEALTH.keys]), VALUES),
    st.none() | VALUES,
)
def test_whateverIsSaidThereIsAModel(common: object, own: object) -> None:
    """What is wrong has been reported, and is left out of the model."""
    assert isinstance(healthOf(common, own), HealthModel | None)


def test_checkSaysIt() -> None:
    """--check prints what is looked at, what raises alarms, and who is told."""
    lines = summary(configured(ROUTE + EVERYTHING))
    [line] = [each for each in lines if "health" in each]
    assert line == (
        "  health: gaps and TS; alarms for 2 s of silence, less than 1.5 Mbit/s, more than 5 "
        "kernel drops a second, RTP loss over 0.5 %, jitter over 30 ms, more than 1 sync byte "
        "errors a second, more than 2 transport errors a second, PCR jitter over 0.5 ms, "
        "scrambling; "
        "told to logger …; told to http://127.0.0.1:9000/…"
    )
    assert not [each for each in summary(configured(ROUTE)) if "health" in each]


def test_theExamplesOfTheDocumentationAreRight() -> None:
    """That of docs/health.md, and the file that shows all keys."""
    [example] = re.findall(r"```toml\n(.*?)```", (DOCS / "health.md").read_text(), re.DOTALL)
    [route] = configured(example).relay.routes
    assert route.health is not None
    limits = route.health.thresholds
    assert (limits.jitter, limits.leastBitRate, limits.rtpLoss) == (30, 2e6, 0.001)
    [news, _] = configured((DOCS / "relay.example.toml").read_text()).relay.routes
    assert news.health is not None
    assert news.health.hooks.command == ("logger", "-t", "relay")


def test_theCommandLineHasAFlag() -> None:
    """--health looks at all routes, and is not for files and --demo, which have their own."""
    routes = ["--from=udp://127.0.0.1:5000", "--to=udp://127.0.0.1:9"]
    [route] = parsed(*routes, "--health")["configuration"].relay.routes
    assert route.health == HealthModel()
    [route] = parsed(*routes)["configuration"].relay.routes
    assert route.health is None
    assert "leave out --health" in refused("--config=x.toml", "--health")
    assert "--demo has streams of its own" in refused("--demo", "--health")


def test_whatViewersAskForHasItWhileItIsReceived() -> None:
    """The health of a route is looked at where it is received: by the route, or its channel."""
    viewers = ROUTE + 'viewers = "plain"\n[viewers]\n[health]\n'
    configuration = configured(viewers)
    stream = configuration.viewers.named["news"]
    assert getattr(stream, "health", 0) is None
    configuration = configured(viewers.replace('to = "udp://127.0.0.1:9"\n', ""))
    assert getattr(configuration.viewers.named["news"], "health", None) == HealthModel()
    assert any("health, while it is watched: gaps" in each for each in summary(configuration))
