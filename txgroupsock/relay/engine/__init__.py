"""Routes that run, and how they go over to others."""
