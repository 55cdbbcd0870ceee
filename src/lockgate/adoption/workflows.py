"""The workflows that ``lockgate init`` lays down, out of this package.

Those of a pull request and a merge call Lockgate's own, by its commit. Those of a tag are whole, because what they sign
is signed in the name of the workflow itself; they differ from Lockgate's own in the address of the actions alone.
"""

import re
from collections.abc import Mapping
from importlib.resources import files

OWN_ACTION = re.compile(r"uses: \./(\.github/actions/\w+)")
OWN_WORKFLOW = re.compile(r"\.github/workflows/(release|promote|withdraw)\.yml")


def templates(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return the text of each of these workflows."""
    folder = files("lockgate.adoption") / "templates"
    return {name: (folder / f"{name}.yml").read_text(encoding="utf-8") for name in names}


def template_of(workflow: str) -> str:
    """Return the template of one of Lockgate's own workflows: actions by commit, other workflows by their new names."""
    text = OWN_ACTION.sub(r"uses: @LOCKGATE@/\1@@COMMIT@ # @VERSION@", workflow)
    text = OWN_WORKFLOW.sub(r".github/workflows/lockgate-\1.yml", text)
    text = re.sub(r"^name: (\w+)$", r"name: lockgate-\1", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^((?:#.*\n)*#.*)$", r"\1 Laid down by `lockgate init`.", text, count=1, flags=re.MULTILINE)
