"""Negative tests of the controls of SSH, accounts, kernel, network settings and file systems."""

from __future__ import annotations

from tests.integration.control_case import Case, sshd

CASES = (
    sshd("SSH-01", "PermitRootLogin yes", "permitrootlogin yes"),
    sshd("SSH-02", "PasswordAuthentication yes", "passwordauthentication yes"),
    sshd("SSH-03", "PermitEmptyPasswords yes", "permitemptypasswords yes"),
    sshd("SSH-06", "ClientAliveInterval 0", "clientaliveinterval 0"),
    sshd("SSH-07", "Ciphers aes256-ctr,aes128-cbc", "weak: aes128-cbc"),
    Case(
        control="SSH-10",
        broken="chmod 0644 /etc/ssh/sshd_config",
        mended="chmod 0600 /etc/ssh/sshd_config",
        observed="/etc/ssh/sshd_config root:root 644",
    ),
    sshd("SSH-12", "AllowGroups sudo", "allowed: ssh-login, sudo"),
    sshd("SSH-14", "AllowTcpForwarding yes", "allowtcpforwarding yes"),
    Case(
        control="USR-01",
        broken="echo 'toor:x:0:0::/nonexistent:/usr/sbin/nologin' >> /etc/passwd",
        mended="sed -i /^toor:/d /etc/passwd",
        observed="UID 0: root, toor",
    ),
    Case(
        control="USR-02",
        broken="sed -i 's/^games:[^:]*:/games::/' /etc/shadow",
        mended="sed -i 's/^games::/games:*:/' /etc/shadow",
        observed="with an empty password: games",
    ),
    Case(
        control="USR-05",
        broken="usermod --shell /bin/sh games",
        mended="usermod --shell /usr/sbin/nologin games",
        observed="games (/bin/sh)",
    ),
    Case(
        control="USR-12",
        broken="cd /etc/pam.d; cp -p common-auth /root/kept; sed -i 's/pam_unix.so/& nullok/' common-auth",
        mended="cp -p /root/kept /etc/pam.d/common-auth; rm /root/kept",
        observed="pam_unix.so nullok",
    ),
    Case(
        control="USR-16",
        broken="umask 337; echo 'Defaults:games !use_pty' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="switched off: Defaults:games !use_pty",
    ),
    Case(
        control="USR-18",
        broken="umask 337; echo 'games ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="games ALL=(ALL) NOPASSWD: ALL (/etc/sudoers.d/zz-broken)",
    ),
    Case(
        control="USR-21",
        broken="echo 'person:x:1999:1999::/nonexistent:/usr/sbin/nologin' >> /etc/passwd",
        mended="sed -i /^person:/d /etc/passwd",
        observed="not approved: person",
    ),
    Case(
        control="USR-22",
        broken="mkdir -p /root/.ssh; ssh-keygen -qt ed25519 -N '' -f /root/broken; "
        "cat /root/broken.pub >> /root/.ssh/authorized_keys",
        mended="rm /root/broken*; sed -i '$d' /root/.ssh/authorized_keys",
        observed="in /root/.ssh/authorized_keys",
    ),
)  # fmt: skip

# What a container cannot hold: broken, seen and mended on a virtual machine.
NEEDS_A_VM: tuple[Case, ...] = ()
