"""The command line of one virtual machine: QEMU without KVM, a disk, a link on the lab's bridge, an agent's port.

Without KVM, because machines that are virtual themselves often have a /dev/kvm that answers and then hangs its guests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAM = "qemu-system-x86_64"
COMM = PROGRAM[:15]  # what the kernel keeps of it
_TRANSLATED = 256  # MiB for code that was translated; QEMU would take 1 GiB
_KERNEL_WORDS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet systemd.show_status=false"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a virtual machine is put together from; `link` is a tap device, `agent` a socket, `memory` in MiB."""

    name: str
    kernel: Path
    initrd: Path
    disk: Path
    link: str
    hardware_address: str
    agent: Path
    memory: int


def command(parts: Parts) -> list[str]:
    """Nothing is there but what is named; the console goes to standard output."""
    return [
        PROGRAM,
        *("-name", parts.name, "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35,graphics=off", "-accel", f"tcg,tb-size={_TRANSLATED}", "-cpu", "qemu64", "-smp", "1"),
        *("-m", str(parts.memory)),
        *("-kernel", str(parts.kernel), "-initrd", str(parts.initrd), "-append", _KERNEL_WORDS),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-blockdev", f"driver=file,node-name=file,filename={parts.disk}"),
        *("-blockdev", "driver=qcow2,node-name=disk,file=file"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-netdev", f"tap,id=net,ifname={parts.link},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net,mac={parts.hardware_address},romfile="),
        *("-device", "virtio-rng-pci"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={parts.agent},server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
    ]


def hardware_address(code: str, index: int) -> str:
    """A locally administered address that follows from the lab's code and the host's number in it."""
    pairs = [code[at : at + 2] for at in (0, 2, 4)]
    return ":".join(["52", "54", *pairs, f"{index:02x}"])
