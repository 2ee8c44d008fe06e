"""Monitoring: the live state of every host, and what Prometheus is told to watch."""
