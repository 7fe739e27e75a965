"""Tools that send and receive streams: C{twistd groupsock-send} and C{groupsock-receive}."""
