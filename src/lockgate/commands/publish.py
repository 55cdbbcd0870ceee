"""``lockgate ci publish``: comment on a pull request once its check has run, set its status, write ``dvc.lock`` back.

It runs code of the default branch alone. Which pull request it is about, and which commit, comes from the event that
started it; the head commit is fetched as data and never checked out. The artifact of the check
(:mod:`lockgate.publishing.artifact`) may have been made by the author: it is bounded, validated against what git
says of the two commits, and shown escaped.

Safe to run again: the comment is updated in place, the commit with the lock is the same commit each time.
"""

import argparse
import os
import sys
from pathlib import Path

from lockgate import git
from lockgate.errors import NotAskedError
from lockgate.forge.github import GitHub
from lockgate.publishing.publish import Publisher, find_targets, project_of
from lockgate.rendering import escape

EXAMPLES = """\
examples:
  lockgate ci publish             in a workflow started by `workflow_run`: its event names the pull request
  lockgate ci publish --dry-run   print the comment, write nothing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="print the comment, write nothing anywhere")


def main(arguments: argparse.Namespace) -> int:
    """Publish what the run of the event left. Exit code 0 whatever its verdict is, if it could be published."""
    root = git.project_root()
    github = GitHub(_variable("GITHUB_API_URL"), _variable("GITHUB_REPOSITORY"), _variable("GITHUB_TOKEN"))
    project = project_of(root)
    run = github.read_event(Path(_variable("GITHUB_EVENT_PATH")).read_bytes())
    targets = find_targets(github, run, project)
    if isinstance(targets, str):
        sys.stderr.write(f"nothing to publish: {targets}\n")
        _summarize(f"Nothing was published: {targets}.")
        return 0
    publisher = Publisher(root, github, run, _variable("GITHUB_SERVER_URL"), dry_run=arguments.dry_run)
    done = publisher.publish(targets)
    for one in done:
        sys.stdout.write(f"{one.words}\n")
        if not arguments.dry_run:
            _summarize(one.words)
    for failure in (one.failure for one in done if one.failure):
        raise failure
    return 0


def _summarize(text: str) -> None:
    """Add a line to the page that GitHub shows for this run, where there is one."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(f"{escape.text(text)}\n\n")


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise NotAskedError(f"{name} is not set", "`lockgate ci publish` runs in a GitHub workflow, which sets it.")
    return value
