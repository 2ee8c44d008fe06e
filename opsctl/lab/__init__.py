"""The lab: an embedded fleet of real Debian hosts on one machine, for demonstrations, tests and measurements.

    from opsctl import lab

    fleet = lab.up("trial", lab.demo())                 # or lab.generic(3), lab.only(lab.demo(), ["ange-web1"])
    lab.with_machines(lab.demo(), 1)                    # a plan with a virtual machine beside its containers
    lab.description("trial")                            # the same Fleet, from any process
    lab.execute("trial", "ange-web1", ["systemctl", "--failed"])
    lab.break_("trial", "ange-web1", "disk");  lab.mend("trial", "ange-web1")
    lab.reboot(...);  lab.crash(...);  lab.start(...)
    lab.restore("trial", "ange-web1")                   # back to how it was found, in about a second
    lab.snapshot("trial", "ange-web1", "provisioned");  lab.restore("trial", "ange-web1", "provisioned")
    lab.publish("trial", "opslab-library", "1.0-1+deb12u2");  lab.withdraw(...);  lab.keep_mirror("trial", "20261122")
    lab.down("trial")                                   # nothing stays

The hosts are systemd-nspawn containers over one cached base; docs/explanation/lab.md says how and why. The lab
returns a description of its fleet and writes no inventory: whoever wants a workspace of it makes one.
"""

from opsctl.lab.control import (
    HostStatus,
    LabStatus,
    Standing,
    boot_id,
    break_,
    crash,
    description,
    enter,
    execute,
    keep_mirror,
    mend,
    overview,
    publish,
    reboot,
    restore,
    snapshot,
    start,
    status,
    stock,
    withdraw,
)
from opsctl.lab.faults import FAULTS
from opsctl.lab.fleet import Fleet, LabHost, demo, equal, generic, only, with_machines
from opsctl.lab.instance import down, up
from opsctl.lab.place import DEFAULT_NAME

__all__ = [
    "DEFAULT_NAME",
    "FAULTS",
    "Fleet",
    "HostStatus",
    "LabHost",
    "LabStatus",
    "Standing",
    "boot_id",
    "break_",
    "crash",
    "demo",
    "description",
    "down",
    "enter",
    "equal",
    "execute",
    "generic",
    "keep_mirror",
    "mend",
    "only",
    "overview",
    "publish",
    "reboot",
    "restore",
    "snapshot",
    "start",
    "status",
    "stock",
    "up",
    "with_machines",
    "withdraw",
]
