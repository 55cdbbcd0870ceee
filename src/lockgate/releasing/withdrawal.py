"""``lockgate withdraw RELEASE``: say of a release, for ever, that it is not to be promoted again, and why.

A withdrawal is one more signed document, ``NAME/withdrawals/v1.2.0.json``; the release itself stays as it is. What
those who use releases do about it (``serve``, ``score``, ``fetch``, ``verify``: warn, or refuse) is decided by the
policy of the repository when the release is withdrawn, and stands in the document: they may have no repository at hand.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from lockgate.errors import LockgateError
from lockgate.releasing.registry import WITHDRAWAL_SCHEMA, Actor, Build, Refused, Registry
from lockgate.releasing.signing import Signer, check_signer
from lockgate.store import ObjectDiffers, ObjectMissing

Use = Literal["warn", "refuse"]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Why, by whom and when a release was withdrawn; ``use`` says what those who use it are to do; ``tag`` is git's."""

    name: str
    version: str
    manifest: str
    actor: str
    time: str
    reason: str
    tag: str
    use: Use

    def __str__(self) -> str:
        """Return the fact in words."""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.name}@{self.version} was withdrawn by {self.actor}, {self.time}{why}"


class ReleaseWithdrawn(LockgateError):  # noqa: N818 - named for what the user reads
    """The release was withdrawn."""

    def __init__(self, withdrawal: Withdrawal) -> None:
        """Name the release, and why it was withdrawn."""
        super().__init__(str(withdrawal), "Use another release: `lockgate history` shows what ran where.")
        self.withdrawal = withdrawal


def withdraw(  # noqa: PLR0913 - what a withdrawal says
    registry: Registry,
    version: str,
    signer: Signer | None,
    actor: Actor,
    *,
    reason: str,
    use: Use,
    tag: str = "",
    dry_run: bool = False,
) -> tuple[Withdrawal | None, bool]:
    """Withdraw a release. Return the withdrawal, and whether this call made it; ``None`` for a dry run that would."""
    if (known := withdrawal_of(registry, version)) is not None:
        return known, False
    build = registry.release(version)
    if dry_run or signer is None:
        return None, False
    check_signer(signer, registry.trusted, "withdrawals")
    made = Withdrawal(registry.name, version, build.release.manifest, actor.name, actor.time, reason, tag, use)
    try:
        registry.write_signed(_path(registry, version), {"schema": WITHDRAWAL_SCHEMA, **asdict(made)}, signer)
    except ObjectDiffers:  # somebody was quicker
        return withdrawal_of(registry, version), False
    return made, True


def withdrawal_of(registry: Registry, version: str) -> Withdrawal | None:
    """Return the withdrawal of a release, ``None`` if it was not withdrawn. Raises as :meth:`Registry.read_signed`."""
    path = _path(registry, version)
    try:
        payload = registry.read_signed(path)
    except ObjectMissing:
        return None
    try:
        schema = payload.pop("schema")
        found = Withdrawal(**payload)
        good = schema == WITHDRAWAL_SCHEMA and (found.name, found.version) == (registry.name, version)
    except (TypeError, AttributeError, KeyError):
        good = False
    if not good or found.use not in {"warn", "refuse"}:
        raise Refused(registry.store.place(path), f"is not a {WITHDRAWAL_SCHEMA} document of {version}")
    return found


def check_withdrawn(registry: Registry, build: Build) -> Withdrawal | None:
    """Return the withdrawal of a release that may still be used, ``None`` if it was not withdrawn.

    Raises :class:`ReleaseWithdrawn` where the policy said that it may not.
    """
    found = withdrawal_of(registry, build.release.version)
    if found is not None and found.use == "refuse":
        raise ReleaseWithdrawn(found)
    return found


def _path(registry: Registry, version: str) -> str:
    return f"{registry.name}/withdrawals/{version}.json"
