"""What the commands about releases share: their options for the store, the keys and the model, and their progress.

``REF`` is a version (``v1.2.0``, ``flight-delay@v1.2.0``) or an environment (``production``,
``flight-delay#production``).
"""

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError, UsageError
from lockgate.formatting import size
from lockgate.releasing.environments import Entry, Environment
from lockgate.releasing.identities import Identity, parse_identity
from lockgate.releasing.manifest import is_version, release_name
from lockgate.releasing.registry import Actor, Build, Registry, Step
from lockgate.releasing.signing import (
    IdentityVerifier,
    KeylessSigner,
    KeySigner,
    KeyText,
    KeyVerifier,
    Signer,
    Verifier,
)
from lockgate.releasing.withdrawal import check_withdrawn
from lockgate.rendering.escape import block
from lockgate.rendering.escape import text as as_markdown
from lockgate.store import Store, open_store

STORE = ".lockgate/store"
SUMMARY_LINES = 200
PRIVATE_KEY, PUBLIC_KEY = "lockgate.key", "lockgate.pub"


@dataclass(frozen=True, slots=True)
class Ref:
    """A release as a user names it: by its version, or by the environment that runs it."""

    name: str | None
    version: str | None
    environment: str | None


@dataclass(frozen=True, slots=True)
class Writer:
    """Where something is to be written, who signs it (``None`` for a dry run) and who asks for it."""

    registry: Registry
    signer: Signer | None
    actor: Actor


def parse_ref(text: str) -> Ref:
    """Return what ``text`` names. Raises :class:`UsageError` if it has neither form."""
    if "@" in text:
        name, _, version = text.partition("@")
        if name and is_version(version):
            return Ref(release_name(name), version, None)
    elif "#" in text:
        name, _, environment = text.partition("#")
        if name and environment and "#" not in environment:
            return Ref(release_name(name), None, environment)
    elif is_version(text):
        return Ref(None, text, None)
    elif text:
        return Ref(None, None, text)
    raise UsageError(
        f"'{text}' names neither a version nor an environment",
        "Write v1.2.0, NAME@v1.2.0, production or NAME#production.",
    )


def parse_environment(text: str, instead: str = "Write production or NAME#production.") -> tuple[str | None, str]:
    """Return the model, if it is named, and the environment. Raises :class:`UsageError`, which advises ``instead``, if
    ``text`` names a version."""
    ref = parse_ref(text)
    if ref.environment is None:
        raise UsageError(f"'{text}' is a version, not an environment", instead)
    return ref.name, ref.environment


def add_reader_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that reads releases."""
    parser.add_argument(
        "--store", metavar="URL", help=f"a folder or s3://bucket/prefix (default: $LOCKGATE_STORE, else {STORE})"
    )
    parser.add_argument(
        "--model",
        type=release_name,
        metavar="NAME",
        help="the model, where REF does not say it and the store has several",
    )
    parser.add_argument(
        "--public-key",
        type=Path,
        metavar="FILE",
        action="append",
        help=f"trust the public keys in FILE; may be repeated (default: $LOCKGATE_PUBLIC_KEY, else {PUBLIC_KEY})",
    )
    parser.add_argument(
        "--identity",
        metavar="PARTS",
        action="append",
        help="trust a workflow or person instead, by Sigstore: repository=URL,workflow=FILE,ref=tags; may be repeated",
    )
    parser.add_argument("--issuer", metavar="URL", help="who vouches for that identity (default: GitHub Actions)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_writer_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that signs something, after :func:`add_reader_options`."""
    parser.add_argument(
        "--private-key",
        type=Path,
        metavar="PEM",
        help=f"sign with this (default: $LOCKGATE_PRIVATE_KEY, else {PRIVATE_KEY})",
    )
    parser.add_argument(
        "--keyless", action="store_true", help="sign as the workflow that runs, by Sigstore; --identity implies it"
    )
    parser.add_argument("--actor", help="who does this (default: $GITHUB_ACTOR, else the login name)")
    parser.add_argument(
        "--dry-run", action="store_true", help="verify everything, say what would be done, write nothing"
    )


def add_summary_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that repeats what is told, for the summary of a workflow's job."""
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append what is told to FILE, as Markdown")


@contextmanager
def summarised(arguments: argparse.Namespace, title: str) -> Iterator[Callable[[str], None]]:
    """Give a function that writes to stdout; all it wrote, or the error that ended it, goes to ``--summary``, too."""
    told: list[str] = []

    def tell(text: str) -> None:
        sys.stdout.write(text)
        told.append(text)

    verdict = "refused"
    try:
        yield tell
        verdict = "done"
    except LockgateError as error:
        told += [f"{error}\n", f"{error.advice}\n"]
        raise
    finally:
        if arguments.summary is not None:
            with arguments.summary.open("a", encoding="utf-8") as file:
                file.write(f"### {as_markdown(title)}: {verdict}\n\n{block(''.join(told), SUMMARY_LINES)}\n\n")


def store_of(arguments: argparse.Namespace, *, create: bool = False) -> Store:
    """Return the store the options name."""
    return open_store(arguments.store or os.environ.get("LOCKGATE_STORE") or STORE, create=create)


