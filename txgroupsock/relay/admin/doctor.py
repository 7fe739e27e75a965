"""The doctor by HTTP: why a stream does not arrive, or leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from txgroupsock.relay.admin.answer import Answer, Refusal
from txgroupsock.relay.admin.body import valueIn
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.doctor import SECONDS, Host, Patient, examine, reportJSON
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import URLError
from txgroupsock.relay.threads import Threads

MOST_SECONDS: Final = 10.0
"""How long may be listened: the request must be over before its client has lost patience."""

_SHAPE: Final = 'the body is {"url": "udp://…"} or {"route": "NAME"}, with "seconds" if you like'


class DoctorAPI:
    """Examines one stream or route at a time, in a thread, while the relay goes on."""

    def __init__(self, reactor: Any, control: Control) -> None:
        """@param reactor: provides C{IReactorFromThreads}."""
        self._threads = Threads(reactor)
        self._control = control
        self._isBusy = self._isStopped = False

    def close(self) -> None:
        """Have an examination that goes on end at once."""
        self._isStopped = True

    async def examine(self, body: bytes) -> Answer:
        """
        What there is to say about what the body names.

        @raise Refusal: it names nothing, or another examination goes on.
        """
        patients, seconds = self._wanted(body)
        if self._isBusy:
            raise Refusal(409, "another stream is being examined; ask again when that is over")
        self._isBusy, self._isStopped = True, False
        # It runs no programs and looks into none: a service is often forbidden to.
        host = Host(seconds, lambda: self._isStopped, isCommand=False)
        work: Callable[[], Any] = lambda: reportJSON(examine(patients, host))  # noqa: E731 - typed
        try:
            return Answer.json(await self._threads.run(work))
        finally:
            self._isBusy = False

    def _wanted(self, body: bytes) -> tuple[list[Patient], float]:
        try:
            value = valueIn(body)
        except ValueError as error:
            raise Refusal(400, f"{error}; {_SHAPE}") from None
        if not isinstance(value, dict) or ("url" in value) == ("route" in value):
            raise Refusal(400, _SHAPE)
        strange = sorted(value.keys() - {"url", "route", "seconds"})
        if strange:
            raise Refusal(400, f"unknown key {strange[0]!r}; {_SHAPE}")
        seconds = value.get("seconds", SECONDS)
        isNumber = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not isNumber or not 0 < seconds <= MOST_SECONDS:
            raise Refusal(400, f"seconds is a number above 0 and up to {MOST_SECONDS:g}")
        name = value.get("url", value.get("route"))
        if not isinstance(name, str):
            raise Refusal(400, _SHAPE)
        return (self._named(name) if "url" in value else self._ofRoute(name)), float(seconds)

    def _named(self, url: str) -> list[Patient]:
        try:
            return [Patient(InputModel.parse(url))]
        except URLError as error:
            raise Refusal(400, str(error)) from None

    def _ofRoute(self, name: str) -> list[Patient]:
        relay = self._control.configuration.relay
        for each in (*relay.routes, *relay.disabled):
            if each.name == name:
                return [Patient(each.input, each.outputs)]
        raise Refusal(404, f"there is no route called {name!r}")
