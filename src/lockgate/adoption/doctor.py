"""``lockgate doctor``: the whole way from a clone to a release, tested piece by piece.

Each check returns findings: what was seen, why it matters, and the command that mends it. A check that cannot be made
says so; it never counts as well.
"""

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from lockgate import __version__, git, policy
from lockgate.adoption.change import LAID_DOWN
from lockgate.adoption.clone import configure, merges_lock, missing
from lockgate.adoption.found import FoundForge, forge_of
from lockgate.dvc.objects import DvcError
from lockgate.dvc.pipeline import Recorded, State, read_state
from lockgate.dvc.scopes import OneArtifact, scopes
from lockgate.errors import LockgateError
from lockgate.formatting import count, size
from lockgate.git import Workspace
from lockgate.store import Rights

Level = Literal["ok", "advice", "problem", "unknown"]
Role = Literal["person", "pull-request", "main", "rebuild"]
MAY_CREATE: Mapping[Role, tuple[bool, bool]] = {
    "person": (False, True), "pull-request": (False, True), "main": (True, False), "rebuild": (False, False),
}  # fmt: skip
"""Whether a role may add to the trusted remote, and to the quarantine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. ``why`` says what follows from it, ``mend`` the command or page that mends it."""

    check: str
    level: Level
    what: str
    why: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Asked:
    """What is looked at: the project, and what the user allows. ``probe`` writes one object of its own to each store;
    ``advisories`` is the address of a feed that is asked about the packages; ``fix`` mends what is safe to mend."""

    root: Path
    role: Role = "person"
    probe: str = ""
    advisories: str = ""
    store: str = ""
    token: str = ""
    api: str = ""
    fix: bool = False
    mended: list[str] = field(default_factory=list)

    @cached_property
    def state(self) -> State:
        """The pipeline of the working tree, which nothing that is mended changes. Raises :class:`LockgateError`."""
        return read_state(Workspace(self.root))


Check = Callable[[Asked], Iterator[Finding]]


