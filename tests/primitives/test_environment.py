from __future__ import annotations

import pytest

from txgroupsock.primitives import Environment, NoReuse


def test_anEnvironmentBeginsAsLIVE555sDoes() -> None:
    """Ports are shared, and everything else is left to the routes."""
    env = Environment()
    assert env.reuseFlag is True
    assert env.sendingInterface is None
    assert env.receivingInterface is None
    assert env.interfaceBindToDevice is None
    assert env.ourAddresses == {}


def test_noReuseHoldsWhileItIsEntered() -> None:
    """The flag is off inside, and what it was before outside."""
    env = Environment()
    with NoReuse(env) as entered:
        assert entered is env
        assert env.reuseFlag is False
    assert env.reuseFlag is True


def test_noReuseNests() -> None:
    """Leaving the inner one does not end the outer one, as it does in LIVE555."""
    env = Environment()
    with NoReuse(env):
        with NoReuse(env):
            assert env.reuseFlag is False
        assert env.reuseFlag is False
    assert env.reuseFlag is True


def test_oneNoReuseMayBeEnteredTwice() -> None:
    """The object keeps what was before each entry."""
    env = Environment()
    noReuse = NoReuse(env)
    with noReuse:
        with noReuse:
            assert env.reuseFlag is False
        assert env.reuseFlag is False
    assert env.reuseFlag is True


def test_noReuseRestoresAFlagThatWasOff() -> None:
    """What was off stays off; LIVE555 turns it on."""
    env = Environment(reuseFlag=False)
    with NoReuse(env):
        pass
    assert env.reuseFlag is False


def test_noReuseEndsWithAnException() -> None:
    """The exception passes through, and the flag is restored."""
    env = Environment()
    with pytest.raises(ZeroDivisionError), NoReuse(env):
        raise ZeroDivisionError
    assert env.reuseFlag is True


def test_environmentsShareNothing() -> None:
    """Another environment keeps its flag, its interfaces and what it knows of addresses."""
    one, other = Environment(), Environment()
    with NoReuse(one):
        assert other.reuseFlag is True
    one.receivingInterface = "lo"
    assert other.receivingInterface is None
    assert one.ourAddresses is not other.ourAddresses
    assert one != other
