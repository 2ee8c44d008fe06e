"""What looks across the rooms: one host, the machine, the workspace, what waits."""
