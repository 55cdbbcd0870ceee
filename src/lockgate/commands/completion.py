"""``lockgate completion SHELL``: print a script that completes commands, options and choices in your shell."""

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """\
examples:
  lockgate completion bash > ~/.local/share/bash-completion/completions/lockgate
  lockgate completion zsh > ~/.zsh/completions/_lockgate      a folder of your $fpath
  lockgate completion fish > ~/.config/fish/completions/lockgate.fish

The script is made from the commands themselves; print it again after an upgrade.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate completion``."""
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def main(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    sys.stdout.write(shtab.complete(arguments.whole_parser(), arguments.shell) + "\n")
    return 0
