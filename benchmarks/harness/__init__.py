"""What benchmarks/relay.py is made of."""
