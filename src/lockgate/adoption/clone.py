"""What each clone has of its own, because git lets no repository bring commands along: the drivers that merge locks."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from lockgate.git import git

DRIVER = "lockgate"
OUTPUTS = "lockgate-output"
"""The driver for small outputs that git keeps (``reports/*.json merge=lockgate-output``): this side's stands until
``dvc repro`` writes the file again. Git asks a driver only where both sides changed, and then the merged lock lacks the
stage."""


def settings() -> Mapping[str, str]:
    """Return the settings of git: this Python runs the driver, and takes no module from the working tree (``-P``)."""
    python = shlex.quote(sys.executable).replace("%", "%%")
    return {
        f"merge.{DRIVER}.name": "dvc.lock, stage by stage",
        f"merge.{DRIVER}.driver": f"{python} -P -m lockgate merge-lock %O %A %B %P",
        f"merge.{OUTPUTS}.name": "what a stage writes again",
        f"merge.{OUTPUTS}.driver": "true",
    }


def missing(root: Path) -> Mapping[str, str]:
    """Return the settings that this clone lacks."""
    wanted = settings().items()
    return {
        key: value
        for key, value in wanted
        if git(root, "config", "--local", "--default", "", "--get", key) != f"{value}\n"
    }


def configure(root: Path, wanted: Mapping[str, str]) -> None:
    """Have these settings in this clone."""
    for key, value in wanted.items():
        git(root, "config", "--local", "--replace-all", key, value)


def merges_lock(root: Path) -> bool:
    """Say whether the repository asks for the driver of ``dvc.lock``."""
    return git(root, "check-attr", "merge", "--", "dvc.lock").endswith(f": {DRIVER}\n")
