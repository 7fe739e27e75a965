"""What Prometheus is answered: metrics of the relay, made once for all who ask at a time."""

from __future__ import annotations

from functools import partial

from txgroupsock.relay.admin.answer import Answer
from txgroupsock.relay.admin.metrics import OPENMETRICS_TYPE, MetricsWriter, contentType
from txgroupsock.relay.control.monitor import Monitor


class Exposition:
    """The metrics, in both formats."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._texts = {
            isOpen: monitor.share(partial(self._text, isOpenMetrics=isOpen))
            for isOpen in (False, True)
        }

    async def answer(self, accept: str | None) -> Answer:
        """@param accept: the header of the request."""
        kind = contentType(accept)
        return Answer(await self._texts[kind == OPENMETRICS_TYPE](), kind.encode())

    async def _text(self, *, isOpenMetrics: bool) -> bytes:
        writer = MetricsWriter(isOpenMetrics=isOpenMetrics)
        status, _ = await self._monitor.made(writer.add)
        return writer.text(status)
