"""Hosts from their source into a careful, diffable copy."""
