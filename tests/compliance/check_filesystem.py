"""Files: owners and modes, what everybody may write, setuid programs, mounts, the boot loader, detected changes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import family, red_hat
from reading import Stat, lines, only_with_a_kernel, output, refuse_modules, stats

# One walk over every local file system for FS-03 to FS-06. Proc, sys and what lies on other machines are not walked.
# find(1) looks up each file's owner in /etc/passwd anew; for root's files, nearly all of them, there is no need.
_ROOTS = (
    "awk '$3 ~ /^(ext[234]|xfs|btrfs|f2fs|jfs|zfs|tmpfs)$/ || $2 == \"/\" { print $2 }' /proc/mounts "
    "| grep -vE '^/(proc|sys|run/(user|credentials))(/|$)' | sort -u"
)
WALK = (
    f"{_ROOTS} | xargs -d '\\n' sh -c 'exec find \"$@\" -ignore_readdir_race -xdev "
    '\\( -type f -perm -0002 -printf "writable %m %u:%g %p\\n" \\) , '
    '\\( -type d -perm -0002 ! -perm -1000 -printf "unsticky %m %u:%g %p\\n" \\) , '
    '\\( \\( ! -uid 0 -nouser -o ! -gid 0 -nogroup \\) -printf "unowned %m %U:%G %p\\n" \\) , '
    '\\( -type f -perm /6000 -printf "setid %m %u:%g %p\\n" \\)\' find'
)


# A line of the walk. Groups of a directory service may have blanks in their names; a path begins with a slash.
_FOUND = re.compile(r"(writable|unsticky|unowned|setid) ([0-7]+) (.*?:.*?) (/.*)")


def walked(host: Any, kind: str, left_out: tuple[str, ...] = ()) -> dict[str, str]:
    """path -> mode and owner of what the walk found of this kind, without what lies at or below `left_out`.

    A name may hold the end of a line, whoever made it: what follows belongs to it.
    """
    entries: list[list[str]] = []
    for line in lines(host, WALK):
        if matched := _FOUND.fullmatch(line):
            entries.append(list(matched.groups()))
        elif entries:
            entries[-1][-1] += f"\\n{line}"
        else:
            raise CannotJudge(f"the walk printed {line[:60]!r}")
    found = {}
    for what, mode, owner, path in entries:
        if what == kind and not any(path == name or path.startswith(f"{name}/") for name in left_out):
            found[path] = f"{mode} {owner}"
    return found


def right(host: Any, verdict: Verdict, mode: int, groups: tuple[str, ...], *files: str) -> None:
    """Each of the files is root's, of one of the groups, with this mode or a stricter one."""
    found = stats(host, *files)
    missing = set(files) - {entry.path for entry in found}
    wrong = [
        entry for entry in found if entry.user != "root" or entry.group not in groups or not entry.no_wider_than(mode)
    ]
    verdict(
        not wrong and not missing,
        observed=f"{listed(map(str, found))}; wrong: {listed(map(str, wrong))}; missing: {listed(missing)}",
        expected=f"owner root, group {' or '.join(groups)}, mode {mode:04o} or stricter",
    )


