"""Which routes a relay accepts together."""

from __future__ import annotations

import time

import pytest

from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.models.url import URLError

A, B, C, D = (f"udp://239.1.1.{number}:5000" for number in range(1, 5))


def relayOf(*routes: tuple[str, str]) -> RelayModel:
    """A relay of routes from one URL to another."""
    return RelayModel.of([([source], [target]) for source, target in routes])


def test_routesKeepTheirOrder() -> None:
    """A relay has its routes in the order in which they were given."""
    model = relayOf((B, C), (A, D))
    assert [str(each.input) for each in model.routes] == [B, A]


@pytest.mark.parametrize(
    ("routes", "url", "back"),
    [
        ([(A, B), (B, C), (C, A)], A, A),
        ([(A, B), (B, A), (B, C), (C, A)], A, A),
        ([(A, B), (C, D), (B, C), (D, A)], A, A),
        ([(A, "udp://127.0.0.1:6000"), ("udp://:6000", A)], A, A),
    ],
)
def test_aCircleIsRefused(routes: list[tuple[str, str]], url: str, back: str) -> None:
    """Routes that feed each other in a circle are refused, naming an output on it."""
    with pytest.raises(URLError) as caught:
        relayOf(*routes)
    assert caught.value.url in {target for _, target in routes}
    assert "leads back to udp://" in caught.value.problem
    assert url
    assert back


@pytest.mark.parametrize(
    "routes",
    [
        [(A, B), (B, C), (C, D)],
        [(A, B), (B, A)],
        [(A, B), (B, A), (B, C), (C, B)],
        [(A, B), (A, C), (B, A), (B, C), (C, A), (C, B)],
        [(A, B), (A, C), (B, D), (C, D)],
        [(f"{A}?interface=lo", f"{B}?interface=lo"), (f"{B}?interface=x", A)],
        [(A, B), (B, "udp://127.0.0.1:6000"), (B, "udp://127.0.0.2:6000"), ("udp://:6000", C)],
    ],
)
def test_aChainIsNoCircle(routes: list[tuple[str, str]]) -> None:
    """A route may feed another as long as nothing comes back."""
    assert len(relayOf(*routes).routes) == len(routes)


def test_thousandRoutesAreCheckedQuickly() -> None:
    """The check grows with the number of routes, not with its square."""
    routes = [
        (f"udp://239.1.{number // 250}.{number % 250}:5000", f"udp://10.0.0.1:{5001 + number}")
        for number in range(1000)
    ]
    before = time.process_time()
    relayOf(*routes)
    assert time.process_time() - before < 2
