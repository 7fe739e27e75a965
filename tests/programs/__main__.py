"""
One run of a program on one reactor, in a network of its own: C{python -m tests.programs NAME}.

What it did is the last line of the output, as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.programs import NAMES
from tests.twistedsuite.child import install
from tests.twistedsuite.names import REACTORS
from txgroupsock.testing.namespaces import enterPrivateNetwork


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reactor", choices=REACTORS, default="epoll")
    parser.add_argument("--ours", action="store_true", help="GroupsockReactor around it")
    parser.add_argument("name", choices=NAMES)
    options = parser.parse_args()
    refusal = enterPrivateNetwork()
    if refusal is not None:
        parser.error(refusal)
    install(options.reactor, ours=options.ours)
    program: Any = importlib.import_module(f"tests.programs.{options.name}")

    async def run(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="programs") as folder:
            seen = await program.main(reactor, Path(folder))
        sys.stdout.write(json.dumps(seen) + "\n")

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
