"""Scripts that run on hosts: standard library only, Python 3.9, one file each, nothing of opsctl imported."""