@pytest.mark.control("FS-01")
def check_account_files(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    right(host, verdict, mode, ("root",), "/etc/passwd", "/etc/group")


@pytest.mark.control("FS-02")
def check_password_files(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    rhel = red_hat(host)
    mode = 0 if rhel else int(expectations.text("mode"), 8)
    right(host, verdict, mode, ("root",) if rhel else ("root", "shadow"), "/etc/shadow", "/etc/gshadow")


@pytest.mark.control("FS-03")
def check_nothing_is_writable_by_everyone(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    found = walked(host, "writable", expectations.texts("left_out"))
    verdict(not found, observed=f"{len(found)} files: {_shown(found)}", expected="0 files that everybody may write")


@pytest.mark.control("FS-04")
def check_shared_directories_are_sticky(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    found = walked(host, "unsticky", expectations.texts("left_out"))
    expected = "0 directories that everybody may write without the sticky bit"
    verdict(not found, observed=f"{len(found)} directories: {_shown(found)}", expected=expected)


@pytest.mark.control("FS-05")
def check_everything_has_an_owner(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    found = walked(host, "unowned", expectations.texts("left_out"))
    verdict(
        not found, observed=f"{len(found)} without: {_shown(found)}", expected="0 files without an owner or a group"
    )


@pytest.mark.control("FS-06")
def check_setuid_programs_are_known(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    kind = family(host)
    if kind not in ("debian", "rhel"):
        raise CannotJudge(f"no list of setuid programs is kept for {kind}")
    known = {*expectations.texts(kind), *expectations.texts("also_known")}
    found = walked(host, "setid")
    others = {path: about for path, about in found.items() if path not in known}
    verdict(
        not others,
        observed=f"{len(found)} setuid or setgid programs; not known: {_shown(others)}",
        expected="only programs of the list kept for the platform",
    )


def _shown(found: dict[str, str]) -> str:
    return listed(f"{path} {about}" for path, about in found.items())


def mounted(host: Any, verdict: Verdict, place: str) -> None:
    """A file system of its own at `place` with nodev, nosuid and noexec."""
    only_with_a_kernel(host, "what is mounted")
    wanted = ("nodev", "nosuid", "noexec")
    # 1: nothing is mounted there (findmnt(8))
    options = output(host, f"findmnt -no OPTIONS {place}", ok=(0, 1)).split("\n")[-2:]
    given = options[0].split(",") if options[0] else []
    verdict(
        set(wanted) <= set(given),
        observed=f"{place}: {','.join(given) or 'no mount of its own'}",
        expected=f"{place} mounted apart with {', '.join(wanted)}",
    )


@pytest.mark.control("FS-07")
def check_tmp_is_apart(host: Any, verdict: Verdict) -> None:
    mounted(host, verdict, "/tmp")


@pytest.mark.control("FS-08")
def check_shared_memory_runs_nothing(host: Any, verdict: Verdict) -> None:
    mounted(host, verdict, "/dev/shm")


@pytest.mark.control("FS-09")
def check_logs_have_a_file_system_of_their_own(host: Any, verdict: Verdict) -> None:
    only_with_a_kernel(host, "what is mounted")
    found = output(host, "findmnt -n /var/log", ok=(0, 1)).strip()
    verdict(bool(found), observed=found or "/var/log: no mount of its own", expected="/var/log mounted apart")


@pytest.mark.control("FS-10")
def check_unneeded_drivers_cannot_be_loaded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    refuse_modules(host, verdict, expectations.texts("modules"))


@pytest.mark.control("FS-11")
def check_usb_storage_cannot_be_attached(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    refuse_modules(host, verdict, expectations.texts("modules"))


@pytest.mark.control("FS-12")
def check_boot_loader_is_roots_only(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    file = f"/boot/{'grub2' if family(host) == 'rhel' else 'grub'}/grub.cfg"
    found: list[Stat] = stats(host, file)
    if not found:
        not_applicable(f"no boot loader GRUB here: {file} is not there")
    right(host, verdict, mode, ("root",), file)


# run-parts(8) runs what may be run.
_CRON = (
    "grep -sHE '(^|[/[:space:]])aide([[:space:]]|$)|aidecheck' /etc/crontab /etc/cron.d/* "
    "$(find -L /etc/cron.daily -maxdepth 1 -type f -perm /111)"
)


@pytest.mark.control("FS-13")
def check_file_changes_are_detected(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    program = host.run("command -v aide").rc == 0
    databases = stats(host, *expectations.texts("databases"))
    timers = [name for name in expectations.texts("timers") if _daily(host, name)]
    crons = [line.partition(":")[0] for line in lines(host, _CRON, ok=(0, 1, 2)) if _daily_line(line)]
    verdict(
        program and bool(databases) and bool(timers or crons),
        observed=f"aide {'is there' if program else 'is not installed'}; database: "
        f"{listed(entry.path for entry in databases)}; run daily by: {listed([*timers, *crons], none='nothing')}",
        expected="aide, its database, and a timer or cron job that runs it at least daily",
    )


def _daily(host: Any, timer: str) -> bool:
    shown = lines(host, f"systemctl show -p ActiveState -p TimersCalendar {timer}")
    unit = dict(line.partition("=")[::2] for line in shown)
    # OnCalendar as systemd writes it out: [WEEKDAYS] YEARS-MONTHS-DAYS TIMES (systemd.time(7))
    return unit.get("ActiveState") == "active" and "OnCalendar=*-*-* " in unit.get("TimersCalendar", "")


def _daily_line(line: str) -> bool:
    file, _, text = line.partition(":")
    # cron and run-parts pass over names with a dot: what a package or a person put aside.
    if text.lstrip().startswith("#") or "." in file.rpartition("/")[2] or file.endswith("~"):
        return False
    return (
        file.startswith("/etc/cron.daily/")
        or re.match(r"\s*(@daily|@hourly|\S+\s+\S+\s+\*\s+\*\s+\*)\s", text) is not None
    )
