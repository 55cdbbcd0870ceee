import base64
import datetime as dt
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.errors import VerificationError
from tests.lockgate.releases import Keys, a_build, publish

from lockgate.releasing.fetch import fetch
from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import (
    IdentityVerifier,
    KeySigner,
    KeyText,
    KeyVerifier,
    SignatureRefused,
    SigningError,
    create_key_pair,
)

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")
DIGESTS = {"manifest.json": "1" * 64, "wheels/a.whl": "2" * 64}


def test_what_was_signed_comes_back_from_the_signature(keys: Keys) -> None:
    assert keys.verifier.verify(keys.signer.sign(DIGESTS), "here") == DIGESTS


def test_a_strangers_signature_is_refused_by_its_place(keys: Keys, stranger: Keys) -> None:
    with pytest.raises(SignatureRefused, match=r"store/model\.sig: its signature is not by the one trusted"):
        keys.verifier.verify(stranger.signer.sign(DIGESTS), "store/model.sig")


def test_a_strangers_signature_under_our_keys_name_is_refused(keys: Keys, stranger: Keys) -> None:
    ours, theirs = (json.loads(one.signer.sign(DIGESTS)) for one in (keys, stranger))
    theirs["verificationMaterial"] = ours["verificationMaterial"]
    with pytest.raises(SignatureRefused):
        keys.verifier.verify(json.dumps(theirs, separators=(",", ":")).encode(), "here")


def test_no_changed_byte_of_a_signature_is_accepted(keys: Keys) -> None:
    signature = keys.signer.sign({"a": "1" * 64})
    accepted = []
    for position in range(len(signature)):
        for flip in (0x01, 0x20):
            changed = bytearray(signature)
            changed[position] ^= flip
            try:
                keys.verifier.verify(bytes(changed), "here")
            except SignatureRefused:
                continue
            accepted.append((position, flip))
    assert accepted == []
    assert len(signature) > 1000


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"null", b"\xff", b'{"dsseEnvelope":{"signatures":[]}}'])
def test_what_is_no_signature_is_refused(keys: Keys, junk: bytes) -> None:
    with pytest.raises(SignatureRefused):
        keys.verifier.verify(junk, "here")


def test_a_payload_changed_under_an_old_signature_is_refused(keys: Keys) -> None:
    bundle = json.loads(keys.signer.sign(DIGESTS))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"2" * 64, b"3" * 64)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(SignatureRefused):
        keys.verifier.verify(json.dumps(bundle, separators=(",", ":")).encode(), "here")


def test_a_fetched_release_is_verified_by_the_model_signing_program_without_lockgate(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    fetch(registry, build, tmp_path / "got")
    key = str(keys.verifier.public_key)

    def model_signing() -> "subprocess.CompletedProcess[str]":
        program = str(Path(sys.executable).with_name("model_signing"))
        arguments = ["verify", "key", str(tmp_path / "got"), "--signature", str(tmp_path / "got/model.sig")]
        return subprocess.run([program, *arguments, "--public_key", key], capture_output=True, text=True, check=False)

    good = model_signing()
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / "got/model-card.md").write_text("better")
    assert model_signing().returncode != 0


def test_a_key_pair_is_private_and_never_replaced(tmp_path: Path) -> None:
    create_key_pair(tmp_path / "key", tmp_path / "pub")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(FileExistsError):
        create_key_pair(tmp_path / "key", tmp_path / "other.pub")
    assert (tmp_path / "key").read_bytes() == before


def test_the_key_pair_openssl_makes_as_the_advice_says_works(tmp_path: Path, keys: Keys) -> None:
    if shutil.which("openssl") is None:
        create_key_pair(tmp_path / "lockgate.key", tmp_path / "lockgate.pub")
    else:
        for command in (
            "openssl ecparam -name prime256v1 -genkey -noout -out lockgate.key",
            "openssl ec -in lockgate.key -pubout -out lockgate.pub",
        ):
            subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    signer = type(keys.signer)(tmp_path / "lockgate.key")
    assert KeyVerifier(tmp_path / "lockgate.pub").verify(signer.sign(DIGESTS), "here") == DIGESTS


@pytest.mark.parametrize(
    "content", [None, b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_a_file_that_is_no_key_is_named_and_the_way_to_a_key_shown(
    tmp_path: Path, keys: Keys, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(SigningError, match=r"key\.pem is no usable public key") as caught:
        KeyVerifier(tmp_path / "key.pem").verify(keys.signer.sign(DIGESTS), "here")
    assert "openssl ecparam" in caught.value.advice
    with pytest.raises(SigningError, match=r"key\.pem is no usable private key"):
        type(keys.signer)(tmp_path / "key.pem").sign(DIGESTS)


def test_a_key_out_of_a_variable_signs_and_verifies_and_is_never_shown(keys: Keys) -> None:
    private, public = (key.read_bytes().decode() for key in (keys.signer.private_key, keys.verifier.public_key))
    signer, verifier = KeySigner(KeyText("PRIVATE", private)), KeyVerifier(KeyText("PUBLIC", public))
    assert verifier.verify(signer.sign(DIGESTS), "here") == DIGESTS
    assert private.splitlines()[1] not in repr(signer)
    with pytest.raises(SigningError, match=r"^\$PRIVATE is no usable private key") as caught:
        KeySigner(KeyText("PRIVATE", private[:60])).sign(DIGESTS)
    assert private.splitlines()[1][:20] not in str(caught.value)


def test_without_sigstores_root_of_trust_an_identity_verifies_nothing(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Offline the root cannot be fetched; online a signature by key is no signature by identity. Both are refusals."""
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises((SigningError, SignatureRefused)):
        IdentityVerifier("https://github.com/owner/name").verify(keys.signer.sign(DIGESTS), "here")


def certificate(identity: str, issuer: str) -> x509.Certificate:
    """Return a certificate as Sigstore gives one to a workflow; who signed it is another matter."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([])
    vouched = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), issuer.encode())
    return (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .add_extension(vouched, critical=False)
        .sign(key, hashes.SHA256())
    )


WORKFLOW = "https://github.com/lab/model/.github/workflows/release.yml@refs/tags/"
GITHUB = "https://token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    "trusted", [f"{WORKFLOW}m@v1.2.0", f"{WORKFLOW}*", "https://github.com/lab/model/*@refs/tags/m*"]
)
def test_a_workflow_is_trusted_whatever_tag_started_it(trusted: str) -> None:
    IdentityVerifier(trusted).verify_certificate(certificate(f"{WORKFLOW}m@v1.2.0", GITHUB))


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        ("https://github.com/lab/model2/.github/workflows/release.yml@refs/tags/m@v1.2.0", GITHUB),
        ("https://github.com/lab/model/.github/workflows/release.yml@refs/heads/main", GITHUB),
        ("https://github.com/lab/model/.github/workflows/releaseXyml@refs/tags/m@v1.2.0", GITHUB),
        (f"https://evil.example/?{WORKFLOW}m@v1.2.0", GITHUB),
        (f"{WORKFLOW}m@v1.2.0", "https://evil.example"),
    ],
)
def test_another_repository_branch_or_issuer_is_not_trusted_for_a_pattern(identity: str, issuer: str) -> None:
    with pytest.raises(VerificationError):
        IdentityVerifier(f"{WORKFLOW}*").verify_certificate(certificate(identity, issuer))
