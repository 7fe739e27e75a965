"""Datagrams that would go round and round, and what keeps them from it."""
