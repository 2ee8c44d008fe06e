"""Negative tests of the controls of SSH, accounts, kernel, network settings and file systems."""

from __future__ import annotations

from tests.integration.control_case import Case, sshd


def sysctl(control: str, name: str, bad: str, good: str) -> Case:
    """A setting of the kernel, changed while it runs."""
    return Case(
        control=control,
        broken=f"sysctl -qw {name}={bad}",
        mended=f"sysctl -qw {name}={good}",
        observed=f"{name} = {bad}",
    )


def module(control: str, name: str) -> Case:
    """A module that may be loaded again, whether this kernel has it or not."""
    allowed, file = f"/sbin/modprobe --ignore-install {name}", "/etc/modprobe.d/opsctl.conf"
    return Case(
        control=control,
        broken=f"sed -i 's|^install {name} .*|install {name} {allowed}|' {file}",
        mended=f"sed -i 's|^install {name} .*|install {name} /bin/false|' {file}",
        observed=f"can be loaded: {name} (",
    )


CASES = (
    sshd("SSH-01", "PermitRootLogin yes", "permitrootlogin yes"),
    sshd("SSH-02", "PasswordAuthentication yes", "passwordauthentication yes"),
    sshd("SSH-03", "PermitEmptyPasswords yes", "permitemptypasswords yes"),
    sshd("SSH-04", "MaxAuthTries 6", "maxauthtries 6"),
    sshd("SSH-05", "LoginGraceTime 120", "logingracetime 120"),
    sshd("SSH-06", "ClientAliveInterval 0", "clientaliveinterval 0"),
    sshd("SSH-07", "Ciphers aes256-ctr,aes128-cbc", "weak: aes128-cbc"),
    sshd("SSH-08", "MACs hmac-sha2-512,hmac-sha1", "weak: hmac-sha1"),
    sshd("SSH-09", "KexAlgorithms curve25519-sha256,diffie-hellman-group14-sha1", "weak: diffie-hellman-group14-sha1"),
    Case(
        control="SSH-10",
        broken="chmod 0644 /etc/ssh/sshd_config",
        mended="chmod 0600 /etc/ssh/sshd_config",
        observed="/etc/ssh/sshd_config root:root 644",
    ),
    Case(
        control="SSH-11",
        broken="install -m 0644 /dev/null /etc/ssh/ssh_host_broken_key",
        mended="rm /etc/ssh/ssh_host_broken_key",
        observed="/etc/ssh/ssh_host_broken_key root:root 0644",
    ),
    sshd("SSH-12", "AllowGroups sudo", "allowed: ssh-login, sudo"),
    sshd("SSH-13", "Banner none", "banner none"),
    sshd("SSH-14", "AllowTcpForwarding yes", "allowtcpforwarding yes"),
    sshd("SSH-15", "IgnoreRhosts no", "ignorerhosts no"),
    sshd("SSH-16", "LogLevel QUIET", "loglevel SILENT"),
    Case(  # the one setting of which sshd takes the last value, not the first
        control="SSH-17",
        broken="umask 077; echo 'MaxStartups 10:30:100' > /etc/ssh/sshd_config.d/zz-broken.conf",
        mended="rm /etc/ssh/sshd_config.d/zz-broken.conf",
        observed="maxstartups 10:30:100",
    ),
    sshd("SSH-18", "PermitUserEnvironment yes", "permituserenvironment yes"),
    Case(
        control="USR-01",
        broken="echo 'toor:x:0:0::/nonexistent:/usr/sbin/nologin' >> /etc/passwd",
        mended="sed -i /^toor:/d /etc/passwd",
        observed="UID 0: root, toor",
        also=frozenset({"USR-04"}),  # the id is there twice
    ),
    Case(
        control="USR-02",
        broken="sed -i 's/^games:[^:]*:/games::/' /etc/shadow",
        mended="sed -i 's/^games::/games:*:/' /etc/shadow",
        observed="with an empty password: games",
        also=frozenset({"USR-06"}),  # an account without a shell that is not locked
    ),
    Case(
        control="USR-03",
        broken="sed -i 's/^games:x:/games:!:/' /etc/passwd",
        mended="sed -i 's/^games:!:/games:x:/' /etc/passwd",
        observed="second field not x: games",
    ),
    Case(
        control="USR-04",
        broken="echo 'games:x:9999:' >> /etc/group",
        mended="sed -i /^games:x:9999:/d /etc/group",
        observed="name games 2 times in /etc/group",
    ),
    Case(
        control="USR-05",
        broken="usermod --shell /bin/sh games",
        mended="usermod --shell /usr/sbin/nologin games",
        observed="games (/bin/sh)",
    ),
    Case(
        control="USR-06",
        broken="usermod --password '$y$j9T$broken' games; chage --maxdays 365 --inactive 30 games",
        mended="usermod --password '*' games; chage --maxdays 99999 --inactive -1 games",
        observed="not locked: games (/usr/sbin/nologin)",
    ),
    Case(
        control="USR-07",
        broken="sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 99999/' /etc/login.defs",
        mended="sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS\\t365/' /etc/login.defs",
        observed="PASS_MAX_DAYS 99999",
    ),
    Case(
        control="USR-08",
        broken="useradd -D --inactive -1",
        mended="useradd -D --inactive 30",
        observed="INACTIVE=-1",
    ),
    Case(
        control="USR-09",
        broken="sed -i 's/^ENCRYPT_METHOD.*/ENCRYPT_METHOD SHA512/' /etc/login.defs",
        mended="sed -i 's/^ENCRYPT_METHOD.*/ENCRYPT_METHOD YESCRYPT/' /etc/login.defs",
        observed="ENCRYPT_METHOD SHA512",
    ),
    Case(
        control="USR-10",
        broken="sed -i 's/^minlen.*/minlen = 8/' /etc/security/pwquality.conf",
        mended="sed -i 's/^minlen.*/minlen = 14/' /etc/security/pwquality.conf",
        observed="minlen 8",
    ),
    Case(
        control="USR-11",
        broken="sed -i 's/^deny.*/deny = 10/' /etc/security/faillock.conf",
        mended="sed -i 's/^deny.*/deny = 4/' /etc/security/faillock.conf",
        observed="deny 10",
    ),
    Case(
        control="USR-12",
        broken="cd /etc/pam.d; cp -p common-auth /root/kept; sed -i 's/pam_unix.so/& nullok/' common-auth",
        mended="cp -p /root/kept /etc/pam.d/common-auth; rm /root/kept",
        observed="pam_unix.so nullok",
    ),
    Case(
        control="USR-13",
        broken="sed -i 's/^umask.*/umask 022/' /etc/profile",
        mended="sed -i 's/^umask.*/umask 027/' /etc/profile",
        observed="/etc/profile 022",
    ),
    Case(
        control="USR-14",
        broken="mv /etc/profile.d/opsctl.sh /root/kept",
        mended="mv /root/kept /etc/profile.d/opsctl.sh",
        observed="TMOUT not set, not readonly",
    ),
    Case(
        control="USR-15",
        broken="gpasswd --add games su-nobody",
        mended="gpasswd --delete games su-nobody",
        observed="group su-nobody, members: games",
    ),
    Case(
        control="USR-16",
        broken="umask 337; echo 'Defaults:games !use_pty' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="switched off: Defaults:games !use_pty",
    ),
    Case(
        control="USR-17",
        broken="umask 337; echo 'Defaults:games !logfile' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="elsewhere: Defaults:games !logfile",
    ),
    Case(
        control="USR-18",
        broken="umask 337; echo 'games ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="games ALL=(ALL) NOPASSWD: ALL (/etc/sudoers.d/zz-broken)",
    ),
    Case(
        control="USR-19",
        broken="umask 337; echo 'Defaults timestamp_timeout=-1' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="longer: Defaults timestamp_timeout=-1",
    ),
    Case(
        control="USR-20",
        broken="chmod 0755 /home/opsctl",
        mended="chmod 0750 /home/opsctl",
        observed="/home/opsctl opsctl:opsctl 0755",
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
    # Switched off again, it lets redirects in.
    Case(
        control="NET-01",
        broken="sysctl -qw net.ipv4.ip_forward=1",
        mended="sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=0",
        observed="net.ipv4.ip_forward = 1",
    ),
    sysctl("NET-02", "net.ipv4.conf.default.accept_redirects", "1", "0"),
    sysctl("NET-03", "net.ipv4.conf.all.secure_redirects", "1", "0"),
    sysctl("NET-04", "net.ipv6.conf.all.accept_source_route", "1", "0"),
    sysctl("NET-05", "net.ipv4.conf.all.log_martians", "0", "1"),
    sysctl("NET-06", "net.ipv4.tcp_syncookies", "0", "1"),
    sysctl("NET-07", "net.ipv6.conf.default.accept_ra", "1", "0"),
    Case(
        control="FS-01",
        broken="chmod 0664 /etc/group",
        mended="chmod 0644 /etc/group",
        observed="/etc/group root:root 0664",
    ),
    Case(
        control="FS-02",
        broken="chmod 0644 /etc/gshadow",
        mended="chmod 0640 /etc/gshadow",
        observed="/etc/gshadow root:shadow 0644",
    ),
    Case(
        control="FS-03",
        broken="install -m 0666 /dev/null /opt/broken",
        mended="rm /opt/broken",
        observed="1 files: /opt/broken 666 root:root",
    ),
    Case(
        control="FS-04",
        broken="mkdir -m 0777 /opt/broken",
        mended="rmdir /opt/broken",
        observed="1 directories: /opt/broken 777 root:root",
    ),
    Case(
        control="FS-05",
        broken="install -m 0644 /dev/null /opt/broken; chown 54321:54321 /opt/broken",
        mended="rm /opt/broken",
        observed="1 without: /opt/broken 644 54321:54321",
    ),
    Case(
        control="FS-06",
        broken="install -m 4755 /bin/true /opt/broken",
        mended="rm /opt/broken",
        observed="not known: /opt/broken 4755 root:root",
    ),
    Case(
        control="FS-12",
        broken="chmod 0644 /boot/grub/grub.cfg",
        mended="chmod 0600 /boot/grub/grub.cfg",
        observed="/boot/grub/grub.cfg root:root 0644",
    ),
    Case(
        control="FS-13",
        broken="systemctl stop opsctl-aide.timer",
        mended="systemctl start opsctl-aide.timer",
        observed="run daily by: nothing",
    ),
)

# What a container cannot hold: broken, seen and mended on a virtual machine.
# A file system for logs. The bind mount goes and comes while it stays.
LOGS_APART = (
    "mkdir -m 0700 /srv/logs && mount -t tmpfs -o size=64m,mode=0755,nodev,nosuid,noexec logs /srv/logs && "
    "cp -a /var/log/. /srv/logs && mount --bind /srv/logs /var/log"
)
NEEDS_A_VM = (
    Case(
        control="FS-09",
        broken="umount --lazy /var/log",
        mended="mount --bind /srv/logs /var/log",
        observed="/var/log: no mount of its own",
    ),
    sysctl("KRN-01", "kernel.randomize_va_space", "1", "2"),
    sysctl("KRN-02", "kernel.yama.ptrace_scope", "0", "1"),
    sysctl("KRN-03", "fs.suid_dumpable", "1", "0"),
    sysctl("KRN-04", "kernel.kptr_restrict", "0", "2"),
    sysctl("KRN-05", "kernel.unprivileged_bpf_disabled", "0", "2"),
    sysctl("KRN-06", "kernel.sysrq", "1", "0"),
    sysctl("KRN-07", "fs.protected_fifos", "0", "2"),
    # A program that ran before its profile was loaded; aa-status knows it by its path, which is the profile's name.
    Case(
        control="KRN-08",
        broken="cp /bin/sleep /usr/local/bin/broken; systemd-run -q --unit=broken /usr/local/bin/broken 1000; "
        "echo '/usr/local/bin/broken flags=(complain) { }' > /root/broken; "
        "apparmor_parser --add /root/broken",
        mended="systemctl stop broken; apparmor_parser --remove /root/broken; rm /root/broken /usr/local/bin/broken",
        observed="1 processes unconfined that have a profile",
    ),
    module("NET-08", "sctp"),
    module("FS-10", "hfs"),
    module("FS-11", "usb-storage"),
    Case(
        control="FS-07",
        broken="mount -o remount,exec /tmp",
        mended="mount -o remount,noexec /tmp",
        observed="/tmp: rw",
    ),
    Case(
        control="FS-08",
        broken="mount -o remount,exec /dev/shm",
        mended="mount -o remount,noexec /dev/shm",
        observed="/dev/shm: rw",
    ),
)
