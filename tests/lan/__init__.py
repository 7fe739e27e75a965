"""Tests over real links: several hosts in network namespaces, one process, one reactor."""
