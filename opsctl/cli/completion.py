"""`opsctl completion`: the script that teaches a shell opsctl's verbs and options."""

from __future__ import annotations

import click


@click.command(
    "completion",
    epilog='To use it in this shell alone: eval "$(opsctl completion bash)"',
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Shell completion for bash, zsh and fish.

    Prints the script. Put it where your shell looks for such scripts, and open a new shell:

    \b
    bash  opsctl completion bash > ~/.local/share/bash-completion/completions/opsctl
    zsh   opsctl completion zsh > ~/.zfunc/_opsctl     (with ~/.zfunc in fpath, before compinit)
    fish  opsctl completion fish > ~/.config/fish/completions/opsctl.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    # `source` of bash first runs bash to look at its version; a script can be made without it.
    script = found(root, {}, "opsctl", "_OPSCTL_COMPLETE")
    click.echo(script.source_template % script.source_vars())
