"""Identities that are trusted without a key: a workflow or a person, as Sigstore's certificate describes them.

A workflow is matched by parts, each compared whole with the extension of the certificate that holds it (Fulcio's
``1.3.6.1.4.1.57264.1.*``). Never a pattern over the certificate's name: a branch may be called ``x@refs/tags/v1``, and
the name of a workflow that others can call is the same for whoever calls it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.errors import UsageError, nearest
from lockgate.releasing.manifest import tag_name
from lockgate.releasing.trusted_keys import FOLDERS, signs_for

GITHUB = "https://token.actions.githubusercontent.com"
PARTS = ("repository", "repository-id", "workflow", "ref", "signer", "signer-commit", "only", "issuer")
FORM = (
    "Name its parts: --identity repository=https://github.com/OWNER/REPO,workflow=.github/workflows/release.yml,"
    "workflow=.github/workflows/promote.yml,ref=tags (and, better, repository-id=NUMBER)."
)
_OID = "1.3.6.1.4.1.57264.1."
# what Fulcio calls them: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
_ISSUER, _SIGNER, _SIGNER_DIGEST, _REPOSITORY, _REF, _REPOSITORY_ID, _CONFIG = 8, 9, 10, 12, 14, 15, 18
_RELEASE = re.compile(r"([^/]+)/(releases|withdrawals)/([^/]+)\.json")
_ENTRY = re.compile(r"([^/]+)/environments/([^/]+)/[0-9]{8}\.json")


class NotThisIdentity(Exception):  # noqa: N818 - becomes a refusal of a signature
    """The certificate is not one of the identity."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom to trust. Either ``name``, which the certificate must have as it is (the address of a person, or of a
    workflow at one ref), or a workflow by its parts:

    ``repository`` its address, ``repository_id`` the forge's number of it, ``workflows`` the files that may run,
    ``ref`` either ``tags`` (any tag that asks for what was signed), ``tags/NAME`` or ``heads/NAME``; ``signer`` the
    address of a called workflow that signs (else the workflow itself has to), ``signer_commit`` the commit of it.
    ``only`` is the one folder of a model that it signs for, such as ``heartbeats``.
    """

    issuer: str = GITHUB
    name: str = ""
    repository: str = ""
    repository_id: str = ""
    workflows: tuple[str, ...] = ()
    ref: str = ""
    signer: str = ""
    signer_commit: str = ""
    only: str = ""

    def check(self, certificate: Any) -> None:
        """Raise :class:`NotThisIdentity`, with the part that differs, unless the certificate is of this identity."""
        _same("issuer", self.issuer, _extension(certificate, _ISSUER) or _legacy_issuer(certificate))
        found = {part: _extension(certificate, part) for part in (_SIGNER, _REPOSITORY, _REF, _CONFIG)}
        if self.name:
            names = _names(certificate)
            if self.name not in names:
                raise NotThisIdentity(f"it was signed by {', '.join(names)}, not by {self.name}")
            if found[_CONFIG] not in ("", found[_SIGNER]):  # the name is a called workflow's, the caller is somebody
                raise NotThisIdentity(f"it was signed by {self.name}, called by {found[_CONFIG]}: name the parts")
            return
        _same("source repository", self.repository, found[_REPOSITORY])
        if self.repository_id:
            _same("number of the source repository", self.repository_id, _extension(certificate, _REPOSITORY_ID))
        self._check_ref(found[_REF])
        allowed = [f"{self.repository}/{workflow}@{found[_REF]}" for workflow in self.workflows]
        if found[_CONFIG] not in allowed:
            raise NotThisIdentity(f"its workflow is {found[_CONFIG] or 'not said'}, not {' or '.join(allowed)}")
        signer = self.signer or found[_CONFIG]
        _same("signing workflow", signer, found[_SIGNER])
        if signer not in _names(certificate):
            raise NotThisIdentity(f"it was signed by {', '.join(_names(certificate))}, not by {signer}")
        if self.signer_commit:
            _same("commit of the signing workflow", self.signer_commit, _extension(certificate, _SIGNER_DIGEST))

    def check_signed(self, certificate: Any, digests: Mapping[str, str]) -> None:
        """Raise :class:`NotThisIdentity` if a tag's workflow signed what its tag does not ask for."""
        if not signs_for(self.only, digests):
            raise NotThisIdentity(f"a workflow that signs {self.only} only signed {', '.join(digests)}")
        if self.name or self.ref != "tags" or len(digests) != 1:
            return
        tag = _extension(certificate, _REF).removeprefix("refs/tags/")
        path = next(iter(digests))
        if found := _RELEASE.fullmatch(path):
            good = tag == f"{tag_name(found[1])}@{found[3]}{'!' if found[2] == 'withdrawals' else ''}"
        elif found := _ENTRY.fullmatch(path):
            asks = f"{tag_name(found[1])}#{found[2]}"
            good = tag.startswith((f"{asks}#", f"{asks}!#"))
        else:
            good = True
        if not good:
            raise NotThisIdentity(f"a workflow of the tag {tag} signed {path}")

    def _check_ref(self, found: str) -> None:
        if self.ref == "tags":
            if not found.startswith("refs/tags/"):
                raise NotThisIdentity(f"its source is {found or 'not said'}, which is not a tag")
        else:
            _same("source", f"refs/{self.ref}", found)

    def __str__(self) -> str:
        """Return it as the option has it."""
        if self.name:
            return self.name
        words = [("repository", self.repository), ("repository-id", self.repository_id)]
        words += [("workflow", workflow) for workflow in self.workflows]
        words += [
            ("ref", self.ref),
            ("signer", self.signer),
            ("signer-commit", self.signer_commit),
            ("only", self.only),
        ]
        return ",".join(f"{part}={value}" for part, value in words if value)


