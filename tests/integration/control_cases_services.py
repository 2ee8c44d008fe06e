"""Negative tests of the controls of firewall, packages, logs and other services."""

from __future__ import annotations

from tests.integration.control_case import Case

ONE_PACKAGE = "/^Package: opslab-library$/,/^$/"

CASES = (
    Case(
        control="PAT-01",
        broken="apt-get install -qq -y --allow-downgrades opslab-library=1.0-1",
        mended="apt-get install -qq -y opslab-library",
        observed="opslab-library 1.0-1+deb12u1",
    ),
    Case(
        control="PAT-02",
        broken="echo 'deb http://packages.example/debian bookworm main' > /etc/apt/sources.list.d/broken.list",
        mended="rm /etc/apt/sources.list.d/broken.list",
        observed="not approved: http://packages.example/debian bookworm main",
    ),
    Case(
        control="PAT-03",
        broken="echo 'APT::Get::AllowUnauthenticated \"true\";' > /etc/apt/apt.conf.d/zz-broken",
        mended="rm /etc/apt/apt.conf.d/zz-broken",
        observed="APT::Get::AllowUnauthenticated",
    ),
    Case(
        control="PAT-04",
        broken="touch -d '8 days ago' /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp",
        mended="touch /var/lib/apt/lists",
        observed="8.0 days old",
        also=frozenset({"PAT-01"}),  # whether updates wait cannot be told from old lists
    ),
    Case(
        control="PAT-07",
        broken="apt-mark hold opslab-library",
        mended="apt-mark unhold opslab-library",
        observed="held: opslab-library",
    ),
    Case(
        control="PAT-08",
        broken=f"sed -i '{ONE_PACKAGE}s/^Status: .*/Status: install ok unpacked/' /var/lib/dpkg/status",
        mended=f"sed -i '{ONE_PACKAGE}s/^Status: .*/Status: install ok installed/' /var/lib/dpkg/status",
        observed="opslab-library",
    ),
    Case(
        control="LOG-02",
        broken="printf '[Journal]\\nStorage=volatile\\n' > /etc/systemd/journald.conf.d/zz-broken.conf",
        mended="rm /etc/systemd/journald.conf.d/zz-broken.conf",
        observed="Storage=volatile",
    ),
    Case(
        control="LOG-03",
        broken="systemctl disable -q --now rsyslog",
        mended="systemctl enable -q --now rsyslog",
        observed="service disabled, inactive",
    ),
    Case(
        control="LOG-06",
        broken="touch /var/log/broken; chmod 0644 /var/log/broken",
        mended="rm /var/log/broken",
        observed="open to everyone: 644 broken",
    ),
    Case(
        control="FW-02",
        broken="systemctl disable -q nftables",
        mended="systemctl enable -q nftables",
        observed="service disabled, active",
    ),
    Case(
        control="FW-03",
        broken="nft chain inet opsctl forward '{ policy accept ; }'",
        mended="nft -f /etc/nftables.conf",
        observed="forward (hook forward): accept",
        also=frozenset({"FW-05"}),  # what is in force is no longer what is on disk
    ),
    Case(
        control="FW-05",
        broken="nft add rule inet opsctl input tcp dport 4444 accept",
        mended="nft -f /etc/nftables.conf",
        observed="1 only in force",
    ),
    Case(
        control="FW-06",
        broken="systemd-run -q --unit=broken --socket-property=ListenStream=7777 true",
        mended="systemctl stop broken.socket",
        observed="not approved: tcp/7777",
    ),
    Case(
        control="FW-07",
        broken="cp -p /etc/nftables.conf /root/kept; sed -i 's/iif \"lo\" accept/&; tcp dport 20-30 accept/' "
        "/etc/nftables.conf; nft -f /etc/nftables.conf",
        mended="cp -p /root/kept /etc/nftables.conf; rm /root/kept; nft -f /etc/nftables.conf",
        observed="tcp/22 is open to 0.0.0.0/0, ::/0",
    ),
)  # fmt: skip

# What a container cannot hold: broken, seen and mended on a virtual machine.
NEEDS_A_VM: tuple[Case, ...] = ()
