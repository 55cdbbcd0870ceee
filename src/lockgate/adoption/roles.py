"""The roles of a store as Terraform, for the project at hand."""

import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from lockgate import policy
from lockgate.adoption.found import forge_of
from lockgate.dvc.objects import remotes
from lockgate.errors import LockgateError
from lockgate.git import Workspace

CLOUDS = ("aws", "gcs", "azure")


def terraform(root: Path, cloud: str) -> str:
    """Return the roles that docs/setup.md explains, with the bucket, the repository and the model of this project."""
    text = (files("lockgate.adoption") / "terraform" / f"{cloud}.tf").read_text(encoding="utf-8")
    places = {"@BUCKET@": _bucket(root), "@REPOSITORY@": forge_of(root).repository, "@MODEL@": _model(root)}
    for place, value in places.items():
        said = value if re.fullmatch(r"[\w./-]+", value) else ""
        text = text.replace(place, said or place.strip("@"))
    return text


def _bucket(root: Path) -> str:
    address = urlsplit(remotes(root).get("", ""))
    return address.netloc if address.scheme in ("s3", "gs", "azure") else ""


def _model(root: Path) -> str:
    try:
        return policy.read_policy(Workspace(root).read(policy.FILE) or b"").model
    except LockgateError:
        return ""
