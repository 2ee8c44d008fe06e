"""Where OpenSCAP and the checks disagree, and why: each row is one of docs/explanation/openscap.md (a test compares).

The reason names what the content looks at (ComplianceAsCode, ssg-debian 0.1.82, read in its OVAL definitions) and the
source by which the check is right: a manual page, or what was measured on the lab's hosts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Controls of which OpenSCAP's content says `theirs` where the check says `ours`; `reason` is for readers."""

    controls: tuple[str, ...]
    ours: str
    theirs: str
    reason: str


EXPLAINED = (
    Explained(
        controls=(
            "SSH-01", "SSH-03", "SSH-04", "SSH-05", "SSH-06", "SSH-07", "SSH-08", "SSH-09", "SSH-13", "SSH-14",
            "SSH-15", "SSH-16", "SSH-17", "SSH-18",
        ),
        ours="pass",
        theirs="fail",
        reason="The content reads /etc/ssh/sshd_config alone, and wants the setting written there. The setting lies in"
        " sshd_config.d, which that file includes first and of which the first value holds (sshd_config(5)), or is"
        " sshd's own default; the check asks `sshd -T` what is in force.",
    ),
    Explained(
        controls=("USR-11",),
        ours="pass",
        theirs="fail",
        reason="The content wants one certain text of /etc/pam.d/common-auth, with pam_faillock `required` before"
        " pam_unix and `authsucc` after it. Here it is `requisite` before, and an account line resets the counter,"
        " the other way that pam_faillock(8) describes.",
    ),
    Explained(
        controls=("USR-14",),
        ours="pass",
        theirs="fail",
        reason="The content wants the one spelling `typeset -xr TMOUT=`. `TMOUT=900`, `readonly TMOUT` and"
        " `export TMOUT` are the same to bash(1); the check asks a login shell what holds.",
    ),
    Explained(
        controls=("USR-15",),
        ours="pass",
        theirs="fail",
        reason="The content wants the group to be called sugroup. pam_wheel(8) takes any group; the check looks at"
        " the one that is named there, and that nobody is in it.",
    ),
    Explained(
        controls=("USR-18",),
        ours="pass",
        theirs="fail",
        reason="The content fails for any NOPASSWD. The control allows it to the automation's account, which has a"
        " key and no password (sudoers(5)), and to nobody else.",
    ),
    Explained(
        controls=("NET-01", "NET-06"),
        ours="pass",
        theirs="fail",
        reason="On a host as found the kernel's own default is in force and no file sets it; the content wants a line"
        " in a file besides (sysctl.d(5)). Once provisioned both agree.",
    ),
    Explained(
        controls=("KRN-05",),
        ours="pass",
        theirs="fail",
        reason="The content wants kernel.unprivileged_bpf_disabled to be 1, in force and in a file. 2, the value with"
        " which Debian's kernel begins and which the role writes, refuses unprivileged users too; only an administrator"
        " may take it back (Documentation/admin-guide/sysctl/kernel.rst). Seen on the virtual machine.",
    ),
    Explained(
        controls=("FS-10", "FS-11"),
        ours="pass",
        theirs="fail",
        reason="The content wants a line in modprobe.d. Debian's cloud kernel has no such modules: measured on the"
        " virtual machine, modprobe(8) finds none in the folder of its modules, so none can be loaded.",
    ),
    Explained(
        controls=("TIM-03",),
        ours="fail",
        theirs="pass",
        reason="The content is content with any server or pool in chrony.conf. The check wants approved ones, and asks"
        " chronyc(1) which of them answer: on the virtual machine as found none does.",
    ),
    Explained(
        controls=("TIM-03",),
        ours="pass",
        theirs="fail",
        reason="The content has a list of its own of approved servers, of Debian's NTP pools. The check takes the"
        " inventory's (chrony.conf(5) takes any). Seen on the virtual machine.",
    ),
    Explained(
        controls=("KRN-04",),
        ours="pass",
        theirs="fail",
        reason="The content wants kernel.kptr_restrict to be exactly 1, its value where the CIS profile chooses none."
        " The role writes 2, which hides the addresses from root too (proc_sys_kernel(5)). Seen on the virtual"
        " machine.",
    ),
    Explained(
        controls=("KRN-07",),
        ours="pass",
        theirs="fail",
        reason="The content takes what lies in /lib/sysctl.d for an administrator's, and there procps says"
        " fs.protected_fifos = 1: on Debian that folder is /usr/lib/sysctl.d. The role's file has a later name, so its"
        " 2 holds (sysctl.d(5)); the check asks the kernel. Seen on the virtual machine.",
    ),
    Explained(
        controls=("AUD-03",),
        ours="pass",
        theirs="fail",
        reason="The content wants `-w /etc/sudoers.d/` with a slash at its end. Without one the folder and all below"
        " it is watched as well (auditctl(8), -w). Seen on the virtual machine.",
    ),
    Explained(
        controls=("AUD-04",),
        ours="pass",
        theirs="fail",
        reason="The content wants a rule of its own for clock_settime with `-F a0=0x0`, the clock of the day alone. The"
        " role's rule records that call for every clock, so for that one, too (auditctl(8), -F). Seen on the virtual"
        " machine.",
    ),
    Explained(
        controls=("FS-03",),
        ours="fail",
        theirs="pass",
        reason="The content walks only what is mounted from a device below /dev, and a container's root is an overlay:"
        " it looks at nothing. Measured: /var/log/verksamhet.log has mode 0666 there.",
    ),
    Explained(
        controls=("FS-13",),
        ours="pass",
        theirs="fail",
        reason="The content wants the names aidecheck.timer and the database of /etc/aide/aide.conf. The check asks"
        " for any timer or cron job that runs AIDE daily, and for the database that it compares with (aide(1)).",
    ),
    Explained(
        controls=("LOG-02",),
        ours="pass",
        theirs="fail",
        reason="The content reads /etc/systemd/journald.conf alone. Storage=persistent lies in journald.conf.d, which"
        " overrides it (journald.conf(5)).",
    ),
    Explained(
        controls=("LOG-04",),
        ours="pass",
        theirs="fail",
        reason="One rule wants the selector `*.*` before the action, the other wants none and an option more,"
        " StreamDriver.CheckExtendedKeyPurpose. An action without a selector takes every message (rsyslog.conf(5)); the"
        " check reads the one that is there: tcp, gtls, x509/name, to the inventory's log host.",
    ),
    Explained(
        controls=("LOG-06",),
        ours="pass",
        theirs="fail",
        reason="The content fails for every file in /var/log that is wider than 0640. Measured on a fresh Debian 12:"
        " wtmp and lastlog 0664, dpkg.log, alternatives.log and faillog 0644, as their packages make them. The control"
        " leaves out what the distribution ships so.",
    ),
    Explained(
        controls=("LOG-07",),
        ours="pass",
        theirs="fail",
        reason="The content wants `daily` in /etc/logrotate.conf and no other word in it. Debian's says weekly, keeps"
        " what the control asks for, and is run by logrotate.timer every day (logrotate(8)).",
    ),
)  # fmt: skip


def known() -> frozenset[tuple[str, str, str]]:
    """Control, our verdict, theirs: every disagreement that has a reason."""
    return frozenset((control, row.ours, row.theirs) for row in EXPLAINED for control in row.controls)


def table() -> str:
    """The rows as the page shows them."""
    rows = (f"| {', '.join(row.controls)} | {row.ours} | {row.theirs} | {row.reason} |\n" for row in EXPLAINED)
    return "".join(rows)
