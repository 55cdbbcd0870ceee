"""``lockgate keys``: make the key pair that signs releases and promotions where no workflow's identity does."""

import argparse
import sys
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError
from lockgate.releasing.options import PRIVATE_KEY, PUBLIC_KEY
from lockgate.releasing.signing import create_key_pair


class KeyExists(LockgateError):  # noqa: N818 - named for what the user reads
    """There is a key of that name already."""

    def __init__(self, path: str) -> None:
        """Name the file."""
        super().__init__(
            f"{path} is there already: it is not replaced",
            "What was signed with a key is trusted as long as the key is. Name other files for another pair.",
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
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
        raise NotAskedError(f"cannot write {error.filename}: {error.strerror}", "Name a file in a folder.") from error
    sys.stdout.write(
        f"{arguments.private_key} signs: keep it secret, out of git\n"
        f"{arguments.public_key} verifies: give it to whoever uses releases, commit it\n"
    )
    return 0
