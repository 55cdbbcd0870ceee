"""Requests that were forgotten: a note of each, by which it can be proven that it was, and from which nobody learns it.

The note holds the HMAC-SHA256 of the model's name and the request's key, under a secret that is kept elsewhere. Whoever
has the secret and the key can find the note; from the note alone no key can be guessed. A service that has the secret
drops what its journal still holds of a forgotten request.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lockgate.errors import UsageError

SCHEMA: Final = "lockgate.forgotten/1"
FOLDER, TABLE = "forgotten", "lockgate_forgotten"
SHORTEST: Final = 16  # characters of the secret

Notes = Mapping[str, str]
"""fingerprint → until when scores of the request were forgotten (ISO 8601, UTC)"""


def fingerprint(secret: bytes, model: str, key: str) -> str:
    """Return what the note of a forgotten request says of it. ``key`` is spelled by
    :func:`~lockgate.serving.described.key_text`."""
    message = json.dumps([model, key], ensure_ascii=False, separators=(",", ":")).encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def read_secret(file: Path) -> bytes:
    """Return the secret in a file. Raises :class:`UsageError` if there is none, or one that could be guessed."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", f"Make the secret once: `openssl rand -hex 32 > {file}`."
        ) from None
    if len(secret) < SHORTEST:
        raise UsageError(
            f"{file} holds a secret of {len(secret)} characters",
            f"Write a longer one: `openssl rand -hex 32 > {file}`.",
        )
    return secret


def note(mark: str, time: str) -> bytes:
    """Return the content of a note."""
    return (json.dumps({"schema": SCHEMA, "hmac_sha256": mark, "time": time}) + "\n").encode()