def examine(asked: Asked, tell: Callable[[str], None] = lambda _: None) -> tuple[Finding, ...]:
    """Return the findings of every check, in the order of the way. A check that breaks is a finding of its own."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        tell(f"checking {name}")
        try:
            found += check(asked)
        except LockgateError as error:
            found.append(Finding(name, "unknown", str(error), "This could not be checked.", error.advice))
    return tuple(found)


def _versions(asked: Asked) -> Iterator[Finding]:
    from dvc import __version__ as dvc

    from lockgate.dependencies.uv import find_uv

    python = ".".join(map(str, sys.version_info[:3]))
    ready = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "versions",
        "ok" if ready else "advice",
        f"lockgate {__version__}, DVC {dvc}, Python {python}",
        "" if ready else "Lockgate is tested with Python 3.11 to 3.13.",
    )
    told = git.git(asked.root, "--version").split()
    number = next((word for word in told if word[:1].isdigit()), "0")
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if parts < (2, 30):
        yield Finding(
            "versions", "problem", f"git {number}", "Commits are read in a way that git 2.30 has.", "Upgrade git."
        )
    if find_uv() is None:
        why = "The packages that a commit locks are installed with uv: in rebuilds, releases and services."
        yield Finding("versions", "advice", "uv is not on this machine", why, "pip install uv")


def _policy(asked: Asked) -> Iterator[Finding]:
    text = Workspace(asked.root).read(policy.FILE)
    if text is None:
        why = "Without a policy nothing says what is good enough."
        yield Finding("policy", "problem", f"there is no {policy.FILE}", why, "lockgate init")
        return
    try:
        models = policy.read_models(text)
    except LockgateError as error:
        yield Finding(
            "policy", "problem", str(error), "A pull request is judged by the policy of its base.", error.advice
        )
        return
    for read in models.policies:
        yield from _policy_of_model(asked, read, f"models.{read.model}." if models.several else "")
    try:
        scopes(None, asked.state)
    except OneArtifact as error:
        yield Finding("policy", "problem", str(error), "A release ships one artifact under one name.", error.advice)


def _policy_of_model(asked: Asked, read: policy.Policy, place: str) -> Iterator[Finding]:
    about = f"{policy.FILE}{': ' + read.model if place else ''}"
    yield Finding("policy", "ok", f"{about}: {count(len(read.metrics), 'metric')}, {count(len(read.gates), 'gate')}")
    state = asked.state
    if state.pipeline.artifact(read.model) is None:
        yield Finding(
            "policy",
            "advice",
            f"no dvc.yaml declares the artifact '{read.model}'",
            "A release ships an artifact, and gates of its size ask for it.",
            f"Add to dvc.yaml: artifacts: {{{read.model}: {{path: PATH, type: model}}}}",
        )
    produced = {*state.pipeline.producers, *state.pipeline.data}
    for metric in read.metrics:
        if metric.file not in produced and not Workspace(asked.root).exists(metric.file):
            why = "Its gates cannot be evaluated, so no pull request passes."
            yield Finding(
                "policy",
                "problem",
                f"{place}metrics.{metric.name}: there is no {metric.file}",
                why,
                f"Correct {policy.FILE}.",
            )


def _locks(asked: Asked) -> Iterator[Finding]:
    from lockgate.dependencies.commit import locked_by
    from lockgate.dvc.objects import WorkspaceFiles
    from lockgate.dvc.plan import plan

    state = asked.state
    plans = plan(state.pipeline, state.lock, WorkspaceFiles(asked.root), state.snapshot)
    pending = [one.name for one in plans if one.verdict != "same"]
    if pending:
        why = "What the lock records was made by other code, parameters or data than these."
        yield Finding(
            "locks", "advice", f"{count(len(pending), 'stage')} to run: {', '.join(pending[:5])}", why, "lockgate run"
        )
    else:
        yield Finding("locks", "ok", f"dvc.lock records all of {count(len(plans), 'stage')}")
    locked = locked_by(Workspace(asked.root))
    if locked is None:
        why = (
            "A pull request's stages then run with whatever is installed beside lockgate, and nothing is rebuilt later."
        )
        yield Finding(
            "locks", "advice", f"{policy.FILE} names no lock of packages", why, "lockgate init (docs/dependencies.md)"
        )
        return
    locked.lock.requirements()
    yield Finding("locks", "ok", f"{locked.told.lock} pins {count(len(locked.lock.pins), 'package')} by hash")


def _advisories(asked: Asked) -> Iterator[Finding]:
    from lockgate.dependencies.advisories import vulnerabilities
    from lockgate.dependencies.commit import locked_by

    if not asked.advisories:
        yield Finding(
            "vulnerabilities", "unknown", "not asked: it would send names of packages out", "", "--advisories"
        )
        return
    locked = locked_by(Workspace(asked.root))
    pins = locked.lock.pins if locked else ()
    found = vulnerabilities(pins, asked.advisories)
    for package, names in found.items():
        why = "It is installed where the stages run."
        yield Finding(
            "vulnerabilities", "problem", f"{package}: {', '.join(names)}", why, "Make the lock anew with a newer one."
        )
    if not found:
        yield Finding("vulnerabilities", "ok", f"none is known of {count(len(pins), 'locked package')}")


def _remotes(asked: Asked) -> Iterator[Finding]:
    from lockgate.dvc.objects import remotes
    from lockgate.dvc.remotes import QUARANTINE, Object, open_remotes

    known = remotes(asked.root)
    if "" not in known:
        why = "A workflow, and everybody else, gets data and models from there."
        yield Finding("remotes", "problem", "DVC has no default remote", why, "dvc remote add --default trusted URL")
        return
    state = asked.state
    sample = [Object.of(out) for entry in state.lock.stages.values() for out in entry.outs.values() if out.digest][:5]
    with open_remotes(asked.root, None, QUARANTINE) as (trusted, quarantine):
        try:
            there = trusted.has(sample)
        except DvcError as error:
            why = "Nothing can be brought from there."
            yield Finding("remotes", "problem", str(error), why, error.advice)
            return
        yield Finding("remotes", "ok", f"'{trusted.name}' ({trusted.address}) answers")
        cached = {Object.of(out) for stage in state.pipeline.stages for out in _cached(state, stage.name)}
        missing = [one for one in sample if one in cached and one not in there]
        if missing:
            why = "A fresh clone cannot get what the lock records."
            yield Finding("remotes", "problem", f"'{trusted.name}' lacks objects of dvc.lock", why, "dvc push")
        if quarantine is None:
            why = "What a pull request makes is made again after its merge."
            mend = f"dvc remote add {QUARANTINE} URL (docs/setup.md)"
            yield Finding("remotes", "advice", f"there is no remote '{QUARANTINE}'", why, mend)
        if asked.probe:
            for remote, may in zip((trusted, quarantine), MAY_CREATE[asked.role], strict=True):
                if remote is not None:
                    yield from _rights("rights", remote.name, remote.probe(asked.probe), asked.role, may_create=may)


def _cached(state: State, name: str) -> Iterator[Recorded]:
    outs = {out.path for out in state.pipeline.by_name[name].outs if out.cached and out.pushed}
    entry = state.lock.stages.get(name)
    yield from (record for path, record in entry.outs.items() if path in outs) if entry else ()


def _rights(check: str, name: str, rights: Rights, role: str, *, may_create: bool) -> Iterator[Finding]:
    if rights.create and not may_create:
        why = f"The role {role} should only read there: whoever writes decides what others load."
        yield Finding(
            check, "problem", f"'{name}' lets you add objects", why, "lockgate doctor --print aws (or gcs, azure)"
        )
    elif may_create and not rights.create:
        why = f"The role {role} has to add objects there."
        yield Finding(
            check, "problem", f"'{name}' lets you add nothing: {rights.said}", why, "lockgate doctor --print aws"
        )
    elif rights.replace and may_create and role == "main":
        why = "An object that can be replaced is not what a lock or a signature said it was."
        yield Finding(
            check, "problem", f"'{name}' lets you replace objects", why, "lockgate doctor --print aws (or gcs, azure)"
        )
    else:
        can = "add, not replace" if rights.create and not rights.replace else "add" if rights.create else "only read"
        yield Finding(check, "ok", f"'{name}': as {role} you may {can}")


def _store(asked: Asked) -> Iterator[Finding]:
    from lockgate.releasing.manifest import release_name
    from lockgate.store import open_store

    if not asked.store:
        yield Finding(
            "store", "unknown", "no store of releases is named", "Releases need one.", "export LOCKGATE_STORE=s3://…"
        )
        return
    store = open_store(asked.store)
    models = store.folders()
    yield Finding("store", "ok", f"{asked.store} answers: {count(len(models), 'model')}")
    text = Workspace(asked.root).read(policy.FILE)
    if asked.probe and text is not None:
        name = release_name(policy.read_models(text).names[0])  # claims are read by their exact names: one more is none
        rights = store.probe(f"{name}/claims/lockgate-doctor-{asked.probe}")
        if rights.replace:
            why = "A release that can be replaced is not immutable, whatever is signed."
            yield Finding("store", "problem", "the store lets you replace objects", why, "lockgate doctor --print aws")
        else:
            yield Finding("store", "ok", f"you may {'add, not replace' if rights.create else 'only read'}")


def _clone(asked: Asked) -> Iterator[Finding]:
    if not merges_lock(asked.root):
        why = "Two branches that change different stages conflict in dvc.lock."
        yield Finding("clone", "advice", "dvc.lock is merged line by line", why, "lockgate setup-git")
        return
    lacking = missing(asked.root)
    if lacking and asked.fix:
        configure(asked.root, lacking)
        asked.mended.append("this clone merges dvc.lock stage by stage now")
        lacking = {}
    if lacking:
        why = "The repository asks for it, and git takes commands from nobody but you."
        yield Finding("clone", "advice", "this clone does not merge dvc.lock stage by stage", why, "lockgate setup-git")
    else:
        yield Finding("clone", "ok", "git merges dvc.lock stage by stage")


def _workflows(asked: Asked) -> Iterator[Finding]:
    top = Path(git.git(asked.root, "rev-parse", "--show-toplevel").rstrip("\n"))
    ours = sorted((top / ".github" / "workflows").glob("*.yml"))
    texts = {path.relative_to(top).as_posix(): path.read_bytes().decode("utf-8", "replace") for path in ours}
    laid = {name: text for name, text in texts.items() if LAID_DOWN in text}
    if not laid and not any("lockgate" in text for text in texts.values()):
        if forge_of(asked.root).kind == "github":
            yield Finding(
                "workflows", "problem", "no workflow calls Lockgate", "Nothing judges pull requests.", "lockgate init"
            )
        return
    for name, text in laid.items():
        used = set(re.findall(r"uses: \S+/\.github/\S+@([0-9a-f]{40})", text))
        named = set(re.findall(r"^      lockgate: ([0-9a-f]{40})$", text, re.MULTILINE))
        if len(used | named) > 1:
            why = "The workflow of one commit would install the program of another."
            yield Finding("workflows", "problem", f"{name} names two commits of Lockgate", why, "lockgate init")
    pins = {pin for text in laid.values() for pin in re.findall(r"@([0-9a-f]{40}) # v", text) if "lockgate" in text}
    yield Finding(
        "workflows", "ok", f"{count(len(laid) or len(texts), 'workflow')} of Lockgate{'' if pins else ', its own'}"
    )


def _forge(asked: Asked) -> Iterator[Finding]:
    forge = forge_of(asked.root)
    if forge.kind != "github":
        yield Finding("forge", "unknown", f"{forge.repository or 'no remote of git'}: only GitHub can be asked")
        return
    if not asked.token:
        yield Finding(
            "forge", "unknown", "GitHub was not asked", "It shows its settings to a token.", "export GITHUB_TOKEN=…"
        )
        return
    yield from _github(asked, forge)


def _github(asked: Asked, forge: FoundForge) -> Iterator[Finding]:
    from lockgate.forge.github import GitHub, GitHubError

    github = GitHub(asked.api, forge.repository, asked.token)
    branch = git.default_branch(asked.root).removeprefix("origin/")
    try:
        rights = github.settings("actions/permissions/workflow") or {}
        default = rights.get("default_workflow_permissions")
        if default == "write":
            why = "A workflow that does not say what it needs may then write: any step of it, any action."
            mend = "Settings, Actions, General: read repository contents"
            yield Finding("forge", "problem", "workflows get a token that writes by default", why, mend)
        elif default == "read":
            yield Finding("forge", "ok", "workflows get a token that reads by default")
    except GitHubError as error:
        yield Finding("forge", "unknown", f"the permissions of workflows: {error}", "The token does not see them.")
    try:
        protection = github.settings(f"branches/{branch}/protection")
    except GitHubError as error:
        yield Finding("forge", "unknown", f"the protection of {branch}: {error}", "The token does not see it.")
        return
    yield from protected(branch, protection)


def protected(branch: str, protection: object) -> Iterator[Finding]:
    """Yield what the protection of a branch says of Lockgate's status; ``None`` is a branch without any."""
    where, wanted = "docs/setup.md, branch protection", f"lockgate/{branch}"
    if not isinstance(protection, dict):
        why = "Anybody who may push can merge what no gate has seen."
        yield Finding("forge", "problem", f"the branch {branch} is not protected", why, where)
        return
    checks = protection.get("required_status_checks") or {}
    required = {*checks.get("contexts", ()), *(one.get("context") for one in checks.get("checks", ()))}
    if "lockgate" in required:
        why = "That status is no longer set, so pull requests wait for it for ever."
        mend = f"Require '{wanted}' instead, and remove 'lockgate'."
        yield Finding("forge", "problem", f"the branch {branch} requires the old status 'lockgate'", why, mend)
    if wanted not in required:
        why = "A pull request whose gates fail can be merged."
        yield Finding("forge", "problem", f"the branch {branch} does not require '{wanted}'", why, where)
    else:
        yield Finding("forge", "ok", f"the branch {branch} requires '{wanted}'")
    if not checks.get("strict"):
        why = "What is merged may not be what was run."
        yield Finding("forge", "advice", "branches need not be up to date before they are merged", why, where)
    if (protection.get("allow_force_pushes") or {}).get("enabled"):
        yield Finding(
            "forge", "problem", f"{branch} can be pushed over", "History that is released from can vanish.", where
        )


