"""Recording of routes: capture files, written as datagrams pass, and read."""
