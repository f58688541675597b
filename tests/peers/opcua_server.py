"""An OPC UA server of asyncua: a tank whose level counts and has a history, with a method, events and an alarm, in a
process of its own, so that it can be killed.

    opcua_server.py DIRECTORY PORT OTHER_NAMESPACES

DIRECTORY has `server.der` and `server.pem`; who comes in with a certificate needs the one in `user.der`.
"""

import asyncio
import datetime
import logging
import sys
from pathlib import Path

from asyncua import Server, ua, uamethod
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.crypto.permission_rules import User, UserRole

TANK = "urn:manifold:peers:tank"
USER, USER_SECRET = "operator", "tank-7"
COUNT_SECS = 0.05


class Users:
    """Anonymous, one name, one certificate."""

    def __init__(self, certificate):
        self.certificate = certificate

    def get_user(self, _iserver, username=None, password=None, certificate=None):
        if username is not None:
            is_known = (username, password) == (USER, USER_SECRET)
            return User(role=UserRole.Admin) if is_known else None
        if certificate is not None and certificate == self.certificate:
            return User(role=UserRole.Admin)
        return User(role=UserRole.User)


async def main(directory, port, others):
    server = Server(user_manager=Users((directory / "user.der").read_bytes()))
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant/")
    server.set_security_policy(
        [
            ua.SecurityPolicyType.NoSecurity,
            ua.SecurityPolicyType.Basic256Sha256_Sign,
            ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
            ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
            ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
        ]
    )
    server.set_identity_tokens(
        [ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken]
    )
    await server.set_application_uri("urn:manifold:peers:server")
    await server.load_certificate(str(directory / "server.der"))
    await server.load_private_key(str(directory / "server.pem"))
    for number in range(others):
        await server.register_namespace(f"urn:manifold:peers:other{number}")
    index = await server.register_namespace(TANK)
    tank = await server.nodes.objects.add_object(ua.NodeId("Tank", index), f"{index}:Tank")
    level = await tank.add_variable(ua.NodeId("Level", index), f"{index}:Level", 0.0)
    setpoint = await tank.add_variable(
        ua.NodeId("Setpoint", index), f"{index}:Setpoint", 20, varianttype=ua.VariantType.Int16
    )
    await setpoint.set_writable()
    table = await tank.add_variable(ua.NodeId("Table", index), f"{index}:Table", [10, 20, 30])
    await table.set_writable()
    step = await new_struct(
        server,
        index,
        "Step",
        [
            new_struct_field("Name", ua.VariantType.String),
            new_struct_field("Seconds", ua.VariantType.Double, optional=True),
        ],
    )
    kind, _ = await new_struct(
        server,
        index,
        "Batch",
        [
            new_struct_field("Number", ua.VariantType.UInt32),
            new_struct_field("Amounts", ua.VariantType.Double, array=True),
            new_struct_field("Limits", ua.NodeId(ua.ObjectIds.Range)),
            new_struct_field("Steps", step[0], array=True),
        ],
    )
    await server.load_data_type_definitions()
    made = ua.Batch(Number=7, Amounts=[1.5, 2.5], Limits=ua.Range(0.0, 80.0), Steps=[ua.Step(Name="heat")])
    batch = await tank.add_variable(ua.NodeId("Batch", index), f"{index}:Batch", made, datatype=kind.nodeid)
    await batch.set_writable()
    filled = await server.create_custom_event_type(index, "Filled", properties=[("Batch", ua.VariantType.UInt32)])
    told = await server.get_event_generator(filled, emitting_node=server.nodes.server)
    told.event.Batch = 7
    alarm = await server.get_event_generator(ua.ObjectIds.AlarmConditionType, server.nodes.server)
    alarm.event.SourceName = told.event.SourceName = "Tank"
    alarm.event.ConditionName, alarm.event.Retain = "Full", True
    alarm.event.NodeId = ua.NodeId("TankFull", index)
    held = [20.0]

    @uamethod
    async def fill(_parent, to, note):
        if not 0 <= to <= 100:
            return ua.StatusCode(ua.StatusCodes.BadOutOfRange)
        before, held[0] = held[0], to
        told.event.Severity = 400
        await told.trigger(message=f"filled to {to}: {note}")
        is_full = to >= 100
        if is_full or before >= 100:
            alarm.event.Severity = 900
            setattr(alarm.event, "ActiveState/Id", is_full)
            setattr(alarm.event, "AckedState/Id", False)
            await alarm.trigger(message="full" if is_full else "no longer full")
        return before

    def argument(name, kind):
        return ua.Argument(Name=name, DataType=ua.NodeId(kind), ValueRank=-1)

    given = [argument("to", ua.ObjectIds.Double), argument("note", ua.ObjectIds.String)]
    returned = [argument("before", ua.ObjectIds.Double)]
    await tank.add_method(ua.NodeId("Fill", index), f"{index}:Fill", fill, given, returned)
    async with server:
        await server.historize_node_data_change(level, datetime.timedelta(hours=1))
        print(f"listening on {port}", flush=True)
        count = 0.0
        while True:
            await asyncio.sleep(COUNT_SECS)
            count += 1
            await level.write_value(count)


logging.disable(logging.CRITICAL)
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