def _keys(asked: Asked) -> Iterator[Finding]:
    from lockgate.releasing.options import PRIVATE_KEY, PUBLIC_KEY
    from lockgate.releasing.trusted_keys import read_keys

    public, private = asked.root / PUBLIC_KEY, asked.root / PRIVATE_KEY
    if public.is_file():
        keys = read_keys(public.read_bytes(), PUBLIC_KEY)
        yield Finding("keys", "ok", f"{PUBLIC_KEY} trusts {count(len(keys), 'key')}")
    else:
        why = "Releases are then verified by the identity of the workflow that signs."
        yield Finding("keys", "unknown", f"there is no {PUBLIC_KEY}", why, "lockgate keys")
    if not private.is_file():
        return
    if git.git(asked.root, "ls-files", "--", PRIVATE_KEY).strip():
        why = "Whoever can read the repository can sign as you."
        mend = "Revoke it (docs/keys.md), and make another"
        yield Finding("keys", "problem", f"git tracks {PRIVATE_KEY}", why, mend)
    if private.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        if asked.fix:
            private.chmod(0o600)
            asked.mended.append(f"{PRIVATE_KEY} can be read by you alone now")
        else:
            why = "Whoever can read it can sign as you."
            yield Finding(
                "keys", "problem", f"others on this machine can read {PRIVATE_KEY}", why, f"chmod 600 {PRIVATE_KEY}"
            )


