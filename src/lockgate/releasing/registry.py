"""Releases of one model in a store: publish a build, read a release, verify every byte of it.

::

    NAME/builds/<SHA-256 of manifest.json>/…   manifest.json, model.sig and every file of one build
    NAME/claims/<the same>.json                who may decide about the build: a release, or the collection of garbage
    NAME/releases/v1.2.0.json                  the release: create-only, and the moment it exists
    NAME/environments/production/…             what ran where: see :mod:`lockgate.releasing.environments`
    NAME/revocations/<key's fingerprint>.json  a key that is not trusted any more, and what of it still is
    NAME/withdrawals/v1.2.0.json               a release that is never promoted again, and why

Nothing here trusts the store. A release is signed under its own path and names the digest of its manifest and of the
build's signature; that signature covers the manifest and every file; the manifest says for which release it was made.
So a changed byte, a missing or extra file, a file of another build and an older build under a newer name are each
refused with their name.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lockgate.errors import LockgateError, NotAskedError
from lockgate.releasing.manifest import (
    MANIFEST,
    SIGNATURE,
    BuildFile,
    Manifest,
    NotCanonical,
    canonical,
    check_release_name,
    make_manifest,
    parse_canonical,
    read_manifest,
    sha256,
    spell,
)
from lockgate.releasing.signing import KeysDoNotFit, KeyVerifier, SignatureRefused, Signer, Verifier
from lockgate.releasing.trusted_keys import Revocation
from lockgate.store import ObjectDiffers, ObjectMissing, Store

RELEASE_SCHEMA = "lockgate.release/1"
REVOCATION_SCHEMA = "lockgate.revocation/1"
WITHDRAWAL_SCHEMA = "lockgate.withdrawal/1"
LONGEST = 2**20  # bytes of a signed document
RELEASE, COLLECTION = b'{"for":"release"}', b'{"for":"collection"}'  # what a claim says


class Refused(LockgateError):  # noqa: N818 - named for what the user reads
    """Something in the store is not what was signed. ``place`` names it."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the place and what was found there."""
        super().__init__(
            f"{place} {finding}", "Nothing of it was used. Find out who wrote to the store; restore it from a copy."
        )
        self.place = place


class NoSuchRelease(NotAskedError):  # noqa: N818
    """The store has no release of this name."""

    def __init__(self, name: str, version: str, store: Store) -> None:
        """Name the release and the store."""
        super().__init__(f"there is no release {name}@{version} in {store.url}", "`lockgate releases` lists them.")


class ReleaseTaken(LockgateError):  # noqa: N818
    """The version was released before, from another build."""

    def __init__(self, name: str, version: str, there: str, here: str) -> None:
        """Name the release and the digests of both builds."""
        super().__init__(
            f"{name}@{version} was released before as build {there[:12]}; this is build {here[:12]}",
            "A release never changes. Tag the next version.",
        )


@dataclass(frozen=True, slots=True)
class Release:
    """The record of a release: which build the version names, for ever; by whom and when (ISO 8601, UTC)."""

    name: str
    version: str
    manifest: str
    signature: str
    actor: str
    time: str


