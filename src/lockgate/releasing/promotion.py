"""``lockgate promote RELEASE ENVIRONMENT``: verify a release once more, ask the environment's gates, append to its log.

With ``--tag NAME#ENVIRONMENT#N`` alone, git's annotated tag says all of it: the release is the one of its commit, the
reason its message. The tag is recorded, and one tag promotes once. ``NAME#ENVIRONMENT!#N`` retires the environment.

What the gates look at is in the release's signed manifest, as ``lockgate release`` recorded it: ``facts.rebuild.level``
(``full``, ``train`` or ``none``), and what :mod:`lockgate.releasing.gate_check` makes of the rest.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockgate import git, policy
from lockgate.envelope import envelope
from lockgate.errors import LockgateError, UsageError, nearest
from lockgate.releasing import tags
from lockgate.releasing.environments import Entry, Environment, NeverPromoted, Retired, environments
from lockgate.releasing.gate_check import Judgement, failed_before, judge
from lockgate.releasing.registry import Actor, Build, Progress, Registry, silent
from lockgate.releasing.signing import Signer, check_signer
from lockgate.releasing.withdrawal import ReleaseWithdrawn, withdrawal_of

_LEVELS = ("none", "train", "full")


class GateClosed(LockgateError):  # noqa: N818 - named for what the user reads
    """A gate of the environment does not let the release in."""

    def __init__(self, release: str, environment: str, why: str, advice: str) -> None:
        """Name the release, the environment, which gate and what would open it."""
        super().__init__(f"{release} may not be promoted to {environment}: {why}", advice)


def check_gates(
    registry: Registry, build: Build, rules: policy.Environment, whole: policy.Policy | None
) -> tuple[Judgement, ...]:
    """Return what came of each gate of the environment; ``whole`` is the policy that they stand in.

    Raises :class:`GateClosed` naming the first rule of the environment that the release does not meet, or by which it
    was never judged and cannot be judged now.
    """
    release, facts = f"{build.release.name}@{build.release.version}", build.manifest.facts
    if rules.after is not None:
        there = {entry.manifest for entry in Environment(registry, rules.after).history()}
        if build.release.manifest not in there:
            advice = f"`lockgate promote {release} {rules.after}` comes first."
            raise GateClosed(release, rules.name, f"it was never in {rules.after}", advice)
    _check_rebuild(release, facts.get("rebuild"), rules, whole)
    failed = failed_before(registry, build, rules.name)
    if failed is not None:
        why = f"the gate '{failed.get('rule')}' did not hold (measured: {failed.get('measured')})"
        raise GateClosed(release, rules.name, why, "Release the next version once the gate holds.")
    judged = []
    for gate in rules.gates:
        if whole is None:
            raise GateClosed(release, rules.name, "the policy of its gates is not at hand", "Name it with --policy.")
        found = judge(registry, build, gate, whole)
        if found.passed is None:
            raise GateClosed(
                release,
                rules.name,
                f"it was never judged by the gate '{found.rule}', and the figures in its build do not suffice for that",
                "Release the next version under the policy of today.",
            )
        if not found.passed:
            why = f"the gate '{found.rule}' does not hold (measured: {found.measured})"
            raise GateClosed(release, rules.name, why, "Release the next version once the gate holds.")
        judged.append(found)
    return tuple(judged)


def _check_rebuild(release: str, rebuild: Any, rules: policy.Environment, whole: policy.Policy | None) -> None:
    """Raise :class:`GateClosed` unless the release was rebuilt as the environment requires."""
    level = str(rebuild.get("level", "none")) if isinstance(rebuild, dict) else "none"
    if level not in _LEVELS or _LEVELS.index(level) < _LEVELS.index(rules.rebuilt):
        why = f"its rebuild level is '{level}', '{rules.rebuilt}' is required"
        raise GateClosed(release, rules.name, why, "Release the next version after a rebuild of that level.")
    loose = {*rebuild.get("tolerated", ()), *rebuild.get("left_out", ())} if isinstance(rebuild, dict) else set()
    if rules.rebuilt == "full" and loose and not rules.tolerated:
        why = f"its rebuild did not compare {', '.join(sorted(loose))} byte for byte"
        raise GateClosed(release, rules.name, why, "`tolerated: true` of the environment takes such a rebuild.")
    current = isinstance(rebuild, dict) and rebuild.get("dependencies") == "current"
    if rules.rebuilt == "full" and current and whole is not None and whole.dependencies is not None:
        why = "it was rebuilt with whatever packages were installed, and the policy names locked dependencies"
        raise GateClosed(release, rules.name, why, "Release the next version without --dependencies current.")


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
    whole: policy.Policy | None = None,
    reopen: bool = False,
    progress: Progress = silent,
) -> tuple[Entry | None, bool]:
    """Promote ``version`` to the environment of ``rules``. Return the entry that says so, and whether this call
    appended it; ``None`` where ``dry_run`` found that it would (which needs no ``signer``). ``whole`` is the policy
    that the rules stand in. An environment that was retired takes a release only with ``reopen``.

    Nothing is appended if the environment runs that version already, or if an entry was written for ``tag`` before.
    A withdrawn release is refused even where it runs: whoever asks for it again has to hear that.
    Raises :class:`GateClosed` and whatever :meth:`Registry.release` and :meth:`Registry.verify_files` raise.
    """
    build = registry.release(version)
    environment = Environment(registry, rules.name)

    def done_already(entries: list[Entry]) -> Entry | None:
        if entries and entries[-1].manifest == build.release.manifest and entries[-1].action != "retire":
            return entries[-1]
        return next((entry for entry in entries if tag and entry.tag == tag), None)

    entries = environment.history()
    done, withdrawal = done_already(entries), withdrawal_of(registry, version)
    if done is not None and (withdrawal is None or (tag and done.tag == tag)):
        return done, False
    if withdrawal is not None:
        raise ReleaseWithdrawn(withdrawal)
    if entries and entries[-1].action == "retire" and not reopen:
        raise Retired(entries[-1])
    if signer is not None:
        check_signer(signer, registry.trusted)
    judged = check_gates(registry, build, rules, whole)
    registry.verify_files(build, progress)
    if dry_run or signer is None:
        return None, False
    now = tuple({"gate": one.gate, "rule": one.rule, "measured": one.measured} for one in judged if one.now)
    return environment.append(
        build, signer, actor, "promote", reason=reason, tag=tag, judged=now, reopen=reopen, done_already=done_already
    )


def retire(
    registry: Registry,
    environment: str,
    signer: Signer | None,
    actor: Actor,
    *,
    reason: str = "",
    tag: str = "",
    dry_run: bool = False,
) -> tuple[Entry | None, bool]:
    """Append an entry that retires the environment: nothing runs there from then on. Return it, and whether this call
    did. Raises :class:`~lockgate.releasing.environments.NeverPromoted` for an empty log."""
    log = Environment(registry, environment)

    def done_already(entries: list[Entry]) -> Entry | None:
        if entries and entries[-1].action == "retire":
            return entries[-1]
        return next((entry for entry in entries if tag and entry.tag == tag), None)

    entries = log.history()
    if not entries:
        raise NeverPromoted(registry.name, environment, environments(registry))
    if (done := done_already(entries)) is not None:
        return done, False
    if dry_run or signer is None:
        return None, False
    return log.append(None, signer, actor, "retire", reason=reason, tag=tag, done_already=done_already)


def rules_of(file: Path, environment: str, name: str) -> tuple[policy.Environment, policy.Policy]:
    """Return what the policy in ``file`` asks of the environment of the model ``name``, and the policy. Raises
    :class:`LockgateError` if it has none."""
    try:
        whole = policy.read_models(file.read_bytes()).belonging_to(name)
    except FileNotFoundError:
        raise UsageError(
            f"there is no policy at {file}: which gates '{environment}' has is not known",
            "Run this in the repository, or name the policy with --policy.",
        ) from None
    for rules in whole.environments:
        if rules.name == environment:
            return rules, whole
    names = [rules.name for rules in whole.environments]
    hint, listed = nearest(environment, names), ", ".join(names) or "none"
    advice = f"{hint[0].upper()}{hint[1:]}" if hint else f"It declares: {listed}."
    raise UsageError(f"{file} has no environment '{environment}'", advice)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be promoted where, and why; ``commit`` is where the tag is that asks, if one does. With ``retire``
    nothing is: the environment is to be retired."""

    name: str | None
    version: str
    environment: str
    reason: str
    tag: str = ""
    commit: str | None = None
    retire: bool = False


