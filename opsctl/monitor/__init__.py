"""How the hosts are right now, and what Prometheus should watch."""
