"""What a virtual machine of the lab has beside a container: a kernel of its own, and what only makes sense with one."""

from __future__ import annotations

import hashlib
import json

from opsctl.lab import recipe

# As Debian's own installer leaves a virtual machine, the services that need a kernel of their own running; and what
# opsctl's roles install on every host, as yet without a setting: without KVM that alone would take minutes.
PACKAGES = (
    "udev", "kmod", "apparmor", "qemu-guest-agent", "auditd", "chrony",
    "rsyslog", "rsyslog-gnutls", "nftables", "prometheus-node-exporter", "needrestart", "acl", "libpam-pwquality",
)  # fmt: skip
KERNEL = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
FILES = {
    "etc/fstab": (0o644, "/dev/vda / ext4 defaults 0 0\n"),
}
DISK = "2g"
MEMORY = 768  # MiB
WEIGHT = 8  # as many containers: every instruction is translated


def digest() -> str:
    """The name of what this recipe makes; it lies over a base of the lab's own recipe."""
    parts = (1, recipe.digest(), PACKAGES, KERNEL, BUSYBOX, FILES)
    return f"vm{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]}"
