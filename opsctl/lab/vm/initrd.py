"""The small file system that a virtual machine's kernel begins with: the modules that its disk needs, and one script.

Written in the `newc` format of cpio(5), as the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
describes it. Not packed: unpacking it without KVM takes longer than reading it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The disk, the file system on it, and the port of the agent; the rest the machine loads itself.
MODULES = ("virtio_pci", "virtio_blk", "ext4")
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
{insert}
until /bin/busybox test -b /dev/vda; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 -o rw /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file (with its `content`) or folder of the archive."""

    name: str
    mode: int
    content: bytes = b""


def build(busybox: bytes, modules: Mapping[str, bytes]) -> bytes:
    """The archive; `modules` are file names with their content, in the order in which they are inserted."""
    insert = "\n".join(f"/bin/busybox insmod /modules/{name}" for name in modules)
    folders = (Entry(name=name, mode=stat.S_IFDIR | 0o755) for name in ("bin", "dev", "modules", "root"))
    files = (
        Entry(name="bin/busybox", mode=stat.S_IFREG | 0o755, content=busybox),
        Entry(name="init", mode=stat.S_IFREG | 0o755, content=_INIT.format(insert=insert).encode()),
        *(Entry(name=f"modules/{name}", mode=stat.S_IFREG | 0o644, content=text) for name, text in modules.items()),
    )
    return archive((*folders, *files))


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries in the newc format, owned by root."""
    return b"".join(_parts((*entries, Entry(name="TRAILER!!!", mode=0))))


def _parts(entries: Iterable[Entry]) -> Iterator[bytes]:
    for number, entry in enumerate(entries, 1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name
        yield head + b"\0" * (-len(head) % 4)
        yield entry.content + b"\0" * (-len(entry.content) % 4)


def in_order(dependencies: str, wanted: Iterable[str] = MODULES) -> tuple[Path, ...]:
    """The files of these modules and of all that they need, as modules.dep lists them, what is needed first.

    A module that the list does not have is built into the kernel.
    """
    needs = {}
    for line in dependencies.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    found: dict[str, None] = {}
    for path in (by_name[name] for name in wanted if name in by_name):
        # modules.dep names all that a module needs, the deepest last
        found |= dict.fromkeys((*reversed(needs[path]), path))
    return tuple(map(Path, found))
