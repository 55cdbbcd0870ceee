"""Signatures: who made a set of files, in the format of OpenSSF model signing (a Sigstore bundle, DSSE, in-toto).

What is signed is a mapping of path → SHA-256. For a build that is every file of its folder except ``model.sig``, so
that the ``model_signing`` program alone can verify a fetched folder, without Lockgate. A document (a release, an entry
of an environment's log) is signed under its path in the store: it cannot be passed off as another one.

A key pair works offline. Without keys, in a workflow, Sigstore vouches for the workflow's identity.
"""

import base64
import binascii
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from lockgate.errors import LockgateError
from lockgate.releasing.identities import Identity, NotThisIdentity
from lockgate.releasing.trusted_keys import (
    NotTrustedKeys,
    Revocation,
    SigningError,
    TrustedKey,
    read_keys,
    signs_for,
    with_revocation,
)

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ["model.sig"]}


class SignatureRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """A signature that was not made by the key or identity one trusts, or not over this."""

    def __init__(self, place: str, why: str) -> None:
        """Name the signed thing and what is wrong."""
        super().__init__(
            f"{place}: {why}", "Do not use it. Verify with the right public key, or find out who wrote it."
        )
        self.why = why


class Signer(Protocol):
    """Makes signatures."""

    def sign(self, digests: Mapping[str, str]) -> bytes:
        """Return a signature over path → SHA-256."""


class Verifier(Protocol):
    """Knows whose signatures to trust."""

    def verify(self, signature: bytes, place: str) -> dict[str, str]:
        """Return the path → SHA-256 that was signed. Raises :class:`SignatureRefused` naming ``place``."""


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key that is in no file but in the variable ``name``, as a workflow gets its secrets: what reads a key's file
    reads this as well."""

    name: str
    pem: str = field(repr=False)

    def read_bytes(self) -> bytes:
        """Return the key in PEM."""
        return self.pem.encode()

    def __str__(self) -> str:
        """Return what it is called in messages."""
        return f"${self.name}"


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Signs with an elliptic-curve private key in PEM."""

    private_key: Path | KeyText

    def sign(self, digests: Mapping[str, str]) -> bytes:
        """Return a signature. Raises :class:`SigningError` if the key cannot be used."""
        from model_signing._signing import sign_ec_key

        key: Any = self.private_key  # nothing but `read_bytes` is asked of it
        try:
            signer = sign_ec_key.Signer(key)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SigningError(f"{self.private_key} is not an usable private key: {_first(error)}", _KEYS) from None
        return _bytes(signer.sign(_payload(digests)))


@dataclass(frozen=True, slots=True)
class KeylessSigner:
    """Signs as the workflow that runs (its OIDC token), through Sigstore's public service."""

    def sign(self, digests: Mapping[str, str]) -> bytes:
        """Return a signature. Raises :class:`SigningError` where no identity or no service is to be had."""
        from model_signing._signing import sign_sigstore

        try:
            return _bytes(sign_sigstore.Signer(use_ambient_credentials=True).sign(_payload(digests)))
        except Exception as error:
            raise SigningError(
                f"signing without a key failed: {_first(error)}",
                "In a workflow it needs `permissions: id-token: write`; elsewhere sign with --private-key.",
            ) from error


@dataclass(frozen=True, slots=True)
class KeyVerifier:
    """Trusts the public keys of a file (or of several), as far as they are not revoked.

    ``revocations`` (fingerprint → revocation) are what a store says in addition to the files.
    """

    public_key: Path | KeyText
    more: tuple[Path | KeyText, ...] = ()
    revocations: Mapping[str, Revocation] = field(default_factory=dict, hash=False)

    def trusted_keys(self) -> tuple[TrustedKey, ...]:
        """Return the trusted keys. Raises :class:`SigningError` for a file that holds none."""
        found: dict[str, TrustedKey] = {}
        for source in (self.public_key, *self.more):
            for key in _read_keys(source):
                revoked = self.revocations.get(key.fingerprint)
                found[key.fingerprint] = key if revoked is None else with_revocation(key, revoked)
        return tuple(found.values())

    def verify(self, signature: bytes, place: str) -> dict[str, str]:
        """Return what was signed. Raises :class:`SignatureRefused`, or :class:`SigningError` for an unusable key."""
        return self.verify_by(signature, place)[0]

    def verify_by(self, signature: bytes, place: str) -> tuple[dict[str, str], str]:
        """Return what was signed, and the fingerprint of the key that did. Raises as :meth:`verify`."""
        known = {key.fingerprint: key for key in self.trusted_keys()}
        hint, payload, raw = _open_bundle(signature, place)
        key = known.get(hint)
        if key is None:
            who = "the one key trusted" if len(known) == 1 else f"any of the {len(known)} keys trusted"
            raise SignatureRefused(place, f"its signature is by the key {hint[:12]}, not by {who}")
        _check_signature(key.public_key, raw, payload, place)
        digests = _read_statement(payload, place)
        if not signs_for(key.only, digests):
            raise SignatureRefused(place, f"it was signed with the key {hint[:12]}, which signs {key.only} only")
        if key.revoked is not None and not key.revoked.believes(digests):
            raise SignatureRefused(
                place, f"it was signed with the key {hint[:12]}, which was revoked: {key.revoked.reason}"
            )
        return digests, hint


