"""
Try a target with any number of inputs: python -m tests.fuzz NAME [--count N] [--seconds N].

With Atheris, coverage of the package guides what is tried; without, inputs are changes of the
target's beginnings.  An input for which it does not hold is printed, and the status is not 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from random import Random
from typing import Any


def changed(data: bytes, random: Random) -> bytes:
    """Some bytes with a few changes: others, more, fewer, or in another place."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(found) + 1)
        size = random.choice((1, 1, 2, 4, 16, 64))
        match random.randrange(6):
            case 0:
                found[at : at + size] = random.randbytes(size)
            case 1:
                found[at:at] = random.randbytes(size)
            case 2:
                del found[at : at + size]
            case 3:
                found[at:at] = found[max(0, at - size) : at]
            case 4 if at < len(found):
                found[at] ^= 1 << random.randrange(8)
            case _:
                found[at : at + 1] = random.choice((b"\0", b"\xff", b"\x7f", b"\x80", b" ", b"\n"))
    return bytes(found[:4096])


def _targetOf(name: str) -> Any:
    from tests.fuzz.targets import TARGETS  # Atheris instruments what is imported here

    if name not in TARGETS:
        raise SystemExit(f"there is no target {name}; there are {', '.join(TARGETS)}")
    return TARGETS[name]


def _guided(name: str, count: int, seconds: float, seed: int, atheris: Any) -> None:
    with atheris.instrument_imports(include=["txgroupsock"]):
        target, beginnings = _targetOf(name)
    began = time.monotonic()
    done = 0

    def tried(data: bytes) -> None:
        nonlocal done
        if done < len(beginnings):
            data = beginnings[done]
        done += 1
        target(data)
        if not done % 5000 and done:
            print(f"{name}: {done:,} in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201

    limits = [f"-runs={count}", f"-max_total_time={int(seconds)}", f"-seed={seed}"]
    limits.append(f"-artifact_prefix={tempfile.gettempdir()}/")
    atheris.Setup([sys.argv[0], *limits, "-max_len=4096", "-print_final_stats=1"], tried)
    atheris.Fuzz()


def _random(name: str, count: int, seconds: float, seed: int) -> None:
    target, beginnings = _targetOf(name)
    random, began, data = Random(seed), time.monotonic(), b""
    known = list(beginnings)
    done = 0
    try:
        while done < count and time.monotonic() < began + seconds:
            data = changed(random.choice(known), random)
            target(data)
            done += 1
            if not random.randrange(50):  # go further from here
                known[len(beginnings) + done % 200 : len(beginnings) + done % 200 + 1] = [data]
    except Exception:
        print(f"{name} does not hold for {data!r}", flush=True)  # noqa: T201
        raise
    finally:
        print(f"{name}: {done:,} in {time.monotonic() - began:.0f} s")  # noqa: T201


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=float(1 << 30))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unguided", action="store_true", help="without Atheris")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None or options.unguided:
        _random(options.name, options.count, options.seconds, options.seed)
    else:
        _guided(options.name, options.count, options.seconds, options.seed, atheris)


if __name__ == "__main__":
    main()