def registry_of(arguments: argparse.Namespace, name: str | None = None, *, create: bool = False) -> Registry:
    """Return the registry of the model ``name``, else of the one the options name, else of the only one there is."""
    store = store_of(arguments, create=create)
    if name and arguments.model and name != arguments.model:
        raise UsageError(f"REF names the model {name}, --model names {arguments.model}")
    return Registry(store, name or arguments.model or _only_model(store), verifier_of(arguments))


def verifier_of(arguments: argparse.Namespace) -> Verifier:
    """Return whom to trust, as the options say. Raises :class:`UsageError` where nobody is named."""
    if identities := _identities(arguments):
        if arguments.public_key:
            raise UsageError(
                "--identity and --public-key are both given: what is signed one way is refused the other way",
                "Leave one of them out.",
            )
        return IdentityVerifier(identities)
    if arguments.public_key:
        first, *more = arguments.public_key
        return KeyVerifier(first, tuple(more))
    key = _key(None, "LOCKGATE_PUBLIC_KEY", PUBLIC_KEY)
    if key is None:
        raise UsageError(
            f"{PUBLIC_KEY} is not here, so there is nobody to trust",
            "Run this where it is, or name a public key with --public-key, or a signer with --identity.",
        )
    return KeyVerifier(key)


def trusted_file(arguments: argparse.Namespace) -> Path:
    """Return the file of trusted keys, which a command is to read or write. Raises :class:`UsageError`."""
    key = arguments.public_key[0] if arguments.public_key else _key(None, "LOCKGATE_PUBLIC_KEY", PUBLIC_KEY)
    if not isinstance(key, Path) or not key.is_file():
        raise UsageError(f"{key or PUBLIC_KEY} is not a file here", "Name the file of trusted keys with --public-key.")
    return key


def _identities(arguments: argparse.Namespace) -> tuple[Identity, ...]:
    return tuple(parse_identity(text, arguments.issuer or "") for text in arguments.identity or () if text)


def signer_of(arguments: argparse.Namespace) -> Signer:
    """Return who signs, as the options say. Raises :class:`UsageError` where nobody is named."""
    if arguments.keyless or _identities(arguments):  # whoever trusts an identity would trust no key's signature
        if arguments.private_key:
            raise UsageError(
                f"--private-key and {'--keyless' if arguments.keyless else '--identity'} are both given",
                "Sign either with a key or as the workflow that runs.",
            )
        return KeylessSigner()
    key = _key(arguments.private_key, "LOCKGATE_PRIVATE_KEY", PRIVATE_KEY)
    if key is None:
        raise UsageError(
            f"{PRIVATE_KEY} is not here, and there is nothing else to sign with",
            "Run this where it is, or name it with --private-key or $LOCKGATE_PRIVATE_KEY; `lockgate keys` makes a "
            "first pair. If it is lost, docs/keys.md says how to go on with a new one.",
        )
    return KeySigner(key)


def writer_of(arguments: argparse.Namespace, name: str | None = None) -> Writer:
    """Return where and by whom something about the model ``name`` is to be written. Raises as :func:`registry_of` and
    :func:`signer_of`."""
    signer = None if arguments.dry_run else signer_of(arguments)
    return Writer(registry_of(arguments, name), signer, Actor.now(actor_of(arguments)))


def actor_of(arguments: argparse.Namespace) -> str:
    """Return who acts."""
    return str(arguments.actor or os.environ.get("GITHUB_ACTOR") or getpass.getuser())


def resolve_to_use(registry: Registry, ref: Ref) -> tuple[Entry | None, Build]:
    """Return what :func:`resolve` does, for somebody who is going to use the release: a withdrawn one is warned of, or
    refused (:class:`~lockgate.releasing.withdrawal.ReleaseWithdrawn`)."""
    entry, build = resolve(registry, ref)
    withdrawal = check_withdrawn(registry, build)
    if withdrawal is not None:
        sys.stderr.write(f"lockgate: warning: {withdrawal}\n")
    return entry, build


def resolve(registry: Registry, ref: Ref) -> tuple[Entry | None, Build]:
    """Return the build a REF stands for, and the entry that brought it to the environment, if it names one."""
    if ref.version is not None:
        return None, registry.release(ref.version)
    return Environment(registry, str(ref.environment)).current()


@dataclass
class StderrProgress:
    """Shows how far a transfer is: a line that changes on a terminal, one line per step in a log."""

    _shown: dict[Step, int] = field(default_factory=dict)

    def __call__(self, step: Step, done: int, total: int) -> None:
        """Show ``done`` of ``total`` bytes."""
        percent = 100 * done // max(total, 1)
        if percent == self._shown.get(step) or not (sys.stderr.isatty() or done == total):
            return
        self._shown[step] = percent
        end = "\n" if done == total else ""
        start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over what the line said before
        sys.stderr.write(f"{start}{step} {size(done)} of {size(total)}{end}")
        sys.stderr.flush()


def _key(given: Path | None, variable: str, default: str) -> Path | KeyText | None:
    """Return the key that is given, else what the variable says: a file or the key itself; else the file ``default``,
    if it is there."""
    told = os.environ.get(variable)
    if given or not told:
        return given or (Path(default) if Path(default).is_file() else None)
    return KeyText(variable, told) if told.startswith("-----BEGIN ") else Path(told)


def _only_model(store: Store) -> str:
    names = store.folders()
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotAskedError(f"{store.url} holds no release", "`lockgate release NAME@vX.Y.Z` makes one.")
    raise UsageError(f"{store.url} holds several models: {', '.join(names)}", "Say which: --model NAME.")
