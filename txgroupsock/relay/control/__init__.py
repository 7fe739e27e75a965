"""What happens to a relay that runs: reloads, changes, figures."""