def asked_by_tag(root: Path, tag: str) -> Asked:
    """Return what git's annotated tag ``NAME#ENVIRONMENT#N`` asks for: the release that is tagged at its commit.

    Raises :class:`~lockgate.releasing.tags.Malformed`, :class:`~lockgate.releasing.tags.NoSuchTag`,
    :class:`~lockgate.releasing.tags.Lightweight`, and :class:`LockgateError` unless one version is tagged there.
    """
    wanted = tags.parse(tag)
    if wanted.environment is None:
        what = "withdraw --tag" if wanted.cancels else "release"
        raise UsageError(f"the tag '{tag}' asks for no promotion", f"`lockgate {what} '{tag}'` does what it asks for.")
    found = tags.annotated(root, tag)
    if wanted.cancels:
        return Asked(wanted.name, "", wanted.environment, found.subject, tag, retire=True)
    versions = tags.versions_at(root, wanted.name, found.commit)
    if len(versions) != 1:
        several = f"{len(versions)} releases ({', '.join(sorted(versions))})" if versions else "no release"
        raise LockgateError(
            f"the tag '{tag}' is at {found.commit[:12]}, where {several} of {wanted.name} is tagged",
            f"Say which: `lockgate promote {wanted.name}@vX.Y.Z {wanted.environment} --tag '{tag}'`.",
        )
    return Asked(wanted.name, versions[0], wanted.environment, found.subject, tag, found.commit)


