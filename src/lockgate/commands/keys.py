"""``lockgate keys``: create the key pair that signs releases and promotions outside of workflows."""

import argparse
import sys
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError
from lockgate.releasing.options import PRIVATE_KEY, PUBLIC_KEY
from lockgate.releasing.signing import create_key_pair

EXAMPLES = """\
examples:
  lockgate keys                                                lockgate.key signs, lockgate.pub verifies
  lockgate keys --private-key ci.key --public-key ci.pub

Workflows need no key: they sign with their own identity (docs/releases.md).
"""


class KeyExists(LockgateError):  # noqa: N818 - named for what the user reads
    """There is a key of that name already."""

    def __init__(self, path: str) -> None:
        """Name the file."""
        super().__init__(
            f"{path} exists already, and is not replaced",
            "Releases signed with a key are trusted as long as the key is. Name other files to create another pair.",
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--private-key", type=Path, default=Path(PRIVATE_KEY), metavar="PEM", help="default: %(default)s"
    )
    parser.add_argument("--public-key", type=Path, default=Path(PUBLIC_KEY), metavar="PEM", help="default: %(default)s")


def main(arguments: argparse.Namespace) -> int:
    """Write both keys, or neither."""
    for path in (arguments.private_key, arguments.public_key):
        if path.exists():
            raise KeyExists(str(path))
    try:
        create_key_pair(arguments.private_key, arguments.public_key)
    except OSError as error:
        raise NotAskedError(
            f"cannot write {error.filename}: {error.strerror}", "Name a file in a folder that exists."
        ) from error
    sys.stdout.write(
        f"wrote {arguments.private_key}: it signs; keep it secret and out of git\n"
        f"wrote {arguments.public_key}: it verifies; commit it, and give it to everyone who uses releases\n"
    )
    return 0
