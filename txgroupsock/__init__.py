"""Source-specific multicast, keep-alive TCP and a stream relay for Twisted."""

__version__ = "0.1.0"
