"""``lockgate keys``: which keys are trusted, and how one stops being trusted.

A key that is revoked loses the future, not the past: what it signed until then is listed in the revocation and stays
believed, unless the one who revokes it says from which entry on, or for which releases, it must not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.errors import LockgateError, UsageError
from lockgate.releasing.environments import Environment
from lockgate.releasing.manifest import SIGNATURE, canonical, parse_canonical, sha256
from lockgate.releasing.registry import REVOCATION_SCHEMA, Actor, Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier, SignatureRefused, Signer
from lockgate.releasing.trusted_keys import Revocation, TrustedKey
from lockgate.store import ObjectDiffers


class NoSuchKey(UsageError):  # noqa: N818 - named for what the user reads
    """The key to revoke is not one of the trusted ones."""

    def __init__(self, word: str, keys: tuple[TrustedKey, ...]) -> None:
        """Name the key and those that are trusted."""
        known = ", ".join(f"{key.fingerprint[:12]}{f' ({key.name})' if key.name else ''}" for key in keys)
        super().__init__(f"no trusted key is called '{word}'", f"Name one by its fingerprint: {known}.")


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of a revocation: the key with it, and whether the store holds it now."""

    key: TrustedKey
    path: str


def find_key(word: str, keys: tuple[TrustedKey, ...]) -> TrustedKey:
    """Return the trusted key that ``word`` names, by the beginning of its fingerprint (8 digits or more) or its name.

    Raises :class:`NoSuchKey`.
    """
    found = [key for key in keys if word == key.name or (len(word) >= 8 and key.fingerprint.startswith(word))]
    if len(found) != 1:
        raise NoSuchKey(word, keys)
    return found[0]


def revoke(
    registry: Registry,
    key: TrustedKey,
    signer: Signer,
    actor: Actor,
    reason: str,
    *,
    entries_from: Mapping[str, int],
    not_releases: frozenset[str],
) -> Revoked:
    """Write a revocation of ``key`` to the store, signed with another key, and return it.

    All that the key signed until now stays believed, but for the entries of an environment from a number on
    (``entries_from``) and the releases ``not_releases``. Raises :class:`LockgateError` if the key would revoke itself,
    or was revoked in the store before in another way.
    """
    verifier = registry.verifier
    if not isinstance(verifier, KeyVerifier):
        raise UsageError("keys are revoked where keys are trusted", "Name the trusted keys with --public-key.")
    trial = verifier.verify_by(signer.sign({"lockgate/revocations/trial": "0" * 64}), "a trial signature")
    if trial[1] == key.fingerprint:
        who = signer.private_key if isinstance(signer, KeySigner) else "the signer"
        raise LockgateError(
            f"{who} is the key that is to be revoked",
            "Sign with another trusted key: `lockgate keys new --private-key new.key --public-key new.pub`, "
            "`lockgate keys trust new.pub`, then this command with --private-key new.key.",
        )
    revocation = _still_believed(registry, verifier, key, reason, dict(entries_from), not_releases)
    path = f"{registry.name}/revocations/{key.fingerprint}.json"
    payload = {
        "schema": REVOCATION_SCHEMA,
        "name": registry.name,
        "key": key.fingerprint,
        "reason": reason,
        "entries": dict(revocation.entries),
        "documents": dict(revocation.documents),
        "actor": actor.name,
        "time": actor.time,
    }
    try:
        registry.write_signed(path, payload, signer)
    except ObjectDiffers:
        raise LockgateError(
            f"{registry.store.place(path)} revokes this key already",
            "What the store says stays. To believe less of the key, edit its lines in the file of trusted keys.",
        ) from None
    return Revoked(TrustedKey(key.pem, key.name, revocation), path)


def _still_believed(
    registry: Registry,
    verifier: KeyVerifier,
    key: TrustedKey,
    reason: str,
    entries_from: dict[str, int],
    not_releases: frozenset[str],
) -> Revocation:
    store, name = registry.store, registry.name
    entries = {}
    for environment in store.folders(f"{name}/environments"):
        head = Environment(registry, environment).newest()
        entries[f"{name}#{environment}"] = min(head, entries_from.pop(environment, head + 1) - 1)
    if entries_from:
        raise UsageError(f"there is no environment '{next(iter(entries_from))}' in {store.url}", "`lockgate history`")
    missing = not_releases - set(registry.versions())
    if missing:
        raise UsageError(f"there is no release {min(missing)} in {store.url}", "`lockgate releases` lists them.")
    documents = {}
    for folder in ("releases", "withdrawals", "revocations"):
        paths = [stored.path for stored in store.objects(f"{name}/{folder}")]
        for path, data in zip(paths, store.read_all(paths), strict=True):
            version = path.rpartition("/")[2].removesuffix(".json")
            if data is None or (folder == "releases" and version in not_releases):
                continue
            document = parse_canonical(data, store.place(path))
            if _by(verifier, str(document["signature"]).encode()) == key.fingerprint:
                documents[path] = sha256(canonical(document["payload"]))
            if folder == "releases":
                digest = str(document["payload"]["manifest"])
                build = f"{name}/builds/{digest}"
                if _by(verifier, store.read(f"{build}/{SIGNATURE}")) == key.fingerprint:
                    documents[f"{build}/manifest.json"] = digest
    return Revocation(reason, entries, documents)


def _by(verifier: KeyVerifier, signature: bytes) -> str:
    """Return the fingerprint of the key that made a signature, empty where none of the trusted ones did."""
    try:
        return verifier.verify_by(signature, "")[1]
    except SignatureRefused:
        return ""
