"""Runs playbooks on just the hosts and variables of one run, and yields typed events."""
