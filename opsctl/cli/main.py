"""The root of the command line, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl import __version__
from opsctl.cli import output
from opsctl.cli.app import COMMANDS, SECTIONS, App
from opsctl.errors import Interrupted, OpsctlError, SetupError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem


class Verbs(click.Group):
    """The root group: a verb's module is imported when the verb is used, never for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        found = import_module(f"opsctl.cli.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table alone: a keypress must not import every verb."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=verb.help) for name, verb in COMMANDS.items() if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in SECTIONS:
            rows = [(name, verb.help) for name, verb in COMMANDS.items() if verb.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 failed or unreachable, 2 wrong usage, 3 configuration or nothing matches, "
    "4 locked, 5 stopped, 6 not compliant, 130 interrupted.",
)
@click.option("-C", "--workspace", type=click.Path(path_type=Path, file_okay=False), help="The workspace folder.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="opsctl")
@click.pass_context
def root(ctx: click.Context, workspace: Path | None, *, debug: bool) -> None:
    """Operate the servers of several municipalities: inventory, provisioning, patching, monitoring, compliance.

    Without a verb: what is running, what waits for you, and what to do next.
    """
    ctx.obj = App(start=workspace, debug=debug)
    ctx.call_on_close(ctx.obj.close)
    if ctx.invoked_subcommand is None:
        from opsctl.cli.overview import command

        ctx.invoke(command)


def entry() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has set that
        signal.signal(signal.SIGHUP, _stop)
    _open_streams()
    code = run(sys.argv[1:])
    gc.freeze()  # all goes with the process: looking for cycles in it would be a tenth of a short verb's time
    sys.exit(code)


def _open_streams() -> None:
    """See that 0, 1 and 2 are open, or the next file that is opened takes their place; and that any text can go out."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code of convention 13."""
    output.begin(json_wanted=_wants_json(arguments))
    try:
        answer = root.main(arguments, prog_name="opsctl", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        _say_outcome(UsageError.outcome, error.format_message())
        return 2
    except (KeyboardInterrupt, click.Abort):
        return _tell_interrupted(Interrupted())
    except Interrupted as stop:
        return _tell_interrupted(stop)
    except BrokenPipeError:
        # The reader has gone (a pager, head): not our fault, and nothing more to say.
        _let_go_of_stdout()
        return 1
    except Exception as error:  # noqa: BLE001 - the one boundary: nobody is shown a traceback who did not ask
        if "--debug" in arguments:
            output.note(traceback.format_exc().rstrip())  # what hosts and NetBox say is in it
        return _tell(error if isinstance(error, OpsctlError) else _unforeseen(error))
    return answer if isinstance(answer, int) else 0


def _say_outcome(outcome: str, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
    """The error as a document; where nobody can read that any more (a full disk, `head`) the exit code still tells."""
    try:
        output.say_outcome(outcome, message, hint=hint, problems=problems)
    except OSError:
        _let_go_of_stdout()


def _wants_json(arguments: list[str]) -> bool:
    """Whether a program reads the answer: then an error too is a document with its `outcome`."""
    separate = any(word in ("-o", "--output") and value == "json" for word, value in pairwise(arguments))
    return separate or "-ojson" in arguments or "--output=json" in arguments


def _unforeseen(error: Exception) -> OpsctlError:
    """What no room foresaw: the system refuses something (disk full, no permission), or a fault of our own."""
    if isinstance(error, OSError):
        _let_go_of_stdout()
        return OpsctlError(str(error), hint="make room or mend the permissions, then try again")
    return OpsctlError(
        f"a fault in opsctl: {type(error).__name__}: {error}", hint="run it again as `opsctl --debug ...` and report it"
    )


def _let_go_of_stdout() -> None:
    """What is still to be written there cannot be: without this the interpreter would fail on it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _tell_interrupted(stop: Interrupted) -> int:
    output.note(stop.message)
    if stop.hint:
        output.note(f"  to go on: {stop.hint}")
    _say_outcome(stop.outcome, stop.message, hint=stop.hint)
    return stop.exit_code


def _tell(error: OpsctlError) -> int:
    output.note(f"error: {error.message}")
    problems = error.problems if isinstance(error, SetupError) else ()
    for problem in problems:
        output.note(f"  {problem}")
    if error.hint:
        output.note(f"  what next: {error.hint}")
    _say_outcome(error.outcome, error.message, hint=error.hint, problems=[str(problem) for problem in problems])
    return error.exit_code
