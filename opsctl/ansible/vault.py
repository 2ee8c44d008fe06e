"""The vault's password: from a command, through a pipe, never in a file, an argument or a variable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opsctl.ansible import configuration
from opsctl.ansible.private import private_folder
from opsctl.config import Settings
from opsctl.errors import ConfigError
from opsctl.state.redaction import Redactor

SEAL = "$ANSIBLE_VAULT;"
SECONDS = 60
LONGEST = 4096  # fits a pipe's buffer, so writing never waits for a reader


@contextmanager
def password_pipe(settings: Settings, redactor: Redactor, *, needed: bool) -> Iterator[int | None]:
    """The reading end of a pipe that holds the password; None where no value in use is vaulted.

    The redactor learns it, so that nothing it has cleaned can hold it, whatever a task prints.
    """
    if not needed:
        yield None
        return
    command = settings.texts("vault.password_command")
    if not command:
        raise ConfigError(
            "variables of these hosts are vaulted, and vault.password_command is not set",
            hint="say in opsctl.yml which command prints the password",
        )
    reader, writer = os.pipe()
    try:
        try:
            password = _asked(command)
            redactor.add(password.decode(errors="surrogateescape"))
            os.write(writer, password)
        finally:
            os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _asked(command: Sequence[str]) -> bytes:
    """What the command prints. Its own messages go to the terminal; its output is never shown."""
    try:
        ended = subprocess.run(list(command), stdout=subprocess.PIPE, timeout=SECONDS, check=False)
    except OSError as error:
        raise ConfigError(f"vault.password_command cannot be started: {error}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"vault.password_command gave no answer within {SECONDS} s") from None
    password = ended.stdout.strip()
    if ended.returncode or not password or len(password) > LONGEST:
        what = f"ended with {ended.returncode}" if ended.returncode else "printed no usable password"
        raise ConfigError(f"vault.password_command {what}")
    return password


def is_sealed(text: str) -> bool:
    """Whether a file's text is sealed by ansible-vault as a whole."""
    return text.lstrip().startswith(SEAL)


def opened(file: Path, settings: Settings, redactor: Redactor) -> str:
    """The text of a sealed file. It passes through pipes alone. Raises ConfigError, which quotes nothing of it."""
    with private_folder(settings) as private, password_pipe(settings, redactor, needed=True) as password:
        (private / "ansible.cfg").touch(mode=0o600)  # an empty one, and so no other
        program = Path(sys.executable).with_name("ansible-vault")
        line = [str(program), "decrypt", "--vault-password-file", f"/dev/fd/{password}", "--output", "-", str(file)]
        try:
            ended = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                env=configuration.bare_environment(private),
                pass_fds=[password] if password is not None else [],
            )
        except (OSError, subprocess.TimeoutExpired):
            raise ConfigError(f"{file}: ansible-vault gave no answer") from None
    if ended.returncode:
        raise ConfigError(f"{file} cannot be opened", hint="is vault.password_command the one it was sealed with?")
    return ended.stdout.decode("utf-8", "replace")
