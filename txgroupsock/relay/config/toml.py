"""The TOML parser: the standard library's from Python 3.11 on, before that the same from PyPI."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from tomllib import loads
else:
    from tomli import loads

__all__ = ["loads"]
