"""What the tests of releases share: key pairs, small builds, and how to publish and promote them."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lockgate import policy
from lockgate.releasing.environments import Entry, Environment
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Actor, Build, Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier, create_key_pair
from lockgate.store import Patience, Store

NAME = "flight-delay"
ACTOR = Actor("ana", "2026-01-02T03:04:05+00:00")
QUICK = Patience(tries=6, first=0.001, longest=0.01)
STAGING = policy.Environment("staging", None, "none", ())
PRODUCTION = policy.Environment("production", "staging", "full", ())
FACTS = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "rebuild": {"level": "full"},
    "gates": [{"rule": "roc_auc at least 0.68", "measured": "0.6948", "passed": True}],
    "metrics": {"roc_auc": "0.6948"},
}


@dataclass(frozen=True)
class Keys:
    """One key pair."""

    signer: KeySigner
    verifier: KeyVerifier


def make_keys(folder: Path) -> Keys:
    folder.mkdir(parents=True, exist_ok=True)
    create_key_pair(folder / "lockgate.key", folder / "lockgate.pub")
    return Keys(KeySigner(folder / "lockgate.key"), KeyVerifier(folder / "lockgate.pub"))


def a_build(folder: Path, seed: str = "one", size: int = 5000) -> Path:
    """Write the files of a small build to ``folder``: a model (a zip, as skops makes), a card, a lock, a wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", '{"seed": "' + seed + '"}')
        archive.writestr("weights.bin", (seed.encode() * size)[:size])
    (folder / "model-card.md").write_text(f"# Flight delay\n\nBuild {seed}.\n")
    (folder / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{}} # {seed}\n")
    (folder / "wheels").mkdir(exist_ok=True)
    (folder / "wheels" / "flight_delay-1.0-py3-none-any.whl").write_bytes(
        _zip("flight_delay/__init__.py", f"seed = {seed!r}\n")
    )
    return folder


def _zip(name: str, content: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def publish(registry: Registry, keys: Keys, folder: Path, version: str, **facts: object) -> Build:
    build, _ = registry.publish(folder, version, FACTS | facts, signer=keys.signer, actor=ACTOR)
    return build


def promoted(registry: Registry, keys: Keys, version: str, rules: policy.Environment, **more: str) -> Entry:
    entry, _ = promote(registry, version, rules, keys.signer, ACTOR, **more)  # type: ignore[arg-type]
    assert entry is not None
    return entry


def versions_of(registry: Registry, environment: str) -> list[str]:
    return [entry.version for entry in Environment(registry, environment).history()]


def contents(store: Store) -> dict[str, bytes]:
    """Return everything a store holds."""
    return {stored.path: store.read(stored.path, limit=2**40) for stored in store.objects("")}
