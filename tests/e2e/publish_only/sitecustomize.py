"""Refuses to import what requirements/publish.lock does not name, as if it were not installed."""

import importlib.metadata
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

LOCK = Path(__file__).resolve().parents[3] / "requirements/publish.lock"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


NAMED = {normal(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)} | {"lockgate"}
OWNERS = {
    module: {normal(one) for one in names} for module, names in importlib.metadata.packages_distributions().items()
}


class NotInstalled:
    """A finder that says no to every module whose packages are not in the lock."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        owners = OWNERS.get(name)
        if owners and not owners & NAMED:
            raise ModuleNotFoundError(f"No module named {name!r}: requirements/publish.lock has none of {owners}")


sys.meta_path.insert(0, NotInstalled())  # type: ignore[arg-type]
