"""``lockgate promote RELEASE ENVIRONMENT``: promote a release to an environment."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from lockgate import git, policy
from lockgate.errors import LockgateError, UsageError
from lockgate.releasing import tags
from lockgate.releasing.options import (
    StderrProgress,
    add_reader_options,
    add_summary_option,
    add_writer_options,
    parse_ref,
    summarised,
    writer_of,
)
from lockgate.releasing.promotion import Asked, asked_by_tag, follow_up, promote, retire, rules_of, tag_of, tell
from lockgate.releasing.registry import Build
from lockgate.releasing.verification import check_tags, read_tags

EXAMPLES = """\
examples:
  lockgate promote v1.2.0 staging
  lockgate promote flight-delay@v1.2.0 production --reason "two weeks in staging without an alarm"
  lockgate promote v1.2.0 production --dry-run           verify everything, write nothing
  lockgate promote v1.2.0 staging --tag                  and make the tag that says so in git
  lockgate promote --tag flight-delay#production#1       what promote.yml does for a pushed tag
"""

MAKE = "(the next)"  # of --tag without a value: no tag has this name


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("release", metavar="RELEASE", nargs="?", help="the version: v1.2.0 or NAME@v1.2.0")
    parser.add_argument(
        "environment", metavar="ENVIRONMENT", nargs="?", help="an environment that lockgate.yaml declares"
    )
    parser.add_argument("--reason", default="", help="why, for whoever reads the log (default: the tag's message)")
    parser.add_argument(
        "--tag",
        nargs="?",
        default="",
        const=MAKE,
        help="the git tag that asks for this promotion; alone, it names the release and the environment. Without a "
        "value: make the tag that keeps `gto show` true",
    )
    parser.add_argument("--policy", type=Path, default=Path(policy.FILE), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--reopen", action="store_true", help="use an environment again that was retired")
    add_summary_option(parser)
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Promote a release, or say that there is nothing to do."""
    with summarised(arguments, f"Promotion {arguments.tag or arguments.release}") as say:
        asked = _asked(arguments)
        by = writer_of(arguments, asked.name)
        if asked.retire:
            entry, appended = retire(
                by.registry,
                asked.environment,
                by.signer,
                by.actor,
                reason=asked.reason,
                tag=asked.tag,
                dry_run=arguments.dry_run,
            )
            say(tell(entry, appended, f"{asked.environment} would be retired", as_json_=arguments.json))
            return 0
        rules, whole = rules_of(arguments.policy, asked.environment, by.registry.name)
        check_tags(by.registry.release(asked.version), None, [], read_tags(Path.cwd()))
        if asked.commit is not None:
            _check_commit(by.registry.release(asked.version), asked)
        follow = None if asked.tag else tag_of(by.registry, asked.environment, asked.version)
        make = arguments.tag == MAKE and follow is not None
        entry, appended = promote(
            by.registry,
            asked.version,
            rules,
            by.signer,
            by.actor,
            reason=asked.reason,
            tag=follow.tag if make and follow else asked.tag,
            dry_run=arguments.dry_run,
            whole=whole,
            reopen=arguments.reopen,
            progress=StderrProgress(),
        )
        say(tell(entry, appended, f"{asked.version} would be promoted to {asked.environment}", as_json_=arguments.json))
        if entry is not None and appended:
            said = follow_up(entry, follow, make=make)
            sys.stderr.write(said) if arguments.json else say(said)
    return 0


def _asked(arguments: argparse.Namespace) -> Asked:
    """Return what the command line asks for. Raises :class:`UsageError`."""
    if arguments.release is None:
        if arguments.tag in {"", MAKE}:
            raise UsageError("no release was named", "Write RELEASE and ENVIRONMENT, or --tag.")
        asked = asked_by_tag(git.project_root(), arguments.tag)
        return replace(asked, reason=arguments.reason or asked.reason)
    if arguments.environment is None:
        raise UsageError(f"no environment was named for {arguments.release}", "Write RELEASE and ENVIRONMENT.")
    ref = parse_ref(arguments.release)
    if ref.version is None:
        raise UsageError(f"'{arguments.release}' is not a version", "Write v1.2.0 or NAME@v1.2.0.")
    given = "" if arguments.tag == MAKE else arguments.tag
    wanted = tags.parse(given) if given else None
    if wanted is not None and (wanted.cancels or wanted.environment != arguments.environment):
        raise UsageError(f"the tag '{arguments.tag}' does not ask for {arguments.environment}", tags.GRAMMAR)
    return Asked(ref.name, ref.version, arguments.environment, arguments.reason, given)


def _check_commit(build: Build, asked: Asked) -> None:
    """Refuse a release that was made of another commit than the tag that asks is at."""
    made_of = build.manifest.facts.get("commit")
    if made_of != asked.commit:
        raise LockgateError(
            f"the tag '{asked.tag}' is at {str(asked.commit)[:12]}, but {asked.version} is of {str(made_of)[:12]}",
            "One of the tags was moved: tag the promotion at the commit of its release.",
        )
