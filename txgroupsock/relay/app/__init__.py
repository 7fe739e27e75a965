"""C{twistd groupsock-relay}, and what else a process of it has."""
