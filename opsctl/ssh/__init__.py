"""The one way to a host: pinned keys and a shared OpenSSH connection."""
