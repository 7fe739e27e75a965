"""The JSON schema of the configuration file, for editors."""

from __future__ import annotations

import json
from typing import Any

from txgroupsock.relay.config.keys import FILE


def schema() -> dict[str, Any]:
    """The schema, of draft 7, which editors know best."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of twistd groupsock-relay",
        **FILE.schema(),
    }


def schemaText() -> str:
    """The schema as a file."""
    return json.dumps(schema(), indent=2) + "\n"
