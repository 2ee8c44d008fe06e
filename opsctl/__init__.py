"""opsctl: server operations for municipalities that run each other's servers."""

__version__ = "0.1.0"
