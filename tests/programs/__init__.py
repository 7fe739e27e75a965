"""
Programs that nobody here wrote, which import the reactor: run on ours and on Twisted's, and what
they do compared.

Each module has C{main(reactor, folder)}, which runs one, and returns what was seen of it.
"""

from __future__ import annotations

NAMES = {
    "conch": "bcrypt",
    "foolscap": "foolscap",
    "autobahn": "autobahn",
    "modbus": "pymodbus",
    "ldap": "ldaptor",
    "wormhole": "wormhole_mailbox_server",
}
"""Each program, and what has to be there for it to run."""
