import base64
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lockgate.releases import Keys, a_build, publish

from lockgate.releasing.fetch import fetch
from lockgate.releasing.identities import Identity
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
    with pytest.raises(SignatureRefused, match=r"store/model\.sig: its signature is by the key [0-9a-f]{12}"):
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
    with pytest.raises(SigningError, match=r"key\.pem is not an usable public key") as caught:
        KeyVerifier(tmp_path / "key.pem").verify(keys.signer.sign(DIGESTS), "here")
    assert "openssl ecparam" in caught.value.advice
    with pytest.raises(SigningError, match=r"key\.pem is not an usable private key"):
        type(keys.signer)(tmp_path / "key.pem").sign(DIGESTS)


def test_a_key_out_of_a_variable_signs_and_verifies_and_is_never_shown(keys: Keys) -> None:
    private, public = (key.read_bytes().decode() for key in (keys.signer.private_key, keys.verifier.public_key))
    signer, verifier = KeySigner(KeyText("PRIVATE", private)), KeyVerifier(KeyText("PUBLIC", public))
    assert verifier.verify(signer.sign(DIGESTS), "here") == DIGESTS
    assert private.splitlines()[1] not in repr(signer)
    with pytest.raises(SigningError, match=r"^\$PRIVATE is not an usable private key") as caught:
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
        IdentityVerifier((Identity(name="https://github.com/owner/name"),)).verify(keys.signer.sign(DIGESTS), "here")
