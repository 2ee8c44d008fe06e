"""Answers for commands that need no process: what `cat`, `stat`, `test`, `sysctl` and a few others would have printed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. An answer is byte for byte that
of the command in /bin/sh; whatever is not surely so is left to the shell (None): other options, other characters than
plain ones in a name, special files, messages that differ between versions.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
from typing import Any, Callable, Dict, List, Optional, Tuple

Answer = Tuple[int, bytes, bytes]
# Names that neither the shell nor a message of coreutils would quote or expand.
PLAIN = re.compile(r"/?[A-Za-z0-9_][A-Za-z0-9_./+,:@-]*")
# What dash looks for before it looks into PATH: its own commands and reserved words (dash(1)).
OF_THE_SHELL = (
    " . : alias bg break case cd chdir command continue do done echo elif else esac eval exec exit export false fc fg"
    " fi for getopts hash if in jobs kill let local printf pwd read readonly return set shift test then times trap"
    " true type ulimit umask unalias unset until wait while { } ! [ "
)
# Only in single quotes, or without any character that the shell would make something of.
SAFE = re.compile(r"(?:'[^'\n\\]*'|[A-Za-z0-9_./+,:@%= -])+")
LARGEST = 1 << 20


def main(arguments: Dict[str, Any]) -> Dict[str, Answer]:
    """The answers to those of `commands` that need no process, by command."""
    answers = {command: answer(command, arguments["path"]) for command in arguments["commands"]}
    return {command: found for command, found in answers.items() if found is not None}


def answer(command: str, path: str) -> Optional[Answer]:
    """Exit code, stdout and stderr of the command, or None: ask the shell. `path` is where programs are looked for."""
    if not SAFE.fullmatch(command):
        return None
    name, *words = shlex.split(command) or [""]
    try:
        if name == "command" and _dash():
            return _command(words, path)
        if name == "test" and _dash():
            return _test(words)
        return COMMANDS[name](words) if name in COMMANDS else None
    except (OSError, UnicodeError, KeyError, ValueError):
        return None


def _dash() -> bool:
    """Whether /bin/sh is dash, whose own `test` and `command` these are."""
    return os.path.basename(os.path.realpath("/bin/sh")) == "dash"


def _plain(names: List[str]) -> bool:
    return bool(names) and all(PLAIN.fullmatch(name) for name in names)


def _cat(names: List[str]) -> Optional[Answer]:
    if not _plain(names):
        return None
    out, err = b"", b""
    for name in names:
        try:
            found = os.stat(name)
        except FileNotFoundError:
            err += b"cat: %s: No such file or directory\n" % name.encode()
            continue
        if stat.S_ISDIR(found.st_mode):
            err += b"cat: %s: Is a directory\n" % name.encode()
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        with open(name, "rb") as file:
            out += file.read(LARGEST + 1)
        if len(out) > LARGEST:
            return None
    return (1 if err else 0), out, err


def _test(words: List[str]) -> Optional[Answer]:
    if len(words) != 2 or words[0] not in ("-e", "-f", "-d", "-s", "-x") or not _plain(words[1:]):
        return None
    try:
        found = os.stat(words[1])
    except FileNotFoundError:
        return 1, b"", b""
    return (0 if _holds(words[0], found.st_mode, found.st_size) else 1), b"", b""


def _holds(flag: str, mode: int, size: int) -> bool:
    if flag == "-x":  # for root: a folder, or a file that anybody may run
        return stat.S_ISDIR(mode) or bool(mode & 0o111)
    return {"-e": True, "-f": stat.S_ISREG(mode), "-d": stat.S_ISDIR(mode), "-s": size > 0}[flag]


def _stat(words: List[str]) -> Optional[Answer]:
    follow = bool(words) and words[0] == "-L"
    words = words[1:] if follow else words
    if len(words) < 3 or words[0] not in ("-c", "--format") or not _plain(words[2:]):
        return None
    shape = words[1]
    if re.search(r"[\\]", shape) or set(re.findall(r"%(.?)", shape)) - set("nUGugasF%"):
        return None
    out, err = b"", b""
    for name in words[2:]:
        try:
            found = os.stat(name) if follow else os.lstat(name)
        except FileNotFoundError:
            err += b"stat: cannot statx '%s': No such file or directory\n" % name.encode()
            continue
        out += _filled(shape, name, found).encode() + b"\n"
    return (1 if err else 0), out, err


def _filled(shape: str, name: str, found: os.stat_result) -> str:
    fields = {
        "n": name,
        "U": _user(found.st_uid),
        "G": _group(found.st_gid),
        "u": str(found.st_uid),
        "g": str(found.st_gid),
        "a": "%o" % stat.S_IMODE(found.st_mode),
        "s": str(found.st_size),
        "F": _kind(found),
        "%": "%",
    }
    return re.sub(r"%(.)", lambda field: fields[field[1]], shape)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "UNKNOWN"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return "UNKNOWN"


def _kind(found: os.stat_result) -> str:
    if stat.S_ISREG(found.st_mode):
        return "regular file" if found.st_size else "regular empty file"
    return KINDS[stat.S_IFMT(found.st_mode)]


KINDS = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


def _sysctl(words: List[str]) -> Optional[Answer]:
    """`sysctl NAME...`: every name must have one line, and be there unless `-e` says so, or the shell is asked."""
    names = [word for word in words if word != "-e"]
    if not names or not all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name) for name in names):
        return None
    out = b""
    for name in names:
        place = "/proc/sys/" + name.replace(".", "/")
        if "-e" in words and not os.path.lexists(place):
            continue
        with open(place, "rb") as file:
            value = file.read()
        if value.count(b"\n") != 1 or not value.endswith(b"\n"):
            return None
        out += name.encode() + b" = " + value
    return 0, out, b""


def _uname(words: List[str]) -> Optional[Answer]:
    return (0, os.uname().nodename.encode() + b"\n", b"") if words == ["-n"] else None


def _readlink(words: List[str]) -> Optional[Answer]:
    """Without options: the link's own text, or 1 and nothing."""
    if len(words) != 1 or not _plain(words):
        return None
    if not os.path.islink(words[0]):
        return 1, b"", b""
    return 0, os.readlink(words[0]).encode() + b"\n", b""


def _command(words: List[str], path: str) -> Optional[Answer]:
    """`command -v NAME`: where a program lies; 127 where it is nowhere."""
    if (
        len(words) != 2
        or words[0] != "-v"
        or not _plain(words[1:])
        or "/" in words[1]
        or f" {words[1]} " in OF_THE_SHELL
    ):
        return None
    for folder in path.split(":"):
        place = folder + "/" + words[1]
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return 0, place.encode() + b"\n", b""
    return 127, b"", b""


COMMANDS: Dict[str, Callable[[List[str]], Optional[Answer]]] = {
    "cat": _cat,
    "stat": _stat,
    "sysctl": _sysctl,
    "uname": _uname,
    "readlink": _readlink,
}
