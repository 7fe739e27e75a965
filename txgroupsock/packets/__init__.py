"""What stands in packets, and nothing that sends or receives them."""
