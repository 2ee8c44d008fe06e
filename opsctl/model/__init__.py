"""What opsctl knows and decides on, as frozen values. Nothing in here reads a file, a clock or a network."""
