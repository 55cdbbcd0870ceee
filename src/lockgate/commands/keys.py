"""``lockgate keys``: make, list, trust and revoke the keys that sign releases where no workflow's identity does."""

import argparse
import re
import sys
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError, UsageError
from lockgate.files import write_whole
from lockgate.releasing.options import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    actor_of,
    add_reader_options,
    registry_of,
    signer_of,
    trusted_file,
)
from lockgate.releasing.registry import Actor
from lockgate.releasing.revocation import find_key, revoke
from lockgate.releasing.signing import create_key_pair
from lockgate.releasing.trusted_keys import TrustedKey, read_keys, with_revocation, write_keys

EXAMPLES = """\
examples:
  lockgate keys                                  a first pair: lockgate.key signs, lockgate.pub is trusted
  lockgate keys list
  lockgate keys new --private-key new.key --public-key new.pub
  lockgate keys trust new.pub                    lockgate.pub trusts both from now on
  lockgate keys revoke 0563e8ea22c9 --private-key new.key --reason "the laptop was stolen" --from production=7

docs/keys.md tells how a key is rotated, lost and revoked.
"""


class KeyExists(LockgateError):  # noqa: N818 - named for what the user reads
    """There is a key of that name already."""

    def __init__(self, there: Path, other: Path) -> None:
        """Name the file, and what can be done with it or without its other half (which may be absent)."""
        advice = "A key is not replaced, because what it signed is trusted as long as it is. "
        if other.exists():
            advice += "Both halves are here: use them, or name other files with --private-key and --public-key."
        else:
            advice += (
                f"{other} is not here. If it is somewhere else, copy it here or name it in ${_VARIABLE[other.name]}. "
                if other.name in _VARIABLE
                else f"{other} is not here. "
            )
            advice += (
                "If it is lost: `lockgate keys new --private-key new.key --public-key new.pub`, then `lockgate keys "
                "trust new.pub` (docs/keys.md)."
            )
        super().__init__(f"{there} is there already", advice)


_VARIABLE = {PRIVATE_KEY: "LOCKGATE_PRIVATE_KEY", PUBLIC_KEY: "LOCKGATE_PUBLIC_KEY"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "action", nargs="?", choices=("new", "list", "trust", "revoke"), default="new", help="default: %(default)s"
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help="trust: a file; revoke: a fingerprint or a key's name")
    parser.add_argument("--name", default="", help="trust: what the key is called, for people")
    parser.add_argument("--reason", default="", help="revoke: why")
    parser.add_argument(
        "--from",
        dest="entries_from",
        action="append",
        default=[],
        metavar="ENVIRONMENT=N",
        help="revoke: believe no entry of its log that the key signed from number N on (default: all so far)",
    )
    parser.add_argument(
        "--not-release", action="append", default=[], metavar="VERSION", help="revoke: do not believe this release"
    )
    add_reader_options(parser)
    parser.add_argument("--private-key", type=Path, metavar="PEM", help=f"default: {PRIVATE_KEY}")
    parser.add_argument("--actor", help="who does this (default: $GITHUB_ACTOR, else the login name)")
    parser.set_defaults(keyless=False)


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked for."""
    if arguments.action in {"trust", "revoke"} and not arguments.key:
        raise UsageError(f"which key to {arguments.action} is not said", "`lockgate keys --help` shows examples.")
    if arguments.key and arguments.action in {"new", "list"}:
        raise UsageError(f"`lockgate keys {arguments.action}` takes no key", "`lockgate keys --help` shows examples.")
    {"new": _new, "list": _list, "trust": _trust, "revoke": _revoke}[arguments.action](arguments)
    return 0


def _new(arguments: argparse.Namespace) -> None:
    """Write both keys, or neither."""
    private = arguments.private_key or Path(PRIVATE_KEY)
    public = (arguments.public_key or [Path(PUBLIC_KEY)])[0]
    for path, other in ((private, public), (public, private)):
        if path.exists():
            raise KeyExists(path, other)
    try:
        create_key_pair(private, public)
    except OSError as error:
        raise NotAskedError(
            f"cannot write {error.filename}: {error.strerror}", "Name a file in a folder that exists."
        ) from error
    sys.stdout.write(
        f"{private} signs: keep it secret, out of git, and keep a copy where it cannot get lost\n"
        f"{public} verifies: give it to whoever uses releases, commit it\n"
    )


def _list(arguments: argparse.Namespace) -> None:
    file = trusted_file(arguments)
    for key in read_keys(file.read_bytes(), str(file)):
        state = f"revoked: {key.revoked.reason}" if key.revoked else "trusted"
        sys.stdout.write(f"{key.fingerprint[:12]}  {state}{'  ' + key.name if key.name else ''}\n")


def _trust(arguments: argparse.Namespace) -> None:
    file = trusted_file(arguments)
    keys = read_keys(file.read_bytes(), str(file))
    added = read_keys(_content(Path(arguments.key)), arguments.key)
    known = {key.fingerprint for key in keys}
    new = [
        TrustedKey(key.pem, arguments.name or key.name, key.revoked) for key in added if key.fingerprint not in known
    ]
    if not new:
        sys.stdout.write(f"nothing to do: {file} trusts it already\n")
        return
    write_whole(file, write_keys([*keys, *new]))
    sys.stdout.write("".join(f"{key.fingerprint[:12]} is trusted: {file} was written; commit it\n" for key in new))


def _revoke(arguments: argparse.Namespace) -> None:
    if not arguments.reason:
        raise UsageError("why the key is revoked is not said", "Give --reason.")
    file = trusted_file(arguments)
    keys = read_keys(file.read_bytes(), str(file))
    key = find_key(arguments.key, keys)
    entries_from = {}
    for word in arguments.entries_from:
        found = re.fullmatch(r"([^=]+)=([1-9][0-9]{0,7})", word)
        if found is None:
            raise UsageError(f"'{word}' does not read ENVIRONMENT=N", "Write --from production=7.")
        entries_from[found[1]] = int(found[2])
    done = revoke(
        registry_of(arguments),
        key,
        signer_of(arguments),
        Actor.now(actor_of(arguments)),
        arguments.reason,
        entries_from=entries_from,
        not_releases=frozenset(arguments.not_release),
    )
    revocation = done.key.revoked
    if revocation is not None:
        write_whole(file, write_keys([with_revocation(one, revocation) if one == key else one for one in keys]))
    sys.stdout.write(
        f"{key.fingerprint[:12]} is revoked: the store says so ({done.path}), and {file} does; commit it\n"
        "Entries of a log that are refused from now on are passed over by `lockgate repair ENVIRONMENT`.\n"
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "Name a file with a public key.") from None
