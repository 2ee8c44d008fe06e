"""Contact with hosts: approved keys, and the one shared OpenSSH connection of each host."""
