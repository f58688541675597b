"""A Modbus machine of pymodbus, in a process of its own, so that it can be killed.

    modbus_server.py tcp|rtu|ascii PORT
    modbus_server.py serial DEVICE

Units 1 and 2 have a hundred of everything; holding registers count from 1000 and 2000 at 0.
"""

import asyncio
import logging
import sys

from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

COUNT = 100


def tables(unit):
    return ModbusDeviceContext(
        di=ModbusSequentialDataBlock(1, [False] * COUNT),
        co=ModbusSequentialDataBlock(1, [False] * COUNT),
        ir=ModbusSequentialDataBlock(1, list(range(COUNT))),
        hr=ModbusSequentialDataBlock(1, list(range(unit * 1000, unit * 1000 + COUNT))),
    )


async def main(kind, where):
    context = ModbusServerContext(devices={unit: tables(unit) for unit in (1, 2)}, single=False)
    identity = ModbusDeviceIdentification(
        info_name={"VendorName": "Acme", "ProductCode": "Press 9", "MajorMinorRevision": "1.2"}
    )
    if kind == "serial":
        line = {"baudrate": 19200, "parity": "N", "framer": FramerType.RTU}
        server = ModbusSerialServer(context, identity=identity, port=where, **line)
    else:
        framer = {"tcp": FramerType.SOCKET, "rtu": FramerType.RTU, "ascii": FramerType.ASCII}[kind]
        address = ("127.0.0.1", int(where))
        server = ModbusTcpServer(context, identity=identity, address=address, framer=framer)
    await server.listen()
    print(f"listening on {where}", flush=True)
    await asyncio.Event().wait()


logging.disable(logging.CRITICAL)
asyncio.run(main(sys.argv[1], sys.argv[2]))
