"""The workflows that ``lockgate init`` lays down, out of this package.

Those of a pull request and a merge call Lockgate's own, by its commit. Those of a tag or a schedule are whole, because
what they sign is signed in the name of the workflow itself; they differ from Lockgate's own in the address of the
actions alone.
"""

import re
from collections.abc import Mapping
from importlib.resources import files

from lockgate.names import slug

EVERY = ("pull-request", "publish", "main", "repeats", "release", "promote", "withdraw", "monitor", "retrain")
OWN_ACTION = re.compile(r"uses: \./(\.github/actions/\w+)")
OWN_WORKFLOW = re.compile(r"\.github/workflows/(release|promote|withdraw|monitor)\.yml")


def templates(names: tuple[str, ...], project: str = "") -> Mapping[str, str]:
    """Return the text of each of these workflows, by name; for a ``project`` in a folder of the repository, they work
    there, and are called by it."""
    folder = files("lockgate.adoption") / "templates"
    found = {name: (folder / f"{name}.yml").read_text(encoding="utf-8") for name in names}
    return {name: _in_folder(text, project) for name, text in found.items()} if project else found


def path_of(name: str, project: str = "") -> str:
    """Return where a workflow is laid down, from the project's folder."""
    up = "../" * len(project.split("/")) if project else ""
    return f"{up}.github/workflows/lockgate-{called(name, project)}.yml"


def called(name: str, project: str = "") -> str:
    """Return what a workflow of a project is called, behind ``lockgate-``."""
    return f"{slug(project)}-{name}" if project else name


def _in_folder(text: str, project: str) -> str:
    """Have a workflow work in the folder of a project: one that calls Lockgate's own tells it the folder, one that is
    whole runs its steps there."""
    text = re.sub(r"\blockgate-(pull-request|publish|main|repeats|release|promote|withdraw|monitor|retrain)\b",
                  lambda found: f"lockgate-{called(found[1], project)}", text)  # fmt: skip
    if "    uses: @LOCKGATE@/.github/workflows/" in text:
        return text.replace("    with:\n", f"    with:\n      project: {project}\n", 1)
    text = text.replace("permissions: {}\n", f"permissions: {{}}\n\n{_DEFAULTS.format(project)}", 1)
    text = re.sub(r"^( +)path: (handover|build/model-card\.md)$", rf"\1path: {project}/\2", text, flags=re.MULTILINE)
    alone = re.compile(r"^( +)name: card\n(?! +path:)", re.MULTILINE)  # a download that says no place
    text = alone.sub(rf"\1name: card\n\1path: {project}\n", text)
    return re.sub(r"^  group: (\w+)", rf"  group: \1-{slug(project)}", text, count=1, flags=re.MULTILINE)


_DEFAULTS = """\
defaults:
  run:
    working-directory: {}
"""


def template_of(workflow: str) -> str:
    """Return the template of one of Lockgate's own workflows: actions by commit, other workflows by their new names."""
    text = OWN_ACTION.sub(r"uses: @LOCKGATE@/\1@@COMMIT@ # @VERSION@", workflow)
    text = OWN_WORKFLOW.sub(r".github/workflows/lockgate-\1.yml", text)
    text = re.sub(r"^name: (\w+)$", r"name: lockgate-\1", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^((?:#.*\n)*#.*)$", r"\1 Laid down by `lockgate init`.", text, count=1, flags=re.MULTILINE)