@dataclass(frozen=True, slots=True)
class IdentityVerifier:
    """Trusts identities that Sigstore vouches for, any of them."""

    identities: tuple[Identity, ...]

    def verify(self, signature: bytes, place: str) -> dict[str, str]:
        """Return what was signed. Raises :class:`SignatureRefused`; :class:`SigningError` without Sigstore's root."""
        from model_signing._signing import sign_sigstore

        policy = _Policy(self)
        try:
            verifier: Any = sign_sigstore.Verifier(identity="-", oidc_issuer="-")
            verifier._policy = policy  # noqa: SLF001 - its own compares a name and an issuer, and nothing else
        except Exception as error:
            raise SigningError(
                f"Sigstore's trusted root could not be had: {_first(error)}", "Try again, or verify with a public key."
            ) from error
        digests = _verified(verifier, sign_sigstore.Signature, signature, place)
        try:
            policy.identity.check_signed(policy.certificate, digests)
        except NotThisIdentity as error:
            raise SignatureRefused(place, f"its signature is not by the one trusted: {error}") from None
        return digests

    def identity_of(self, certificate: Any) -> Identity:
        """Return which of the identities the certificate is of. Raises :class:`NotThisIdentity` if it is of none."""
        findings = []
        for identity in self.identities:
            try:
                identity.check(certificate)
            except NotThisIdentity as error:
                findings.append(str(error))
            else:
                return identity
        raise NotThisIdentity("; ".join(findings))


class _Policy:
    """What sigstore asks about a certificate, and what it learned."""

    def __init__(self, trusted: IdentityVerifier) -> None:
        self.trusted = trusted
        self.identity = Identity()
        self.certificate: Any = None

    def verify(self, cert: Any) -> None:
        from sigstore.errors import VerificationError

        try:
            self.identity = self.trusted.identity_of(cert)
        except NotThisIdentity as error:
            raise VerificationError(str(error)) from None
        self.certificate = cert


def check_signer(signer: Signer, verifier: Verifier, folder: str = "environments") -> None:
    """Try a private key before anything is done with it that is to stand in ``folder`` of a model.

    Raises :class:`KeysDoNotFit` if its signatures would be refused; an identity is known only when it signs, and is
    checked then.
    """
    if isinstance(signer, KeySigner):
        trial = {f"lockgate/{folder}/trial": "0" * 64}
        try:
            verifier.verify(signer.sign(trial), "a trial signature")
        except SignatureRefused as error:
            raise KeysDoNotFit(str(signer.private_key), error.why) from None


class KeysDoNotFit(SigningError):  # noqa: N818 - named for what the user reads
    """What the private key signs would be refused by whoever reads it."""

    exit_code = 1

    def __init__(self, private_key: str, why: str) -> None:
        """Name the private key, and why its signatures are refused."""
        super().__init__(
            f"{private_key} is not the private half of a key that is trusted here: {why}",
            "Nothing was written. Sign with the key that belongs to the trusted one; or trust this one as well: "
            "`lockgate keys trust FILE.pub`.",
        )


def create_key_pair(private_key: Path, public_key: Path) -> None:
    """Write a new P-256 key pair as PEM files; the private one is readable by its owner alone.

    Raises ``FileExistsError`` rather than replace a file.
    """
    import os

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for path, data, mode in ((private_key, secret, 0o600), (public_key, public, 0o644)):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)


