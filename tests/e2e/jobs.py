"""What GitHub gives each job of a workflow: a token with its rights, an identity, its environment's settings.

``act`` knows one set of variables and secrets for all jobs of a run: a job that names one of another job's environment,
which GitHub would give it empty, is an error here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Settings:
    """Variables and secrets: the repository's, or those of an environment, which the jobs in it see, no others."""

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """What a run is given: rights of the token and identity by job (empty without ``id-token: write``), settings."""

    rights: Mapping[str, Mapping[str, str]]
    identities: Mapping[str, str]
    settings: Settings


def given(
    jobs: Mapping[str, Any],
    event: str,
    ref: str,
    own: Settings,
    environments: Mapping[str, Settings],
    *,
    fork: bool,
) -> Given:
    """Return what a run of these jobs is given, in a repository with these settings and environments.

    A fork's run only reads, and sees no setting.
    """
    variables, secrets = dict(own.variables), dict(own.secrets)
    rights: dict[str, dict[str, str]] = {}
    identities, seen = {}, {}
    for name, job in jobs.items():
        place = environment_of(job, ref)
        scope = environments.get(place, Settings())
        rights[name] = {right: "read" if fork else level for right, level in (job.get("permissions") or {}).items()}
        subject = f"environment:{place}" if place else event if event == "pull_request" else f"ref:{ref}"
        identities[name] = subject if rights[name].pop("id-token", "") == "write" else ""
        seen[name] = {*own.variables, *own.secrets, *scope.variables, *scope.secrets}
        variables |= scope.variables
        secrets |= scope.secrets
    for name, job in jobs.items():
        named = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", json.dumps(job)))
        others = named & {*variables, *secrets} - seen[name]
        assert not others, f"the job {name} names {others} of another environment"
    return Given(rights, identities, Settings() if fork else Settings(variables, secrets))


PROGRAM = "lockgate/lockgate"


def called(jobs: Mapping[str, Any], program: Path) -> dict[str, Any]:
    """Return the jobs with those in the place of the ones that call a workflow; a callee has no right that its caller
    lacks."""
    found: dict[str, Any] = {}
    for name, job in jobs.items():
        if "uses" not in job:
            found[name] = job
            continue
        path = re.fullmatch(rf"{PROGRAM}/(\.github/workflows/[\w-]+\.yml)@[0-9a-f]{{40}}", job["uses"])
        assert path, job["uses"]
        for inner, callee in yaml.safe_load((program / path[1]).read_text())["jobs"].items():
            for right, level in callee["permissions"].items():
                assert job["permissions"].get(right) in (level, "write"), (name, inner, right)
            found[inner] = callee
    return found


def environment_of(job: Mapping[str, Any], ref: str) -> str:
    """Return the environment that a job is in; of GitHub's expressions one choice by the tag's name is understood."""
    named = str(job.get("environment") or "")
    choice = re.fullmatch(r"\$\{\{ contains\(github\.ref_name, '(.+)'\) && '(\w+)' \|\| '(\w+)' \}\}", named)
    if choice is None:
        assert "${{" not in named, named
        return named
    return choice[2] if choice[1] in ref.removeprefix("refs/tags/") else choice[3]


def as_regex(pattern: str) -> str:
    """Return a filter pattern of GitHub's for tags as a regular expression."""
    return re.sub(r"\*\*|\*|[.]", lambda found: {"**": ".*", "*": "[^/]*", ".": r"\."}[found[0]], pattern)


def started_by(workflows: Path, tag: str) -> list[str]:
    """Return the names of the workflows that the push of such a tag starts."""
    found = []
    for path in sorted(workflows.glob("*.yml")):
        pushed = yaml.safe_load(path.read_text())[True].get("push") or {}  # YAML reads `on` as yes
        if any(re.fullmatch(as_regex(pattern), tag) for pattern in pushed.get("tags", ())):
            found.append(path.name)
    return found


def pinned(folder: Path) -> set[tuple[str, str]]:
    """Return every action of the workflows that has to be fetched, and its commit."""
    texts = "\n".join(path.read_text() for path in folder.rglob("*.yml"))
    return set(re.findall(r"uses: ([\w-]+/[\w-]+)@([0-9a-f]{40})", texts))  # ours are folders of a repository
