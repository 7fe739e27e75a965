"""The limit of open files of this process."""

from __future__ import annotations

from twisted.logger import Logger

_log = Logger()


def allowOpenFiles(count: int) -> None:
    """
    Have at least so many descriptors, as far as the system lets this process raise its limit
    (RLIMIT_NOFILE, getrlimit(2)); a log line says so if that is too few.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    granted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < count:
        _log.warn(
            "this relay needs {count} open files and may have {granted}; raise the limit "
            "('ulimit -Hn', or LimitNOFILE= of its systemd unit)",
            count=count,
            granted=granted,
        )