@dataclass(frozen=True, slots=True)
class Build:
    """A release whose record, signature and manifest were verified. Its other files were not yet looked at."""

    release: Release
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and when (ISO 8601, UTC). Order never comes from this clock."""

    name: str
    time: str

    @classmethod
    def now(cls, name: str) -> "Actor":
        """Return ``name`` at this moment."""
        return cls(name, datetime.now(UTC).isoformat(timespec="seconds"))


Step = Literal["upload", "verify"]
Progress = Callable[[Step, int, int], None]  # what is done, bytes of it so far, bytes in all


def silent(step: Step, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Registry:
    """The releases of the model ``name`` in ``store``, believed where ``verifier`` does."""

    store: Store
    name: str
    verifier: Verifier

    @cached_property
    def trusted(self) -> Verifier:
        """The verifier, less what the store's revocations of keys say. They are read once."""
        if not isinstance(self.verifier, KeyVerifier):
            return self.verifier
        found = read_revocations(self, self.verifier)
        return replace(self.verifier, revocations=found) if found else self.verifier

    def publish(
        self,
        folder: Path,
        version: str,
        facts: Mapping[str, Any],
        *,
        signer: Signer,
        actor: Actor,
        progress: Progress = silent,
    ) -> tuple[Build, bool]:
        """Make the files of ``folder`` the release ``version``; return it, and whether this call made it.

        Safe to run again after any interruption: what arrived is kept, what is missing is added, and only when every
        byte in the store was verified does the release appear. Raises :class:`ReleaseTaken` if the version is another
        build, :class:`Refused` if the store holds something else under the build's name.
        """
        manifest = make_manifest(folder, self.name, version, facts)
        try:
            return self._same(version, manifest), False
        except NoSuchRelease:
            pass
        self._upload(folder, manifest, progress)
        signature = self._sign(manifest, signer)
        release = Release(self.name, version, manifest.digest, sha256(signature), actor.name, actor.time)
        self.verify_files(Build(release, manifest), progress)
        self._claim(manifest.digest)
        payload = {"schema": RELEASE_SCHEMA, **asdict(release)}
        try:
            self.write_signed(self._release_path(version), payload, signer)
        except ObjectDiffers:  # somebody was quicker, or our own answer was lost and the record signed anew
            return self._same(version, manifest), False
        return Build(release, manifest), True

    def release(self, version: str) -> Build:
        """Return a release after verifying its record, its signature and its manifest.

        Raises :class:`NoSuchRelease`, :class:`Refused`, :class:`~lockgate.releasing.signing.SignatureRefused`.
        """
        check_release_name(self.name, version)
        path = self._release_path(version)
        try:
            payload = self.read_signed(path)
        except ObjectMissing:
            raise NoSuchRelease(self.name, version, self.store) from None
        if not isinstance(payload, dict) or payload.pop("schema", None) != RELEASE_SCHEMA:
            raise Refused(self.store.place(path), f"is not a {RELEASE_SCHEMA} record")
        release = Release(**payload)
        if (release.name, release.version) != (self.name, version):
            raise Refused(self.store.place(path), f"is the record of {release.name}@{release.version}")
        return Build(release, self._manifest(release))

    def versions(self) -> list[str]:
        """Return every released version, in the order of semantic versions. Their records are not read."""
        import semver

        prefix = f"{self.name}/releases"
        names = [o.path.removeprefix(f"{prefix}/").removesuffix(".json") for o in self.store.objects(prefix)]
        return sorted(names, key=lambda name: semver.Version.parse(name.removeprefix("v")))

    def verify_files(self, build: Build, progress: Progress = silent) -> None:
        """Read every file of the build and compare it with the manifest. Raises :class:`Refused` naming the first
        that is altered, missing or too many."""
        done, total = 0, sum(file.size for file in build.manifest.files)
        self.verify_listing(build.manifest)
        for file in build.manifest.files:
            for chunk in self.stream(build.manifest, file):
                done += len(chunk)
                progress("verify", done, total)

    def verify_listing(self, manifest: Manifest) -> None:
        """Compare the build's list of objects and their sizes with the manifest. Raises :class:`Refused`."""
        root = self._root(manifest.digest)
        there = {stored.path: stored.size for stored in self.store.objects(root)}
        for path in sorted(there.keys() - self._expected(manifest).keys()):
            raise Refused(self.store.place(path), "is not in the manifest of its build")
        for path, size in self._expected(manifest).items():
            if path not in there:
                raise Refused(self.store.place(path), "is missing from its build")
            if size is not None and there[path] != size:
                raise Refused(self.store.place(path), f"has {there[path]} bytes, its manifest says {size}")

    def stream(self, manifest: Manifest, file: BuildFile) -> Iterator[Any]:
        """Yield a file's bytes. Raises :class:`Refused` at its end if they are not what the manifest says: whoever
        takes them may use nothing before the end."""
        root, digest = self._root(manifest.digest), hashlib.sha256()
        place = self.store.place(f"{root}/{file.path}")
        try:
            for chunk in self.store.stream(manifest.pieces(file, root)):
                digest.update(chunk)
                yield chunk
        except ObjectMissing as error:
            raise Refused(str(error).removesuffix(" does not exist"), "is missing from its build") from None
        if digest.hexdigest() != file.sha256:
            raise Refused(place, f"was altered: its SHA-256 is {digest.hexdigest()[:12]}…, not {file.sha256[:12]}…")

    def write_signed(self, path: str, payload: Mapping[str, Any], signer: Signer) -> None:
        """Create a document that is signed under its own path, once it reads as whoever comes after will read it.

        What is written stays for ever, so what would be refused is never written. Raises :class:`ObjectDiffers`;
        :class:`~lockgate.releasing.signing.KeysDoNotFit` for a signature that is not trusted here, and
        :class:`LockgateError` for a document that is too long to be read.
        """
        content = canonical(payload)
        signature = signer.sign({path: sha256(content)}).decode()
        data = canonical({"payload": payload, "signature": signature})
        if len(data) > LONGEST:
            raise LockgateError(
                f"{self.store.place(path)} would have {len(data):,} bytes, at most {LONGEST:,} are read",
                "Nothing was written. Give a shorter reason.",
            )
        try:
            self.open_signed(path, data)
        except SignatureRefused as error:
            raise KeysDoNotFit(str(getattr(signer, "private_key", "the signing identity")), error.why) from None
        self.store.create(path, data)

    def read_signed(self, path: str) -> Any:
        """Return the payload of a signed document. Raises :class:`ObjectMissing`, :class:`Refused`,
        :class:`~lockgate.releasing.signing.SignatureRefused`, :class:`~lockgate.releasing.manifest.NotCanonical`."""
        return self.open_signed(path, self.store.read(path))

    def open_signed(self, path: str, data: bytes) -> Any:
        """Return the payload of a signed document that was read from ``path``; errors as :meth:`read_signed`."""
        place = self.store.place(path)
        document = parse_canonical(data, place)
        if not isinstance(document, dict) or document.keys() != {"payload", "signature"}:
            raise Refused(place, "is not a signed document of Lockgate")
        signed = self.trusted.verify(str(document["signature"]).encode(), place)
        if signed != {path: sha256(spell(document["payload"]))}:  # canonical: the whole document was
            raise Refused(place, f"was altered, or belongs elsewhere: the signature is for {', '.join(signed)}")
        return document["payload"]

    def _same(self, version: str, manifest: Manifest) -> Build:
        build = self.release(version)
        if build.release.manifest != manifest.digest:
            raise ReleaseTaken(self.name, version, build.release.manifest, manifest.digest)
        return build

    def _manifest(self, release: Release) -> Manifest:
        """Return the manifest a release names, verified against the record and the build's signature."""
        root = self._root(release.manifest)
        place = self.store.place(f"{root}/{MANIFEST}")
        try:
            data, signature = self.store.read(f"{root}/{MANIFEST}"), self.store.read(f"{root}/{SIGNATURE}")
        except ObjectMissing as error:
            raise Refused(str(error).removesuffix(" does not exist"), "is missing from its build") from None
        if sha256(data) != release.manifest:
            raise Refused(place, f"was altered: it is not the manifest that {release.version} names")
        if sha256(signature) != release.signature:
            raise Refused(self.store.place(f"{root}/{SIGNATURE}"), f"was altered: {release.version} names another")
        manifest = read_manifest(data, place)
        if (manifest.name, manifest.version) != (release.name, release.version):
            raise Refused(place, f"was made for {manifest.name}@{manifest.version}, not for {release.version}")
        self._check_signature(manifest, signature)
        return manifest

    def _check_signature(self, manifest: Manifest, signature: bytes) -> None:
        place = self.store.place(f"{self._root(manifest.digest)}/{SIGNATURE}")
        if self.trusted.verify(signature, place) != manifest.digests():
            raise SignatureRefused(place, "its signature is for other files than the manifest's")

    def _upload(self, folder: Path, manifest: Manifest, progress: Progress) -> None:
        """Bring what is missing of the build into the store. What is there already is judged by ``verify_files``."""
        root = self._root(manifest.digest)
        there = {stored.path for stored in self.store.objects(root)}
        for path in sorted(there - self._expected(manifest).keys()):
            raise Refused(self.store.place(path), "is not in the manifest of its build")
        total = sum(file.size for file in manifest.files)
        done = 0

        def sent(size: int) -> None:
            nonlocal done
            done += size
            progress("upload", done, total)

        for file in manifest.files:
            pieces = [piece for piece in manifest.pieces(file, root) if piece.path not in there]
            self.store.upload(folder / file.path, pieces, sent)
        self.store.create(f"{root}/{MANIFEST}", manifest.to_bytes())

    def _sign(self, manifest: Manifest, signer: Signer) -> bytes:
        """Return the build's signature: the one that is there, if it can be trusted, else a new one."""
        path = f"{self._root(manifest.digest)}/{SIGNATURE}"
        try:
            signature = self.store.read(path)
        except ObjectMissing:
            signature = signer.sign(manifest.digests())
            self._check_signature(manifest, signature)  # a signer our verifier does not trust would bar the version
            try:
                self.store.create(path, signature)
            except ObjectDiffers:
                signature = self.store.read(path)
        self._check_signature(manifest, signature)
        return signature

    def _claim(self, digest: str) -> None:
        """Take the build for a release. Raises :class:`LockgateError` if it is being collected as garbage."""
        path = claim_path(self.name, digest)
        try:
            self.store.create(path, RELEASE)
        except ObjectDiffers:
            raise LockgateError(
                f"build {digest[:12]} was given up and is being removed: {self.store.place(path)}",
                "Tag the next version; its build has another digest.",
            ) from None

    def _expected(self, manifest: Manifest) -> dict[str, int | None]:
        """Return path → size of the objects that make up a build; ``None`` for the signature, which has no one size."""
        root = self._root(manifest.digest)
        pieces = [piece for file in manifest.files for piece in manifest.pieces(file, root)]
        own: dict[str, int | None] = {f"{root}/{MANIFEST}": len(manifest.to_bytes()), f"{root}/{SIGNATURE}": None}
        return own | {piece.path: piece.length for piece in pieces}

    def _root(self, digest: str) -> str:
        return f"{self.name}/builds/{digest}"

    def _release_path(self, version: str) -> str:
        return f"{self.name}/releases/{version}.json"


