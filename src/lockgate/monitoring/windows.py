"""Windows of time: days, weeks, or so many rows."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Kind = Literal["day", "week", "rows"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A stretch of time from ``start`` up to, and without, ``end``: days (``2026-11-16``), of windows of rows times."""

    start: str
    end: str
    kind: Kind

    @property
    def name(self) -> str:
        """What its findings are called in the store: ``week-2026-11-16``."""
        return f"{self.kind}-{self.start.replace(':', '')}"

    @property
    def words(self) -> str:
        """What people call it."""
        if self.kind == "day":
            return self.start
        if self.kind == "week":
            return f"week of {self.start}"
        return f"{self.start[:16].replace('T', ' ')} to {self.end[:16].replace('T', ' ')}"

    @property
    def days(self) -> list[date]:
        """The days it touches."""
        first, last = date.fromisoformat(self.start[:10]), date.fromisoformat(self.end[:10])
        whole = last if self.kind != "rows" else last + timedelta(days=1)
        return [first + timedelta(days=n) for n in range((whole - first).days)]


def window_of(day: date, kind: Literal["day", "week"]) -> Window:
    """Return the window that a day lies in; a week begins on Monday."""
    first = day - timedelta(days=day.weekday()) if kind == "week" else day
    return Window(first.isoformat(), (first + timedelta(days=7 if kind == "week" else 1)).isoformat(), kind)
