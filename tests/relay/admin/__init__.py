"""The relay in a browser."""
