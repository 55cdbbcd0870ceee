"""Write the commit that a wheel is built from into it: ``lockgate init`` pins the workflows of that commit."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "lockgate/adoption/COMMIT"


class CommitHook(BuildHookInterface[Any]):
    """Adds ``lockgate/adoption/COMMIT``, where git knows the commit and nothing differs from it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Ask git; an editable installation asks it when it needs to know."""
        source = Path(self.root, "src", FILE)
        if version == "editable" or source.exists() or not Path(self.root, ".git").exists():
            return
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"],
            cwd=self.root, check=False, capture_output=True, text=True,
        )  # fmt: skip
        commit = done.stdout.strip()
        if done.returncode == 0 and len(commit) == 40:
            target = Path(self.directory, "COMMIT")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(commit + "\n")
            build_data["force_include"][str(target)] = FILE
