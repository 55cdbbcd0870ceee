"""Telling people: one issue a model on the forge, and a webhook.

The issue is open while an alarm that pages lasts. Its text is what is true now; a line in it, which nobody sees, names
the alarms that were told already, so that the webhook gets each alarm once, and its end once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import NotAskedError
from lockgate.forge.port import Forge
from lockgate.forge.webhook import post
from lockgate.monitoring.alarm_text import title_of

if TYPE_CHECKING:
    from lockgate.monitoring.alarms import Alarm

_TOLD = re.compile(r"<!-- lockgate-alarms: (\[[^\n]*\]) -->")


@dataclass(frozen=True, slots=True)
class Change:
    """What is new since people were told last."""

    begun: tuple["Alarm", ...]
    ended: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.begun or self.ended)


def name_of(alarm: "Alarm") -> str:
    """Return what tells one alarm from another: a word that stays when it is judged again with later outcomes."""
    return f"{alarm.kind} {alarm.form} {alarm.of}".rstrip()


def change(told: Sequence[str], pages: Sequence["Alarm"]) -> Change:
    """Return which alarms begun since ``told``, and which of those are over."""
    now = {name_of(alarm): alarm for alarm in pages}
    return Change(
        tuple(alarm for name, alarm in now.items() if name not in told),
        tuple(name for name in told if name not in now),
    )


def title(model: str, environment: str) -> str:
    """Return the title of the one issue of a model in an environment."""
    return f"{model} in {environment} is worse than promised"


def body(pages: Sequence["Alarm"], environment: str) -> str:
    """Return the text of the issue: two lines an alarm, and what was told."""
    told = json.dumps(sorted(name_of(alarm) for alarm in pages)).replace("--", "- -")
    parts = [f"### {title_of(alarm)}\n\n{alarm.text}" for alarm in pages]
    end = f"`lockgate monitor {environment}` says more. This issue is kept up to date, and closed when it is over."
    return "\n\n".join([*parts, end, f"<!-- lockgate-alarms: {told} -->"]) + "\n"


def told_in(text: str) -> list[str]:
    """Return the names of the alarms that the text of an issue has told; none for the text of somebody else."""
    found = _TOLD.findall(text)
    try:
        names = json.loads(found[-1]) if found else []
    except ValueError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def read_told(file: Path) -> list[str]:
    """Return what a file remembers to have been told, nothing if there is none yet. Raises :class:`NotAskedError`."""
    try:
        names = json.loads(file.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise NotAskedError(f"{file} does not say what was told: {error}", "Remove it, or name another.") from None
    return [str(name) for name in names] if isinstance(names, list) else []


def as_told(pages: Sequence["Alarm"]) -> str:
    """Return what :func:`read_told` reads."""
    return json.dumps(sorted(name_of(alarm) for alarm in pages)) + "\n"


def untold(forge: Forge, model: str, environment: str, pages: Sequence["Alarm"]) -> Change:
    """Return what is new since the issue was last brought up to date."""
    before = forge.find_issue(title(model, environment))
    return change(told_in(before.body) if before else (), pages)


def keep_issue(forge: Forge, model: str, environment: str, pages: Sequence["Alarm"]) -> str:
    """Have the one issue say what is true now: open it, bring it up to date, or close it. Return its address, empty
    where there is none."""
    named = title(model, environment)
    if pages:
        return forge.raise_issue(named, body(pages, environment))
    before = forge.find_issue(named)
    if before is None:
        return ""
    forge.close_issue(before.number, "It is over: what serves is as promised again.")
    return before.url


def send(address: str, new: Change, model: str, environment: str) -> None:
    """Send what is new to a webhook, as JSON with a ``text`` that chat programs show. Raises
    :class:`~lockgate.forge.webhook.NotTold`."""
    said = [alarm.text for alarm in new.begun]
    said += [f"{model}: over: {name}." for name in new.ended]
    content = {
        "text": "\n\n".join(said),
        "model": model,
        "environment": environment,
        "alarms": [
            {
                "kind": alarm.kind,
                "of": alarm.of,
                "since": alarm.since.isoformat(),
                "raised": alarm.raised.isoformat(),
                "rows": alarm.rows,
                "change": alarm.change,
                "low": alarm.low,
                "high": alarm.high,
                "text": alarm.text,
            }
            for alarm in new.begun
        ],
        "over": list(new.ended),
    }
    post(address, content)
