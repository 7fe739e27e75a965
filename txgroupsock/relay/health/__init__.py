"""Health of an input: what its datagrams tell, alarms, and whom to tell of them."""
