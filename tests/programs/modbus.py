"""Pymodbus 2, whose asynchronous servers and clients are Twisted's, over TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymodbus.client.asynchronous.twisted import ModbusClientProtocol
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.asynchronous import StartTcpServer
from twisted.internet.protocol import ClientCreator

from tests.programs.support import HOST

PORT = 4502


async def main(reactor: Any, folder: Path) -> list[object]:
    """Coils and registers are written and read, and a register that is not there."""
    slave = ModbusSlaveContext(
        **{kind: ModbusSequentialDataBlock(0, [17] * 100) for kind in ("di", "co", "hr", "ir")}
    )
    context = ModbusServerContext(slaves=slave, single=True)
    StartTcpServer(context, address=(HOST, PORT), defer_reactor_run=True)
    client = await ClientCreator(reactor, ModbusClientProtocol).connectTCP(HOST, PORT)
    await client.write_registers(0, [1, 2, 3], unit=1)
    await client.write_coil(5, True, unit=1)
    return [
        (await client.read_holding_registers(0, 4, unit=1)).registers,
        (await client.read_coils(5, 1, unit=1)).bits[0],
        str(await client.read_holding_registers(1000, 1, unit=1)),
    ]
