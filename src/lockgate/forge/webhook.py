"""A webhook: an address outside that takes JSON, such as that of a chat program."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from lockgate.errors import NotAskedError

TIMEOUT = 20.0
"""Seconds without a byte."""


class NotTold(NotAskedError):  # noqa: N818 - named for what the user reads
    """A webhook could not be reached, or refused what it was sent."""

    def __init__(self, problem: str) -> None:
        """Say what came back; the address may hold a secret and is not named."""
        super().__init__(
            f"the webhook did not take the message: {problem}",
            "Look at the address in the environment variable that `alarms.webhook` names.",
        )


def post(address: str, content: Mapping[str, Any]) -> None:
    """Send JSON. Raises :class:`NotTold`."""
    if not address.startswith(("http://", "https://")):
        raise NotTold("its address does not begin with http:// or https://")
    request = Request(  # noqa: S310 - the scheme was looked at
        address, data=json.dumps(content).encode(), method="POST", headers={"Content-Type": "application/json"}
    )
    try:
        with urlopen(request, timeout=TIMEOUT):  # noqa: S310 - the same
            pass
    except (URLError, HTTPException, OSError) as error:
        raise NotTold(str(getattr(error, "reason", None) or error)) from None
