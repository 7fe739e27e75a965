"""Routes shared out among several processes."""
