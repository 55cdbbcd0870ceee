"""Signatures: who made a set of files, in the format of OpenSSF model signing (a Sigstore bundle, DSSE, in-toto).

What is signed is a mapping of path → SHA-256. For a build that is every file of its folder except ``model.sig``, so
that the ``model_signing`` program alone can verify a fetched folder, without Lockgate. A document (a release, an entry
of an environment's log) is signed under its path in the store: it cannot be passed off as another one.

A key pair works offline. Without keys, in a workflow, Sigstore vouches for the workflow's identity.
"""

import base64
import binascii
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lockgate.errors import LockgateError


class SigningError(LockgateError):
    """A key that cannot be read, or an identity that cannot be proven."""


class SignatureRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """A signature that was not made by the key or identity one trusts, or not over this."""

    def __init__(self, place: str, why: str) -> None:
        """Name the signed thing and what is wrong."""
        super().__init__(
            f"{place}: {why}", "Do not use it. Verify with the right public key, or find out who wrote it."
        )


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
            raise SigningError(f"{self.private_key} is no usable private key: {_first(error)}", _KEYS) from None
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
    """Trusts one public key in PEM."""

    public_key: Path | KeyText

    def verify(self, signature: bytes, place: str) -> dict[str, str]:
        """Return what was signed. Raises :class:`SignatureRefused`, or :class:`SigningError` for an unusable key."""
        from model_signing._signing import sign_ec_key, sign_sigstore_pb

        key: Any = self.public_key
        try:
            verifier = sign_ec_key.Verifier(key)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SigningError(f"{self.public_key} is no usable public key: {_first(error)}", _KEYS) from None
        _check_bundle(signature, place)
        return _verified(verifier, sign_sigstore_pb.Signature, signature, place)


@dataclass(frozen=True, slots=True)
class IdentityVerifier:
    """Trusts one identity (the address of a workflow, or of a person) as ``issuer`` vouches for it.

    A ``*`` stands for any text: the address of a workflow ends in the tag that started it, another one each time.
    """

    identity: str
    issuer: str = "https://token.actions.githubusercontent.com"

    def verify(self, signature: bytes, place: str) -> dict[str, str]:
        """Return what was signed. Raises :class:`SignatureRefused`; :class:`SigningError` without Sigstore's root."""
        from model_signing._signing import sign_sigstore

        try:
            verifier: Any = sign_sigstore.Verifier(identity=self.identity, oidc_issuer=self.issuer)
            verifier._policy = _Policy(self)  # noqa: SLF001 - its own knows no pattern
        except Exception as error:
            raise SigningError(
                f"Sigstore's root of trust could not be had: {_first(error)}", "Verify with --public-key when offline."
            ) from error
        return _verified(verifier, sign_sigstore.Signature, signature, place)

    def verify_certificate(self, certificate: Any) -> None:
        """Raise sigstore's ``VerificationError`` unless the issuer vouches for such an identity."""
        from cryptography.x509 import RFC822Name, SubjectAlternativeName, UniformResourceIdentifier
        from sigstore.errors import VerificationError
        from sigstore.verify.policy import OIDCIssuer

        OIDCIssuer(self.issuer).verify(certificate)
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
        found = [*names.get_values_for_type(RFC822Name), *names.get_values_for_type(UniformResourceIdentifier)]
        pattern = ".*".join(re.escape(part) for part in self.identity.split("*"))
        if not any(re.fullmatch(pattern, name) for name in found):
            raise VerificationError(f"it was signed by {', '.join(found)}, not by {self.identity}")


@dataclass(frozen=True, slots=True)
class _Policy:
    """What sigstore asks about a certificate."""

    trusted: IdentityVerifier

    def verify(self, cert: Any) -> None:
        self.trusted.verify_certificate(cert)


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

    form = manifest.SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ["model.sig"]}
    )
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


def _check_bundle(signature: bytes, place: str) -> None:
    """Refuse a bundle in any other spelling than ours: parts that no signature covers must not vary either."""
    try:
        bundle = json.loads(signature)
        envelope = bundle["dsseEnvelope"]
        [made] = envelope["signatures"]
        spelled = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "publicKey": {"hint": str(bundle["verificationMaterial"]["publicKey"]["hint"])},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": _base64(envelope["payload"]),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": _base64(made["sig"]), "keyid": ""}],
            },
        }
        same = json.dumps(spelled, separators=(",", ":")).encode() == signature
    except (ValueError, KeyError, TypeError, binascii.Error):
        same = False
    if not same:
        raise SignatureRefused(place, "its signature was altered, or was not made with a key pair")


def _base64(text: str) -> str:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode()


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