def parse_identity(text: str, issuer: str = "") -> Identity:
    """Return the identity that an option names. Raises :class:`UsageError`, with the way on, for a pattern."""
    if "*" in text:
        raise UsageError(f"the identity '{text}' is a pattern, and a pattern also fits strangers", FORM)
    if "=" not in text.partition(",")[0]:
        return Identity(issuer or GITHUB, text)
    parts: dict[str, list[str]] = {}
    for word in text.split(","):
        part, _, value = word.strip().partition("=")
        if part not in PARTS:
            raise UsageError(f"an identity has no part '{part}'", nearest(part, list(PARTS)) or FORM)
        if not value or (part in parts and part != "workflow"):
            raise UsageError(f"the identity's part '{part}' {'is there twice' if value else 'has no value'}", FORM)
        parts.setdefault(part, []).append(value)
    missing = [part for part in ("repository", "workflow", "ref") if part not in parts]
    if missing:
        raise UsageError(f"the identity '{text}' lacks {', '.join(missing)}", FORM)
    [ref] = parts["ref"]
    if ref != "tags" and not re.fullmatch(r"(tags|heads)/.+", ref):
        raise UsageError(f"the identity's ref '{ref}' is none of tags, tags/NAME and heads/NAME", FORM)
    one = {part: values[0] for part, values in parts.items()}
    if one.get("only", FOLDERS[0]) not in FOLDERS:
        raise UsageError(f"an identity signs only {one['only']}", f"It may be one of {', '.join(FOLDERS)}.")
    return Identity(
        issuer=one.get("issuer") or issuer or GITHUB,
        repository=one["repository"].rstrip("/"),
        repository_id=one.get("repository-id", ""),
        workflows=tuple(parts["workflow"]),
        ref=ref,
        signer=one.get("signer", ""),
        signer_commit=one.get("signer-commit", ""),
        only=one.get("only", ""),
    )


def _same(what: str, trusted: str, found: str) -> None:
    if found != trusted:
        raise NotThisIdentity(f"its {what} is {found or 'not said'}, not {trusted}")


def _names(certificate: Any) -> list[str]:
    from cryptography.x509 import ExtensionNotFound, RFC822Name, SubjectAlternativeName, UniformResourceIdentifier

    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return []
    return [*names.get_values_for_type(RFC822Name), *names.get_values_for_type(UniformResourceIdentifier)]


def _extension(certificate: Any, number: int) -> str:
    """Return the text of one of Fulcio's extensions, empty where there is none or it is not text (DER UTF8String)."""
    from cryptography.x509 import ExtensionNotFound, ObjectIdentifier

    try:
        value = certificate.extensions.get_extension_for_oid(ObjectIdentifier(f"{_OID}{number}")).value.value
    except ExtensionNotFound:
        return ""
    if len(value) < 2 or value[0] != 0x0C:
        return ""
    length, start = value[1], 2
    if length >= 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(value[2 : 2 + count], "big"), 2 + count
    try:
        return str(value[start:].decode()) if len(value) == start + length else ""
    except UnicodeDecodeError:
        return ""


def _legacy_issuer(certificate: Any) -> str:
    """Return the issuer from the extension that older certificates have, which is bare text."""
    from cryptography.x509 import ExtensionNotFound, ObjectIdentifier

    try:
        value = certificate.extensions.get_extension_for_oid(ObjectIdentifier(f"{_OID}1")).value.value
        return str(value.decode())
    except (ExtensionNotFound, UnicodeDecodeError):
        return ""
