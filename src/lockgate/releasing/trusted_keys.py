"""The public keys that are trusted: a file of PEM blocks, and what of a revoked key is still believed.

The file (``lockgate.pub``, committed to git) holds one public key or several. Lines before a key say what is known of
it::

    Key: the laptop of ana, 2026
    Only: heartbeats
    Revoked: the laptop was stolen
    Believed: flight-delay#production 6
    Believed: flight-delay/releases/v1.0.0.json 3f11fb00057a957502047417a53888ef0bfa33d432bf764769c66f62dc1ae45c
    -----BEGIN PUBLIC KEY-----
    …

Without ``Only:`` and ``Revoked:`` a key is trusted for everything. What a revoked key signed is refused, but for what
``Believed:`` lists: the entries of an environment's log up to a number, and documents by their path and SHA-256. The
same is said in the store by a signed document, ``NAME/revocations/<fingerprint>.json``, for readers whose file is
older; git decides where the two disagree, because a stolen key can write to a store.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from lockgate.errors import NotAskedError

FOLDERS = (
    "heartbeats",
    "environments",
    "releases",
    "withdrawals",
    "monitors",
)  # of a model, for which a key may sign alone
LAST = 10**8  # entry n of a log is named LAST - n
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?-----END \1-----", re.DOTALL)
_ENTRY = re.compile(r"([^/]+)/environments/([^/]+)/([0-9]{8})\.json")
_LOG = re.compile(r"[^/#\s]+#[^/#\s]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SigningError(NotAskedError):
    """A key that cannot be read or does not fit, or an identity that cannot be proven."""


class NotTrustedKeys(SigningError):  # noqa: N818 - named for what the user reads
    """A file that should hold public keys and does not."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(
            f"{place} is not an usable public key: {finding}",
            "A pair is made by `lockgate keys`, or by `openssl ecparam -name prime256v1 -genkey -noout -out "
            "lockgate.key` and `openssl ec -in lockgate.key -pubout -out lockgate.pub`.",
        )


@dataclass(frozen=True, slots=True)
class Revocation:
    """Why a key is not to be trusted any more, and what of it is still believed: the entries of a log
    (``NAME#ENVIRONMENT``) up to a number, and documents (path → SHA-256 of what was signed)."""

    reason: str
    entries: Mapping[str, int] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    def believes(self, digests: Mapping[str, str]) -> bool:
        """Say whether a signature over path → SHA-256 is one of those that are still believed."""
        if len(digests) == 1:
            [(path, digest)] = digests.items()
            if entry := _ENTRY.fullmatch(path):
                return LAST - int(entry[3]) <= self.entries.get(f"{entry[1]}#{entry[2]}", 0)
            return self.documents.get(path) == digest
        # a build: its signature covers many files, and the manifest among them stands for all
        return digests.get("manifest.json", "") in self.documents.values()

    def narrowed(self, other: "Revocation") -> "Revocation":
        """Return what both of two revocations of one key still believe."""
        entries = {name: min(last, other.entries.get(name, 0)) for name, last in self.entries.items()}
        same = {path: digest for path, digest in self.documents.items() if other.documents.get(path) == digest}
        return Revocation(self.reason, entries, same)


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One public key: its PEM, its name for people, its revocation, if there is one, and the one folder of a model
    that it signs for, if it signs for ``only`` one."""

    pem: str
    name: str = ""
    revoked: Revocation | None = None
    only: str = ""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the PEM, by which a signature says which key made it."""
        return hashlib.sha256(self.pem.encode()).hexdigest()

    @property
    def public_key(self) -> Any:
        """The key as ``cryptography`` has it."""
        return _load(self.pem)

    def block(self) -> str:
        """Return the lines of the file that stand for this key."""
        lines = [f"Key: {self.name}"] if self.name else []
        lines += [f"Only: {self.only}"] if self.only else []
        if self.revoked is not None:
            lines.append(f"Revoked: {' '.join(self.revoked.reason.split()) or 'no reason given'}")
            believed = {**self.revoked.entries, **self.revoked.documents}
            lines += [f"Believed: {what} {value}" for what, value in sorted(believed.items())]
        return "\n".join([*lines, self.pem])


def read_keys(data: bytes, place: str) -> tuple[TrustedKey, ...]:
    """Return the keys of a file of trusted keys. Raises :class:`NotTrustedKeys` naming ``place``."""
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise NotTrustedKeys(place, "it is not text") from None
    keys: list[TrustedKey] = []
    end = 0
    for found in _PEM.finditer(text):
        name, revoked, only = _headers(text[end : found.start()], place)
        keys.append(TrustedKey(_normal(found[0], place), name, revoked, only))
        end = found.end()
    if text[end:].strip():
        raise NotTrustedKeys(place, f"after the last key it reads {text[end:].strip()[:40]!r}")
    if not keys:
        raise NotTrustedKeys(place, "it holds no key in PEM")
    if len({key.fingerprint for key in keys}) < len(keys):
        raise NotTrustedKeys(place, "it holds one key twice")
    return tuple(keys)


def write_keys(keys: Iterable[TrustedKey]) -> str:
    """Return the text of a file of trusted keys."""
    return "\n".join(key.block() for key in keys)


def with_revocation(key: TrustedKey, revocation: Revocation) -> TrustedKey:
    """Return the key with a revocation; one that it has already narrows it further."""
    known = key.revoked
    return replace(key, revoked=revocation if known is None else known.narrowed(revocation))


def signs_for(only: str, digests: Mapping[str, str]) -> bool:
    """Say whether a signature is over one document of the folder ``only`` (of any where it is empty); a build, whose
    signature is over many files, belongs to the releases."""
    if not only or len(digests) > 1:
        return only in {"", "releases"}
    return re.fullmatch(rf"[^/]+/{re.escape(only)}/.+", next(iter(digests), "")) is not None


def _headers(text: str, place: str) -> tuple[str, Revocation | None, str]:
    name, reason, only = "", None, ""
    entries: dict[str, int] = {}
    documents: dict[str, str] = {}
    for line in text.splitlines():
        word, colon, rest = line.partition(":")
        rest = rest.strip()
        if not line.strip() or line.startswith("#"):
            continue
        what, _, value = rest.rpartition(" ")
        if word == "Key" and colon:
            name = rest
        elif word == "Only" and rest in FOLDERS:
            only = rest
        elif word == "Revoked" and colon:
            reason = rest
        elif word == "Believed" and _LOG.fullmatch(what) and value.isdecimal() and value.isascii():
            entries[what] = int(value)
        elif word == "Believed" and what and _SHA256.fullmatch(value):
            documents[what] = value
        else:
            raise NotTrustedKeys(
                place, f"the line {line[:60]!r} is neither a key nor 'Key:', 'Revoked:' or 'Believed:'"
            )
    if reason is None and (entries or documents):
        raise NotTrustedKeys(place, "'Believed:' belongs to a key with 'Revoked:'")
    return name, None if reason is None else Revocation(reason, entries, documents), only


@lru_cache(maxsize=64)
def _load(pem: str) -> Any:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in {"secp256r1", "secp384r1", "secp521r1"}:
        raise ValueError("it is not a key on one of the curves P-256, P-384 and P-521")
    return key


@lru_cache(maxsize=64)
def _normal(pem: str, place: str) -> str:
    """Return the one spelling of a public key's PEM, which its fingerprint is taken of."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = _load(pem + "\n")
    except (ValueError, TypeError, AttributeError) as error:
        raise NotTrustedKeys(place, (str(error).strip() or type(error).__name__).splitlines()[0]) from None
    encoded: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()
