"""The demonstration: runs real `opsctl ...` command lines, in a workspace of its own."""
