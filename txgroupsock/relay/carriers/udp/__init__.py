"""UDP, unicast and multicast."""
