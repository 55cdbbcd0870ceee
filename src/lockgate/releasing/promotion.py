"""``lockgate promote RELEASE ENVIRONMENT``: verify a release once more, ask the environment's gates, append to its log.

With ``--tag NAME#ENVIRONMENT#N`` alone, git's annotated tag says all of it: the release is the one of its commit, the
reason its message. The tag is recorded, and one tag promotes once.

What the gates look at is in the release's signed manifest, as ``lockgate release`` recorded it:
``facts.rebuild.level`` (``full``, ``train`` or ``none``) and ``facts.gates``, a list of ``{rule, measured, passed}``;
an outcome with ``environment`` counts for that environment alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockgate import policy
from lockgate.envelope import envelope
from lockgate.errors import LockgateError, UsageError, nearest
from lockgate.releasing import tags
from lockgate.releasing.environments import Entry, Environment
from lockgate.releasing.registry import Actor, Build, Progress, Registry, silent
from lockgate.releasing.signing import Signer, check_signer

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
    signer: Signer | None,
    actor: Actor,
    *,
    reason: str = "",
    tag: str = "",
    dry_run: bool = False,
    progress: Progress = silent,
) -> tuple[Entry | None, bool]:
    """Promote ``version`` to the environment of ``rules``. Return the entry that says so, and whether this call
    appended it; ``None`` where ``dry_run`` found that it would (which needs no ``signer``).

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
    if signer is not None:
        check_signer(signer, registry.trusted)
    check_gates(registry, build, rules)
    registry.verify_files(build, progress)
    if dry_run or signer is None:
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
    hint, listed = nearest(environment, names), ", ".join(names) or "none"
    advice = f"{hint[0].upper()}{hint[1:]}" if hint else f"It declares: {listed}."
    raise UsageError(f"{file} has no environment '{environment}'", advice)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be promoted where, and why; ``commit`` is where the tag is that asks, if one does."""

    name: str | None
    version: str
    environment: str
    reason: str
    tag: str = ""
    commit: str | None = None


def asked_by_tag(root: Path, tag: str) -> Asked:
    """Return what git's annotated tag ``NAME#ENVIRONMENT#N`` asks for: the release that is tagged at its commit.

    Raises :class:`~lockgate.releasing.tags.Malformed`, :class:`~lockgate.releasing.tags.NoSuchTag`,
    :class:`~lockgate.releasing.tags.Lightweight`, and :class:`LockgateError` unless one version is tagged there.
    """
    wanted = tags.parse(tag)
    if wanted.environment is None:
        raise UsageError(f"the tag '{tag}' asks for a release", f"`lockgate release '{tag}'` does that.")
    found = tags.annotated(root, tag)
    versions = tags.versions_at(root, wanted.name, found.commit)
    if len(versions) != 1:
        several = f"{len(versions)} releases ({', '.join(sorted(versions))})" if versions else "no release"
        raise LockgateError(
            f"the tag '{tag}' is at {found.commit[:12]}, where {several} of {wanted.name} is tagged",
            f"Say which: `lockgate promote {wanted.name}@vX.Y.Z {wanted.environment} --tag '{tag}'`.",
        )
    return Asked(wanted.name, versions[0], wanted.environment, found.subject, tag, found.commit)


def tell(entry: Entry | None, appended: bool, would: str, *, as_json_: bool) -> str:
    """Return what a promotion or rollback did, as text or JSON."""
    if as_json_:
        return envelope("promotion", {"appended": appended, "entry": asdict(entry) if entry else None})
    if entry is None:
        return f"dry run: {would}; everything was verified, nothing was written\n"
    if not appended:
        return f"nothing to do: {entry.environment} has {entry.version} since entry {entry.number}, {entry.time}\n"
    return f"{entry.environment} runs {entry.version}: entry {entry.number} by {entry.actor}, {entry.time}\n"