def read_revocations(registry: Registry, verifier: KeyVerifier) -> dict[str, Revocation]:
    """Return what the store says of revoked keys: fingerprint → revocation.

    A document counts if one of the trusted keys signed it that is not revoked by the files of keys, which git keeps:
    a stolen key revokes nobody once git says that it was stolen. What no trusted key signed says nothing.
    """
    root = f"{registry.name}/revocations"
    paths = [stored.path for stored in registry.store.objects(root)]
    found: dict[str, Revocation] = {}
    for path, data in zip(paths, registry.store.read_all(paths), strict=True):
        try:
            document = parse_canonical(data or b"", registry.store.place(path))
            signature, payload = str(document["signature"]).encode(), document["payload"]
            signed = verifier.verify(signature, registry.store.place(path))
            fingerprint = str(payload["key"])
            good = payload["schema"] == REVOCATION_SCHEMA and path == f"{root}/{fingerprint}.json"
            if good and signed == {path: sha256(canonical(payload))}:
                found[fingerprint] = Revocation(payload["reason"], payload["entries"], payload["documents"])
        except (SignatureRefused, NotCanonical, KeyError, TypeError):
            continue
    return found


def claim_path(name: str, digest: str) -> str:
    """Return where it is written who may decide about a build."""
    return f"{name}/claims/{digest}.json"
