"""Web servers that outsiders cannot exhaust, and the endpoints that they listen at."""
