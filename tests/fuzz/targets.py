"""All targets by name, with a beginning for each: inputs that get far into it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from tests.fuzz import packets, policies, streams, texts
from tests.relay.health.transport import packet, pat, pmt
from txgroupsock.relay.recording.pcapfile import FILE_START

Target = Callable[[bytes], None]

_STREAM: Final = packet(0, 0, pat({1: 32}), isStart=True) + packet(32, 0, pmt(1, 33, {33: 2}))
_RTP: Final = bytes.fromhex("8021000100000001000000ff") + _STREAM
_PIECES: Final = bytes(range(256)) * 4
_IPV4: Final = bytes.fromhex(
    "4500002400000000401100000a000001e8010101138813880010000068656c6c6f212121"
)
_CAPTURE: Final = FILE_START + struct.pack("<IIII", 1, 2, len(_IPV4), len(_IPV4)) + _IPV4
_SECTION: Final = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
_INTERFACE: Final = struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20)
_PACKET: Final = struct.pack("<IIIIIII", 6, 68, 0, 1, 2, 36, 36) + _IPV4 + struct.pack("<I", 68)

TARGETS: Final[Mapping[str, tuple[Target, tuple[bytes, ...]]]] = {
    "rtp": (packets.rtp, (_RTP, b"\xb1" + _RTP[1:])),
    "sequencing": (packets.sequencing, (_PIECES,)),
    "boundaries": (packets.boundaries, (_PIECES,)),
    "sections": (packets.sections, (b"\1\xb8" + _STREAM[4:], pat({1: 2}), pmt(1, 33, {33: 2}))),
    "ts": (packets.transportStream, (_PIECES, _STREAM)),
    "rtpHealth": (packets.rtpHealth, (_PIECES,)),
    "clocks": (packets.clocks, (packet(33, 0, pcr=27_000_000) * 3,)),
    "testStream": (packets.testStream, (_PIECES,)),
    "recognition": (packets.recognition, (_PIECES,)),
    "capturedPacket": (packets.capturedPacket, (_IPV4,)),
    "netlink": (packets.netlink, (bytes(16) + b"\x08\0\x04\0\xdc\5\0\0" * 4,)),
    "stripRTP": (policies.stripRTP, (_PIECES,)),
    "alignTS": (policies.alignTS, (_PIECES,)),
    "framed": (policies.framed, (_PIECES,)),
    "healthStage": (policies.healthStage, (_PIECES,)),
    "merge": (policies.merge, (_PIECES, bytes(200))),
    "failover": (policies.failover, (_PIECES,)),
    "interleaved": (
        streams.interleaved,
        (b"$\1\0\3abcOPTIONS * RTSP/2.0\r\nContent-Length: 2\r\n\r\nhi$\0\0\0",),
    ),
    "framing": (streams.framing, (b"\0\3abc\0\0\0\1x",)),
    "proxied": (
        streams.proxied,
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\nGET",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x13\x88\0\x50GET",
        ),
    ),
    "requests": (
        streams.requests,
        (b"GET /udp/239.1.1.1:5000 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    ),
    "capture": (streams.capture, (_CAPTURE, _SECTION + _INTERFACE + _PACKET)),
    "frames": (streams.frames, (_IPV4, bytes(12) + b"\x08\0" + _IPV4)),
    "transportStreamFile": (streams.transportStreamFile, (_STREAM,)),
    "url": (texts.url, (b"udp://10.0.0.1@232.1.1.1:5000?interface=eth0&ttl=8&dscp=AF41&rate=1M",)),
    "path": (texts.path, (b"udp/[2001:db8::1]@[ff3e::1]:5000", b"rtp/239.1.1.1:5000")),
    "allowRule": (
        texts.allowRule,
        (b"10.0.0.0/24@232.1.1.1:5000-5010?interface=e", b"[ff3e::/32]"),
    ),
    "configuration": (
        texts.configuration,
        (b'[[route]]\nfrom = "udp://239.1.1.1:5000"\nto = ["udp://10.0.0.1:5000"]\n[health]\n',),
    ),
    "endpoint": (
        texts.endpoint,
        (
            b"tcp:8080:interface=silent.test:backlog=5",
            rb"keepalive:ssl\:443\:privateKey=a\\\:b:idle=60",
            b"haproxy:unix:/run/x:mode=600",
        ),
    ),
    "body": (texts.body, (b'{"from": "udp://:5", "health": {"ts": true}, "to": [1, 2.5]}',)),
    "positions": (texts.positions, (b"a.b = [1, {c = '''x'''}, \"\\\"\"] # d\n[[e]]\nf = 1\n",)),
    "kernelTables": (
        texts.kernelTables,
        (
            b"a\n 1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 0 0 0 5 2 0 9",
            b"Tcp: A B\nTcp: 1 2\nIp6X 3\n",
        ),
    ),
    "status": (
        texts.status,
        (b'{"change":null,"viewers":null,"version":"1","uptime":1,"isReady":1}',),
    ),
    "messages": (texts.messages, (b'{"kind":"counts","counters":[[1,2,{"lost":3}]]}\n{"a":1}\n',)),
}
