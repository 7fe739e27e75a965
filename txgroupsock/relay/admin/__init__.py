"""The relay by HTTP: its status page, the JSON API, metrics and health."""
