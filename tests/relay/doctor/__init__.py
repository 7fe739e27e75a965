"""Tests of txgroupsock.relay.doctor."""