def tag_of(registry: Registry, environment: str, version: str) -> tags.Follow | None:
    """Return the tag that says in this repository that ``environment`` runs ``version``; ``None`` elsewhere."""
    commit = registry.release(version).manifest.facts.get("commit")
    return tags.follow(Path.cwd(), registry.name, environment, commit)


def follow_up(entry: Entry, follow: tags.Follow | None, *, make: bool) -> str:
    """Make the tag of an entry that no tag asked for, or say which one keeps ``gto show`` true.

    Raises :class:`LockgateError` where git does not make it: the entry stands, and is named.
    """
    if follow is None:
        return ""
    if not make:
        return f"no tag asked for this; to keep `gto show` true: {follow.command(entry.reason)}\n"
    try:
        follow.make(Path.cwd(), entry.reason)
    except git.GitError as error:
        raise LockgateError(
            f"entry {entry.number} of '{entry.environment}' was written, but its tag was not made: {error}",
            follow.command(entry.reason),
        ) from error
    return f"tag {follow.tag} made; `git push origin '{follow.tag}'` brings it to the others\n"


def tell(entry: Entry | None, appended: bool, would: str, *, as_json_: bool) -> str:
    """Return what a promotion, a rollback or a retirement did, as text or JSON."""
    if as_json_:
        return envelope("promotion", {"appended": appended, "entry": asdict(entry) if entry else None})
    if entry is None:
        return f"dry run: {would}; everything was verified, nothing was written\n"
    since = f"entry {entry.number}, {entry.time}"
    if entry.action == "retire":
        return f"{'' if appended else 'nothing to do: '}{entry.environment} is retired: {since} by {entry.actor}\n"
    if not appended:
        return f"nothing to do: {entry.environment} has {entry.version} since {since}\n"
    lines = [f"judged now, from the figures in the build: {one['rule']}: {one['measured']}" for one in entry.judged]
    lines.append(f"{entry.environment} runs {entry.version}: entry {entry.number} by {entry.actor}, {entry.time}")
    return "\n".join(lines) + "\n"
