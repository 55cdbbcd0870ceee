"""Identities matched by parts, against certificates made for each case."""

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.errors import UsageError
from lockgate.releasing.identities import GITHUB, Identity, NotThisIdentity, parse_identity
from lockgate.releasing.signing import IdentityVerifier

REPOSITORY = "https://github.com/lab/model"
RELEASE = ".github/workflows/release.yml"
REF = "refs/tags/m@v1.2.0"
CONFIG = f"{REPOSITORY}/{RELEASE}@{REF}"
TRUSTED = f"repository={REPOSITORY},repository-id=42,workflow={RELEASE},workflow=.github/workflows/promote.yml,ref=tags"
# Fulcio's numbers: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
NUMBERS = {
    "issuer": 8,
    "signer": 9,
    "signer_digest": 10,
    "repository": 12,
    "ref": 14,
    "repository_id": 15,
    "config": 18,
}


def utf8(text: str) -> bytes:
    """Return DER's UTF8String."""
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 0x80 else bytes([0x82, *len(data).to_bytes(2, "big")])
    return b"\x0c" + length + data


def certificate(name: str = CONFIG, legacy_issuer: str | None = None, **extensions: str | None) -> x509.Certificate:
    """Return a certificate as Sigstore gives one to a workflow, with what is named here in another way."""
    values: dict[str, str | None] = {
        "issuer": GITHUB,
        "signer": CONFIG,
        "signer_digest": "a" * 40,
        "repository": REPOSITORY,
        "ref": REF,
        "repository_id": "42",
        "config": CONFIG,
        **extensions,
    }
    key = ec.generate_private_key(ec.SECP256R1())
    now, nobody = dt.datetime.now(dt.UTC), x509.Name([])
    alternative: Any = x509.RFC822Name(name) if "://" not in name else x509.UniformResourceIdentifier(name)
    builder = x509.CertificateBuilder(nobody, nobody, key.public_key(), 1, now, now + dt.timedelta(minutes=10))
    builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=True)
    for what, value in values.items():
        if value is not None:
            oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{NUMBERS[what]}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, utf8(value)), critical=False)
    if legacy_issuer is not None:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, legacy_issuer.encode()), critical=False)
    return builder.sign(key, hashes.SHA256())


def at(ref: str, workflow: str = RELEASE, repository: str = REPOSITORY) -> x509.Certificate:
    """Return the certificate of a workflow that a ref started."""
    address = f"{repository}/{workflow}@{ref}"
    return certificate(address, signer=address, config=address, ref=ref, repository=repository)


@pytest.mark.parametrize(
    "good",
    [
        certificate(),
        at("refs/tags/m#production#3", ".github/workflows/promote.yml"),
        at("refs/tags/anything/else@v1"),
    ],
)
def test_a_workflow_of_the_repository_at_a_tag_is_trusted(good: x509.Certificate) -> None:
    parse_identity(TRUSTED).check(good)


