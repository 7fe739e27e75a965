"""Rules as programs write them, and programs that cannot."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from txgroupsock.relay.doctor.firewall import (
    Rules,
    blamed,
    droppingNFT,
    droppingTables,
    readRules,
    run,
)

NFT = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		udp dport 5000 jump video
		udp dport 5001 drop
	}

	chain video {
		ip saddr 10.0.0.9 reject with icmp port-unreachable
	}

	chain output {
		type filter hook output priority filter; policy drop;
		udp dport 5000 drop
	}
}
"""
TABLES = """\
*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p udp -m udp --dport 5000 -j DROP
-A INPUT -p udp -m udp --dport 5001 -j ACCEPT
-A OUTPUT -p udp -j DROP
-A video -s 10.0.0.9/32 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_whatDropsIncomingDatagramsIsFound() -> None:
    """Policies, rules, and chains that may be jumped to; nothing of what goes out."""
    assert list(droppingNFT(NFT)) == [
        "table inet filter, chain input: type filter hook input priority filter; policy drop;",
        "table inet filter, chain input: udp dport 5001 drop",
        "table inet filter, chain video: ip saddr 10.0.0.9 reject with icmp port-unreachable",
    ]
    assert list(droppingTables(TABLES)) == [
        ":INPUT DROP [0:0]",
        "-A INPUT -p udp -m udp --dport 5000 -j DROP",
        "-A video -s 10.0.0.9/32 -j REJECT --reject-with icmp-port-unreachable",
    ]


def test_whatCannotBeReadIsSaid() -> None:
    """One program may be there, and another not, or not be allowed to."""

    def fake(command: Sequence[str]) -> str | OSError:
        return TABLES if command[0] == "iptables-save" else OSError(f"{command[0]}: not you")

    rules = readRules(fake)
    assert len(rules.suspects) == 3
    assert rules.suspects[0] == "iptables-save: :INPUT DROP [0:0]"
    assert rules.unread == ("nft: not you", "ip6tables-save: not you")


def test_programsAreRunForReal() -> None:
    """What they write, or why they did not."""
    assert run([sys.executable, "-c", "print('x')"]) == "x\n"
    failed = run([sys.executable, "-c", "raise SystemExit('no right')"])
    assert str(failed).endswith(": no right")
    assert str(run(["no-such-program-here"])) == "no-such-program-here is not installed"


def test_nothingIsBlamedWithoutARule() -> None:
    """A firewall that drops nothing is no finding."""
    assert blamed("x", Rules(), "y") is None
    found = blamed("x", Rules(tuple(map(str, range(30)))), "y")
    assert found is not None
    assert found.evidence == ("y", *map(str, range(10)))
