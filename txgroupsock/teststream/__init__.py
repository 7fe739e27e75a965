"""Streams whose every datagram can be accounted for, played when they are due, and checked."""