_KEYS = (
    "A pair is made by `openssl ecparam -name prime256v1 -genkey -noout -out lockgate.key` "
    "and `openssl ec -in lockgate.key -pubout -out lockgate.pub`."
)


def _payload(digests: Mapping[str, str]) -> Any:
    """Return what ``model_signing`` would sign for a folder with these files, without hashing them once more.

    Its public interface only signs folders on the disk; the classes it does that with are used here.
    """
    from model_signing import manifest
    from model_signing._hashing.hashing import Digest
    from model_signing._signing.signing import Payload

    form = manifest.SerializationType.from_args(dict(_SERIALIZATION))
    items = [form.new_item(path, Digest("sha256", bytes.fromhex(digest))) for path, digest in sorted(digests.items())]
    return Payload(manifest.Manifest("build", items, form))


def _bytes(signature: Any) -> bytes:
    return str(signature.bundle.to_json()).encode()


def _verified(verifier: Any, form: Any, signature: bytes, place: str) -> dict[str, str]:
    """Return path → SHA-256 from a signature. Whatever a hostile signature breaks on the way is a refusal."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        try:
            resources = list(verifier.verify(form.read(Path(file.name))).resource_descriptors())
        except Exception as error:
            raise SignatureRefused(place, f"its signature is not by the one trusted: {_first(error)}") from error
    if any(resource.digest.algorithm != "sha256" for resource in resources):
        raise SignatureRefused(place, "its signature covers other digests than SHA-256")
    return {resource.identifier: resource.digest.digest_hex for resource in resources}


def _open_bundle(signature: bytes, place: str) -> tuple[str, bytes, bytes]:
    """Return the hint, the payload and the raw signature of a bundle, refusing every spelling of it but our own: the
    parts that no signature covers must not vary either."""
    try:
        bundle = json.loads(signature)
        envelope = bundle["dsseEnvelope"]
        [made] = envelope["signatures"]
        hint = str(bundle["verificationMaterial"]["publicKey"]["hint"])
        payload, raw = (base64.b64decode(text, validate=True) for text in (envelope["payload"], made["sig"]))
        spelled = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": _PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(raw).decode(), "keyid": ""}],
            },
        }
        if json.dumps(spelled, separators=(",", ":")).encode() == signature:
            return hint, payload, raw
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        pass
    raise SignatureRefused(place, "its signature was altered, or was not made with a key pair")


def _check_signature(key: Any, raw: bytes, payload: bytes, place: str) -> None:
    """Check a DSSE envelope's signature (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    kinds: dict[int, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
        256: hashes.SHA256,
        384: hashes.SHA384,
        521: hashes.SHA512,
    }
    encoded = b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)
    try:
        key.verify(raw, encoded, ec.ECDSA(kinds[key.curve.key_size]()))
    except InvalidSignature:
        raise SignatureRefused(place, "its signature does not fit what it stands on") from None


def _read_statement(payload: bytes, place: str) -> dict[str, str]:
    """Return path → SHA-256 from the in-toto statement of a model signature, as ``model_signing`` reads it."""
    try:
        statement = json.loads(payload)
        [subject] = statement["subject"]
        predicate = statement["predicate"]
        found = {str(one["name"]): str(one["digest"]) for one in predicate["resources"]}
        root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in found.values())).hexdigest()
        good = (
            statement["_type"] == "https://in-toto.io/Statement/v1"
            and statement["predicateType"] == "https://model_signing/signature/v1.0"
            and predicate["serialization"] == _SERIALIZATION
            and all(one["algorithm"] == "sha256" for one in predicate["resources"])
            and len(found) == len(predicate["resources"])
            and subject["digest"] == {"sha256": root}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        good, found = False, {}
    if not good:
        raise SignatureRefused(place, "its signature stands on something that is not a list of files and digests")
    return found


@lru_cache(maxsize=64)
def _read_keys_of(data: bytes, place: str) -> tuple[TrustedKey, ...]:
    return read_keys(data, place)


def _read_keys(source: Path | KeyText) -> tuple[TrustedKey, ...]:
    try:
        return _read_keys_of(source.read_bytes(), str(source))
    except OSError as error:
        raise NotTrustedKeys(str(source), str(error.strerror)) from None


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