OTHERS = {
    "another repository": at(REF, repository="https://github.com/lab/model2"),
    "a repository whose address begins like ours": at(REF, repository=f"{REPOSITORY}/x"),
    "our repository deleted and made anew by somebody else": certificate(repository_id="43"),
    "no number of the repository": certificate(repository_id=None),
    "a branch": at("refs/heads/main"),
    "a branch that is called like a tag": at("refs/heads/x@refs/tags/v1"),
    "a branch called refs/tags/v1": at("refs/heads/refs/tags/v1"),
    "a pull request": at("refs/pull/7/merge"),
    "no ref": certificate(ref=None),
    "another workflow at a tag": at(REF, ".github/workflows/test.yml"),
    "a workflow whose path ends like ours": at(REF, f"evil/{RELEASE}"),
    "a workflow at another tag than its source": certificate(config=f"{REPOSITORY}/{RELEASE}@refs/tags/m@v9.9.9"),
    "a called workflow that signs for us": certificate(
        name="https://github.com/shared/ci/.github/workflows/sign.yml@refs/heads/main",
        signer="https://github.com/shared/ci/.github/workflows/sign.yml@refs/heads/main",
    ),
    "a workflow of ours called by somebody else": certificate(
        repository="https://github.com/eve/x", config=f"https://github.com/eve/x/.github/workflows/x.yml@{REF}"
    ),
    "no workflow": certificate(config=None),
    "no signing workflow": certificate(signer=None),
    "a name that is not the signing workflow": certificate(name=f"{CONFIG}0"),
    "another issuer": certificate(issuer="https://evil.example"),
    "no issuer": certificate(issuer=None),
    "ours in the old extension, another one in the new": certificate(
        issuer="https://evil.example", legacy_issuer=GITHUB
    ),
    "a person": certificate("ana@example.org", **dict.fromkeys(NUMBERS)),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_nobody_else_is_trusted(other: x509.Certificate) -> None:
    with pytest.raises(NotThisIdentity):
        parse_identity(TRUSTED).check(other)


def test_a_called_workflow_is_trusted_for_the_callers_that_are_named_and_at_its_commit() -> None:
    called = "https://github.com/shared/ci/.github/workflows/sign.yml@refs/heads/main"
    trusted = parse_identity(f"{TRUSTED},signer={called},signer-commit={'a' * 40}")
    trusted.check(certificate(name=called, signer=called))
    for wrong in (
        certificate(name=called, signer=called, signer_digest="b" * 40),
        certificate(name=called, signer=called, repository="https://github.com/eve/x"),
        certificate(),
    ):
        with pytest.raises(NotThisIdentity):
            trusted.check(wrong)


def test_a_branch_is_trusted_by_its_whole_name() -> None:
    trusted = parse_identity(f"repository={REPOSITORY},workflow={RELEASE},ref=heads/main")
    trusted.check(at("refs/heads/main"))
    for ref in ("refs/heads/main2", "refs/tags/main", "refs/heads/x/main"):
        with pytest.raises(NotThisIdentity):
            trusted.check(at(ref))


def test_a_person_and_a_whole_address_are_trusted_as_they_are() -> None:
    person = certificate(
        "ana@example.org", issuer="https://accounts.example", **dict.fromkeys(set(NUMBERS) - {"issuer"})
    )
    parse_identity("ana@example.org", "https://accounts.example").check(person)
    parse_identity(CONFIG).check(certificate())
    parse_identity(CONFIG).check(certificate(issuer=None, legacy_issuer=GITHUB))
    with pytest.raises(NotThisIdentity):
        parse_identity("ana@example.org").check(person)
    with pytest.raises(NotThisIdentity, match="called by"):
        parse_identity(CONFIG).check(
            certificate(config="https://github.com/eve/x/.github/workflows/x.yml@refs/heads/m")
        )


@pytest.mark.parametrize("pattern", ["*", f"{REPOSITORY}/.github/workflows/*@refs/tags/*", f"{TRUSTED},signer=*"])
def test_a_pattern_is_refused_with_the_parts_to_name_instead(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_identity(pattern)
    assert "repository=" in caught.value.advice


@pytest.mark.parametrize(
    "wrong",
    [
        f"repository={REPOSITORY}",
        f"repository={REPOSITORY},workflow={RELEASE}",
        f"{TRUSTED},ref=heads/main",
        f"{TRUSTED},branch=main",
        f"repository={REPOSITORY},workflow={RELEASE},ref=main",
        f"repository=,workflow={RELEASE},ref=tags",
    ],
)
def test_an_identity_that_is_incomplete_or_unclear_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        parse_identity(wrong)


def test_an_identity_is_written_as_it_is_read() -> None:
    assert parse_identity(str(parse_identity(TRUSTED))) == parse_identity(TRUSTED)


@pytest.mark.parametrize(
    ("tag", "path", "good"),
    [
        ("m@v1.2.0", "m/releases/v1.2.0.json", True),
        ("m@v1.2.0", "m/releases/v1.2.1.json", False),
        ("m@v1.2.0", "other/releases/v1.2.0.json", False),
        ("m@v1.2.0", "m/environments/production/99999999.json", False),
        ("m#production#3", "m/environments/production/99999999.json", True),
        ("m#production!#4", "m/environments/production/99999999.json", True),
        ("m#staging#3", "m/environments/production/99999999.json", False),
        ("m#production#3", "m/releases/v1.2.0.json", False),
        ("a/b=m@v1.2.0", "a=b=m/releases/v1.2.0.json", True),
        ("c/b=m@v1.2.0", "a=b=m/releases/v1.2.0.json", False),
        ("a/b=m#production#3", "a=b=m/environments/production/99999999.json", True),
        ("m#production#3", "a=b=m/environments/production/99999999.json", False),
        ("m@v1.2.0!", "m/withdrawals/v1.2.0.json", True),
        ("m@v1.2.0", "m/withdrawals/v1.2.0.json", False),
    ],
)
def test_a_tags_workflow_signs_nothing_but_what_its_tag_asks_for(tag: str, path: str, good: bool) -> None:
    identity, found = parse_identity(TRUSTED), at(f"refs/tags/{tag}")
    if good:
        identity.check_signed(found, {path: "0" * 64})
    else:
        with pytest.raises(NotThisIdentity):
            identity.check_signed(found, {path: "0" * 64})


def test_an_identity_for_heartbeats_signs_nothing_else() -> None:
    trusted = parse_identity(f"repository={REPOSITORY},workflow={RELEASE},ref=heads/main,only=heartbeats")
    found = at("refs/heads/main")
    trusted.check_signed(found, {"m/heartbeats/production/70000000.json": "0" * 64})
    for digests in ({"m/environments/production/99999999.json": "0" * 64}, {"manifest.json": "0" * 64, "a": "1" * 64}):
        with pytest.raises(NotThisIdentity):
            trusted.check_signed(found, digests)
    with pytest.raises(UsageError):
        parse_identity(f"repository={REPOSITORY},workflow={RELEASE},ref=heads/main,only=everything")


def test_any_of_several_identities_is_enough_and_none_of_them_is_not() -> None:
    verifier = IdentityVerifier((parse_identity("ana@example.org"), parse_identity(TRUSTED)))
    assert verifier.identity_of(certificate()) == parse_identity(TRUSTED)
    with pytest.raises(NotThisIdentity):
        verifier.identity_of(at("refs/heads/main"))
    assert isinstance(verifier.identities[0], Identity)
