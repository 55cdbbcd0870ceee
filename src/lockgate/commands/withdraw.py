"""``lockgate withdraw RELEASE``: say of a release, for ever, that it is not to be promoted again, and why."""

import argparse
from dataclasses import asdict
from pathlib import Path

from lockgate import git, policy
from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.releasing import tags
from lockgate.releasing.options import (
    add_reader_options,
    add_summary_option,
    add_writer_options,
    parse_ref,
    summarised,
    writer_of,
)
from lockgate.releasing.withdrawal import Use, Withdrawal, withdraw

EXAMPLES = """\
examples:
  lockgate withdraw flight-delay@v1.2.0 --reason "trained on the wrong month"
  lockgate withdraw --tag 'flight-delay@v1.2.0!'          all of it from the annotated tag

Withdrawn is for ever. `withdrawn: refuse` in lockgate.yaml lets nobody use the release from then on; without it those
who use it are warned.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("release", metavar="RELEASE", nargs="?", help="the version: v1.2.0 or NAME@v1.2.0")
    parser.add_argument("--reason", default="", help="why, for whoever uses it (default: the tag's message)")
    parser.add_argument("--tag", default="", help="git's tag that asks for this; alone, it says all of it")
    parser.add_argument("--policy", type=Path, default=Path(policy.FILE), metavar="FILE", help="default: %(default)s")
    add_summary_option(parser)
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Withdraw a release, or say that it is withdrawn already."""
    with summarised(arguments, f"Withdrawal {arguments.tag or arguments.release}") as say:
        name, version, reason = _asked(arguments)
        if not reason:
            raise UsageError(f"{version} needs a reason to be withdrawn", "Give --reason: it is what users will read.")
        by = writer_of(arguments, name)
        withdrawal, made = withdraw(
            by.registry,
            version,
            by.signer,
            by.actor,
            reason=reason,
            use=_use(arguments.policy, by.registry.name),
            tag=arguments.tag,
            dry_run=arguments.dry_run,
        )
        if arguments.json:
            say(envelope("withdrawal", {"withdrawn": made, "withdrawal": asdict(withdrawal) if withdrawal else None}))
        else:
            say(_text(withdrawal, version, made=made))
    return 0


def _asked(arguments: argparse.Namespace) -> tuple[str | None, str, str]:
    """Return the model, the version and the reason."""
    wanted = tags.parse(arguments.tag) if arguments.tag else None
    if wanted is not None and (wanted.version is None or not wanted.cancels):
        raise UsageError(f"the tag '{arguments.tag}' asks for no withdrawal", tags.GRAMMAR)
    if arguments.release is None:
        if wanted is None:
            raise UsageError("which release is to be withdrawn is not said", "Write RELEASE, or --tag NAME@vX.Y.Z!.")
        found = tags.annotated(git.project_root(), arguments.tag)
        return wanted.name, str(wanted.version), arguments.reason or found.subject
    ref = parse_ref(arguments.release)
    if ref.version is None:
        raise UsageError(f"'{arguments.release}' is not a version", "An environment is retired: `lockgate retire`.")
    if wanted is not None and wanted.version != ref.version:
        raise UsageError(f"the tag '{arguments.tag}' does not ask for {ref.version}", tags.GRAMMAR)
    return ref.name, ref.version, arguments.reason


def _use(file: Path, name: str) -> Use:
    """Return what the model's policy says of withdrawn releases: to warn, unless it says otherwise."""
    try:
        return policy.read_models(file.read_bytes()).belonging_to(name).withdrawn
    except FileNotFoundError:
        return "warn"


def _text(withdrawal: Withdrawal | None, version: str, *, made: bool) -> str:
    if withdrawal is None:
        return f"dry run: {version} would be withdrawn; nothing was written\n"
    users = "those who use it are warned" if withdrawal.use == "warn" else "nobody may use it any more"
    return f"{'' if made else 'nothing to do: '}{withdrawal} ({users})\n"
