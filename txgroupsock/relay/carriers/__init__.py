"""What carries a stream to and from a relay."""
