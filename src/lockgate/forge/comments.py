"""The one comment of ours on a pull request: created or replaced, by CML where it can, else by our own client."""

from dataclasses import dataclass
from typing import Literal

from lockgate.forge import cml
from lockgate.forge.cml import CmlFailed
from lockgate.forge.port import Comment, Forge, ForgeError

WATERMARK_IMAGE = "https://cml.dev/watermark.png"
TRIES = 3
PAUSE = 1.0
"""Seconds between two tries."""
Poster = Literal["CML", "lockgate"]


@dataclass(frozen=True, slots=True)
class Posted:
    """Who posted the comment; ``reason`` says why CML did not."""

    by: Poster
    reason: str = ""


def watermark(label: str) -> str:
    """Return what is in every comment with this label, and in no text that went through ``escape``."""
    return f'"CML watermark {label}")'


def marked(body: str, label: str, sha: str) -> str:
    """Return ``body`` as CML would post it: with its watermark at the end."""
    return f"{body}\n\n![]({WATERMARK_IMAGE}#{sha} {watermark(label)}"


def put_comment(forge: Forge, server: str, number: int, body: str, *, label: str, sha: str, author: str) -> Posted:
    """Have exactly one comment of ``author`` with this label say ``body``, and return who posted it.

    CML updates the last comment that carries its watermark, whoever wrote it: where that is not ours, our own client
    makes the request. Our own client also steps in where CML fails, or ends without the comment being there.
    Raises :class:`~lockgate.forge.port.ForgeError` if the comment cannot be posted at all.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

    text = marked(body, label, sha)
    comments = forge.comments(number)
    ours = _ours(comments, label, author)
    if ours[-1:] != [one for one in comments[: cml.SEES] if watermark(label) in one.body][-1:]:
        reason = "CML would have updated a comment that is not ours"
    else:
        try:
            cml.update_comment(f"{server}/{forge.repository}", forge.token, number, body, title=label, sha=sha)
            ours = _ours(forge.comments(number), label, author)
            if any(_same(one.body, text) for one in ours):
                return Posted("CML")
            reason = "CML reported success, but its comment is not there"
        except CmlFailed as error:
            reason = str(error)
            ours = _ours(forge.comments(number), label, author)
    again = Retrying(
        retry=retry_if_exception_type(ForgeError), wait=wait_fixed(PAUSE), stop=stop_after_attempt(TRIES), reraise=True
    )
    for attempt in again:
        with attempt:
            if attempt.retry_state.attempt_number > 1:  # what seemed to fail may have come through
                ours = _ours(forge.comments(number), label, author)
            if ours:
                forge.replace_comment(ours[-1].id, text)
            else:
                forge.add_comment(number, text)
    return Posted("lockgate", reason)


def _ours(comments: tuple[Comment, ...], label: str, author: str) -> list[Comment]:
    return [one for one in comments if watermark(label) in one.body and one.author == author]


def _same(one: str, other: str) -> bool:
    """Compare two texts but for the line endings and the blank space around them, which a forge may change."""
    return one.split() == other.split()
