"""``lockgate promote RELEASE ENVIRONMENT``: verify a release once more, ask the environment's gates, append to its log.

What the gates look at is in the release's signed manifest, as ``lockgate release`` recorded it:
``facts.rebuild.level`` (``full``, ``train`` or ``none``) and ``facts.gates``, a list of ``{rule, measured, passed}``;
an outcome with ``environment`` counts for that environment alone.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lockgate import policy
from lockgate.access import (
    StderrProgress,
    actor_of,
    add_reader_options,
    add_writer_options,
    parse_ref,
    registry_of,
    signer_of,
)
from lockgate.environments import Entry, Environment
from lockgate.errors import LockgateError, UsageError, nearest
from lockgate.registry import Actor, Build, Progress, Registry, as_json, silent
from lockgate.signing import Signer

_LEVELS = ("none", "train", "full")


class GateClosed(LockgateError):  # noqa: N818 - named for what the user reads
    """A gate of the environment does not let the release in."""

    def __init__(self, release: str, environment: str, why: str, advice: str) -> None:
        """Name the release, the environment, which gate and what would open it."""
        super().__init__(f"{release} may not enter {environment}: {why}", advice)


def check_gates(registry: Registry, build: Build, rules: policy.Environment) -> None:
    """Raise :class:`GateClosed` naming the first rule of the environment that the release does not meet."""
    release, facts = f"{build.release.name}@{build.release.version}", build.manifest.facts
    if rules.after is not None:
        there = {entry.manifest for entry in Environment(registry, rules.after).history()}
        if build.release.manifest not in there:
            advice = f"`lockgate promote {release} {rules.after}` comes first."
            raise GateClosed(release, rules.name, f"it was never in {rules.after}", advice)
    rebuild = facts.get("rebuild")
    level = str(rebuild.get("level", "none")) if isinstance(rebuild, dict) else "none"
    if level not in _LEVELS or _LEVELS.index(level) < _LEVELS.index(rules.rebuilt):
        why = f"its rebuild level is '{level}', '{rules.rebuilt}' is asked"
        raise GateClosed(release, rules.name, why, "Release the next version after a rebuild of that level.")
    _check_outcomes(release, facts, rules)


def _check_outcomes(release: str, facts: Mapping[str, Any], rules: policy.Environment) -> None:
    outcomes = [o for o in facts.get("gates", ()) if o.get("environment", rules.name) == rules.name]
    for outcome in outcomes:
        if outcome.get("passed") is not True:
            why = f"the gate '{outcome.get('rule')}' did not hold (measured: {outcome.get('measured')})"
            raise GateClosed(release, rules.name, why, "Release the next version once the gate holds.")
    judged = sum("environment" in outcome for outcome in outcomes)
    if judged < len(rules.gates):
        why = f"it was judged by {judged} of the {len(rules.gates)} gates of this environment"
        raise GateClosed(release, rules.name, why, "Release the next version under the policy of today.")


def promote(  # noqa: PLR0913 - what an entry says
    registry: Registry,
    version: str,
    rules: policy.Environment,
    signer: Signer,
    actor: Actor,
    *,
    reason: str = "",
    tag: str = "",
    dry_run: bool = False,
    progress: Progress = silent,
) -> tuple[Entry | None, bool]:
    """Make ``version`` what the environment of ``rules`` runs. Return the entry that says so, and whether this call
    appended it; ``None`` where ``dry_run`` found that it would.

    Nothing is appended if the environment runs that version already, or if an entry was written for ``tag`` before.
    Raises :class:`GateClosed` and whatever :meth:`Registry.release` and :meth:`Registry.verify_files` raise.
    """
    build = registry.release(version)
    environment = Environment(registry, rules.name)

    def done_already(entries: list[Entry]) -> Entry | None:
        if entries and entries[-1].manifest == build.release.manifest:
            return entries[-1]
        return next((entry for entry in entries if tag and entry.tag == tag), None)

    if (done := done_already(environment.history())) is not None:
        return done, False
    check_gates(registry, build, rules)
    registry.verify_files(build, progress)
    if dry_run:
        return None, False
    return environment.append(build, signer, actor, "promote", reason=reason, tag=tag, done_already=done_already)


def rules_of(file: Path, environment: str) -> policy.Environment:
    """Return what the policy in ``file`` asks of the environment. Raises :class:`LockgateError` if it has none."""
    try:
        environments = policy.read_policy(file.read_bytes()).environments
    except FileNotFoundError:
        raise UsageError(
            f"there is no policy at {file}: which gates '{environment}' has is not known",
            "Run this in the repository, or name the policy with --policy.",
        ) from None
    for rules in environments:
        if rules.name == environment:
            return rules
    names = [rules.name for rules in environments]
    raise UsageError(f"{file} has no environment '{environment}'", nearest(environment, names))


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("release", metavar="RELEASE", help="the version: v1.2.0 or NAME@v1.2.0")
    parser.add_argument("environment", metavar="ENVIRONMENT", help="where it is to run, one of the policy's")
    parser.add_argument("--reason", default="", help="why, for whoever reads the log")
    parser.add_argument("--tag", default="", help="git's tag that asks for this; one tag promotes once")
    parser.add_argument("--policy", type=Path, default=Path(policy.FILE), metavar="FILE", help="default: %(default)s")
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Promote a release, or say that there is nothing to do."""
    ref = parse_ref(arguments.release)
    if ref.version is None:
        raise UsageError(f"'{arguments.release}' is no version", "Write v1.2.0 or NAME@v1.2.0.")
    rules = rules_of(arguments.policy, arguments.environment)
    entry, appended = promote(
        registry_of(arguments, ref.name),
        ref.version,
        rules,
        signer_of(arguments),
        Actor.now(actor_of(arguments)),
        reason=arguments.reason,
        tag=arguments.tag,
        dry_run=arguments.dry_run,
        progress=StderrProgress(),
    )
    sys.stdout.write(tell(entry, appended, f"{arguments.environment} would run {ref.version}", as_json_=arguments.json))
    return 0


def tell(entry: Entry | None, appended: bool, would: str, *, as_json_: bool) -> str:
    """Return what a promotion or rollback did, as text or JSON."""
    if as_json_:
        return as_json({"appended": appended, "entry": asdict(entry) if entry else None})
    if entry is None:
        return f"dry run: {would}; everything was verified, nothing was written\n"
    if not appended:
        return f"nothing to do: {entry.environment} has {entry.version} since entry {entry.number}, {entry.time}\n"
    return f"{entry.environment} runs {entry.version}: entry {entry.number} by {entry.actor}, {entry.time}\n"
