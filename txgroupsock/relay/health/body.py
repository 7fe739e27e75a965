"""A request's body of JSON."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class JSONBody:
    """Small enough to be written at once."""

    def __init__(self, value: Any) -> None:
        self._data = json.dumps(value).encode()
        self.length = len(self._data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See C{IBodyProducer}; so are the others."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing left to pause."""

    def resumeProducing(self) -> None:
        """Nor to resume."""

    def stopProducing(self) -> None:
        """Nor to stop."""
