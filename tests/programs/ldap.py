"""Ldaptor: an LDAP server and a client of it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from ldaptor.inmemory import fromLDIFFile
from ldaptor.interfaces import IConnectedLDAPEntry
from ldaptor.protocols.ldap.ldapclient import LDAPClient
from ldaptor.protocols.ldap.ldaperrors import LDAPInvalidCredentials
from ldaptor.protocols.ldap.ldapserver import LDAPServer
from ldaptor.protocols.ldap.ldapsyntax import LDAPEntry
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import ServerFactory
from twisted.python.components import registerAdapter

from tests.programs.support import HOST

LDIF = b"""\
dn: dc=org
dc: org
objectClass: dcObject

dn: ou=people,dc=org
objectClass: organizationalUnit
ou: people

""" + b"".join(
    b"""\
dn: cn=user%d,ou=people,dc=org
cn: user%d
objectClass: person
sn: number %d
userPassword: secret

"""
    % (number, number, number)
    for number in range(300)
)


class Serving(ServerFactory):
    """Serves one tree."""

    protocol = LDAPServer

    def __init__(self, root: Any) -> None:
        self.root = root


async def main(reactor: Any, folder: Path) -> list[object]:
    """Bind, rightly and wrongly, and search, for one and for hundreds."""
    root = await fromLDIFFile(BytesIO(LDIF))
    registerAdapter(lambda factory: factory.root, Serving, IConnectedLDAPEntry)
    await serverFromString(reactor, f"tcp:4300:interface={HOST}").listen(Serving(root))
    client = await connectProtocol(clientFromString(reactor, f"tcp:{HOST}:4300"), LDAPClient())
    me = LDAPEntry(client, "cn=user7,ou=people,dc=org")
    seen: list[object] = []
    try:
        await me.bind(b"wrong")
    except LDAPInvalidCredentials as error:
        seen.append(type(error).__name__)
    await me.bind(b"secret")
    base = LDAPEntry(client, "ou=people,dc=org")
    for text in ("(cn=user7)", "(objectClass=person)"):
        found = await base.search(filterText=text)
        seen.append(sorted(entry.dn.getText() for entry in found))
    client.unbind()
    return seen