def _tags(asked: Asked) -> Iterator[Finding]:
    from lockgate.releasing import tags

    names = git.git(asked.root, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines()
    asking = [name for name in names if "@v" in name or "#" in name]
    light, malformed = [], []
    for name in asking:
        try:
            tags.parse(name)
            tags.annotated(asked.root, name)
        except tags.Malformed:
            malformed.append(name)
        except LockgateError:
            light.append(name)
    if malformed:
        why = "They ask for no release and no promotion."
        yield Finding(
            "tags", "advice", f"{count(len(malformed), 'tag')} not in GTO's grammar: {', '.join(malformed[:3])}", why
        )
    if light:
        why = "A lightweight tag does not say who asked, when and why, so it is refused."
        yield Finding(
            "tags", "advice", f"{count(len(light), 'lightweight tag')}: {', '.join(light[:3])}", why, "git tag -a"
        )
    if not malformed and not light:
        yield Finding("tags", "ok", f"{count(len(asking), 'tag')} of releases and promotions")


def _isolation(asked: Asked) -> Iterator[Finding]:
    from lockgate.dvc.confined import confined

    nothing, variables = [sys.executable, "-I", "-c", ""], {"PATH": os.environ.get("PATH", "")}
    done = confined(nothing, variables, repository=asked.root, read=[], seconds=60)
    if done.how.isolation == "none":
        why = "Stages can see more of this machine than their checkout; admit and release refuse to run them."
        yield Finding(
            "isolation", "advice", f"commands cannot be isolated: {done.how.reason}", why, "docs/isolation.md"
        )
    else:
        yield Finding("isolation", "ok", "commands run in namespaces of their own")


def _disk(asked: Asked) -> Iterator[Finding]:
    state = asked.state
    kept = [out.size or 0 for entry in state.lock.stages.values() for out in entry.outs.values()]
    wanted = sum(kept) + sum(out.size or 0 for out in state.pipeline.data.values())
    free = shutil.disk_usage(asked.root).free
    if free < 2 * wanted + (1 << 30):
        why = f"The data and outputs have {size(wanted)}, and a rebuild makes them once more."
        yield Finding("disk", "advice", f"{size(free)} are free", why, "dvc gc --workspace, or a larger disk")
    else:
        yield Finding("disk", "ok", f"{size(free)} are free, the project's data have {size(wanted)}")


CHECKS: Mapping[str, Check] = {
    "versions": _versions,
    "policy": _policy,
    "locks": _locks,
    "vulnerabilities": _advisories,
    "clone": _clone,
    "remotes": _remotes,
    "workflows": _workflows,
    "forge": _forge,
    "store": _store,
    "keys": _keys,
    "tags": _tags,
    "isolation": _isolation,
    "disk": _disk,
}
