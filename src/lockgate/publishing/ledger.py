"""The ledger of looks: which comparisons on a test set were published, in a branch that CI alone writes.

Why a branch: a comment can be edited by whoever may write to the repository, and a status says nothing of the past. Not
every repository has a store that CI may write to, but the job that publishes may push already, because it brings
``dvc.lock`` to pull requests. So the ledger is the branch :data:`BRANCH`, which has a history of its own and shares no
file with the others. Neither the job that runs an author's code nor a fork has the right to push. What a branch does
not keep from is somebody who may push and does it by hand; a ruleset that forbids force pushes and deletion of it does
(docs/statistics.md), and a history in which lines were removed is told by ``lockgate looks``.

``looks/TEST_SET.jsonl`` has one line a look, each a JSON object, oldest first. A line is added by a commit on top of
the tip, pushed only if the branch still stands there: of two jobs at once, the later one reads again and adds its line
after the other's.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from lockgate import git
from lockgate.dvc.objects import content_digest
from lockgate.dvc.pipeline import MISSING, State, param, read_params
from lockgate.errors import LockgateError
from lockgate.evaluation.seeded import Place
from lockgate.policy import Policy
from lockgate.result import Looks, Result

BRANCH = "lockgate/looks"
FOLDER = "looks"
ABOUT = f"{FOLDER}/README.md"
AUTHOR = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
TRIES = 10
"""How often a push is tried that another job's push came before."""
NAMED = re.compile(r"[0-9a-f]{32}")
SCHEMA = "lockgate.look/1"
README = f"""\
Lockgate counts here how often the figures of one test set were published: one file a test set, one line a look. The
job that publishes adds lines and removes none. `lockgate looks` shows them; docs/statistics.md of Lockgate says what
they are for. Forbid force pushes to the branch `{BRANCH}` and its deletion by a ruleset, and nobody can shorten it.
"""


class LedgerError(LockgateError):
    """The ledger cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison whose figures were published: the model, the test set, the two commits, and the digests of their
    predictions. ``number`` counts the looks of this model at this test set from 1; ``time`` is in UTC."""

    model: str
    test_set: str
    base: str
    head: str
    base_predictions: str
    head_predictions: str
    pull_request: int | None = None
    time: str = ""
    number: int = 0

    def is_the_same(self, other: Self) -> bool:
        """Say whether another look shows nothing new: the same two commits again, or the same predictions."""
        if (self.model, self.test_set) != (other.model, other.test_set):
            return False
        return (self.base, self.head) == (other.base, other.head) or self.head_predictions == other.head_predictions

    def line(self) -> bytes:
        """Return its line in the ledger."""
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True) + "\n").encode()

    @classmethod
    def of(cls, line: str, place: str) -> Self:
        """Read a line. Raises :class:`LedgerError`."""
        try:
            told: Any = json.loads(line)
            told = dict(told)
            schema = told.pop("schema")
            look = cls(**told)
            fit = all(isinstance(getattr(look, field.name), str) for field in fields(cls) if field.type is str)
            fit = fit and type(look.number) is int and type(look.pull_request) in (int, type(None))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LedgerError(f"{place} of the branch {BRANCH} is not a look: {type(error).__name__}") from error
        if not fit or schema != SCHEMA:
            raise LedgerError(f"{place} of the branch {BRANCH} is not a look of the form {SCHEMA}")
        return look


@dataclass(frozen=True, slots=True)
class LookAt:
    """A look that is to be taken: what is judged by, and where the parameters stand."""

    look: Look
    policy: Policy
    head: State

    def told(self, number: int | None, note: str = "") -> Looks:
        """Return what a result says of it."""
        return as_told(self.policy, number, self.head, note)


def look_at(result: Result, policy: Policy, before: State | None, after: State) -> LookAt | None:
    """Return what publishing a result shows of a test set; ``None`` if nothing was compared, or nothing differs."""
    compared, what = result.comparison, policy.predictions
    if what is None or before is None or before.snapshot.commit is None or after.snapshot.commit is None:
        return None
    if not NAMED.fullmatch(compared.test_set):
        return None
    of_base, of_head = (_predictions(state, what.file) for state in (before, after))
    if not of_base or not of_head or of_base == of_head:
        return None
    commits = (before.snapshot.commit, after.snapshot.commit)
    return LookAt(Look(result.model, compared.test_set, *commits, of_base, of_head), policy, after)


def _predictions(state: State, path: str) -> str:
    """Return the digest of a side's predictions: as its lock has it, or of the file that git has."""
    record = state.pipeline.recorded(state.lock, path)
    if record is not None and record.digest:
        return record.digest
    content = state.snapshot.read(path)
    return content_digest(content) if content is not None else ""


def as_told(policy: Policy, number: int | None, head: State, note: str = "") -> Looks:
    """Return what a result says of its look."""
    planned = policy.test_set
    if planned is None:
        return Looks(number, note=note)
    value = ""
    if planned.refreshed_by:
        place = Place.of(planned.refreshed_by)
        try:
            found = param(read_params(head.snapshot, place.file) or {}, place.key)
            value = "" if found is MISSING else json.dumps(found, ensure_ascii=False, default=str)
        except LockgateError:
            value = ""
    return Looks(number, planned.looks, planned.confidence, planned.refreshed_by, value, note)


@dataclass(frozen=True)
class Ledger:
    """The ledger in the branch of ``origin``. ``credentials`` are what :func:`lockgate.git.push` takes."""

    root: Path
    credentials: Mapping[str, str]

    def tip(self) -> str | None:
        """Return the commit that the ledger stands at now, which is here then; ``None`` before the first look."""
        found = git.remote_tip(self.root, BRANCH, self.credentials)
        if found is not None:
            git.fetch(self.root, found, self.credentials)
        return found

    def record(self, look: Look, *, write: bool = True) -> int:
        """Return the number of a look, which is written down unless it was before, or unless ``write`` says no.

        Raises :class:`LedgerError` where the ledger cannot be read, or not be written to.
        """
        from tenacity import Retrying, retry_if_result, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        again = Retrying(
            retry=retry_if_result(lambda number: number is None),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.05, max=5),
            retry_error_callback=lambda _: None,
        )
        try:
            number: int | None = again(self._record, look, write)
        except git.GitError as error:
            raise LedgerError(f"the branch {BRANCH} cannot be read or written: {error}") from error
        if number is None:
            raise LedgerError(f"other jobs wrote to the branch {BRANCH} first, {TRIES} times")
        return number

    def _record(self, look: Look, write: bool) -> int | None:
        """Try once; ``None`` if another job was quicker."""
        tip = self.tip()
        content = _content(self.root, tip, look.test_set) if tip else b""
        known = _looks(content, look.test_set)
        if (same := next((one for one in known if look.is_the_same(one)), None)) is not None:
            return same.number
        number = 1 + max((one.number for one in known if one.model == look.model), default=0)
        if not write:
            return number
        now = int(time.time())
        new = replace(look, number=number, time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
        files: dict[str, bytes | None] = {_file(look.test_set): content + new.line()}
        if tip is None:
            files[ABOUT] = README.encode()
        made = git.commit_on(self.root, tip, files, f"Look {number} of {look.model}", AUTHOR, now)
        return number if git.push(self.root, made, BRANCH, tip or "", self.credentials) else None


def read(root: Path, commit: str, test_set: str) -> tuple[Look, ...]:
    """Return the looks at a test set, as a commit of the ledger has them. Raises :class:`LedgerError`."""
    return _looks(_content(root, commit, test_set), test_set)


def _file(test_set: str) -> str:
    return f"{FOLDER}/{test_set}.jsonl"


def _content(root: Path, commit: str, test_set: str) -> bytes:
    with git.Commit(root, BRANCH, commit, lfs=False) as ledger:
        return ledger.read(_file(test_set)) or b""


def _looks(content: bytes, test_set: str) -> tuple[Look, ...]:
    name = _file(test_set)
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise LedgerError(f"{name} of the branch {BRANCH} is not text") from error
    return tuple(Look.of(line, f"line {number} of {name}") for number, line in enumerate(lines, 1))


def read_all(root: Path, commit: str) -> tuple[Look, ...]:
    """Return all looks of a commit of the ledger, by test set. Raises :class:`LedgerError`."""
    with git.Commit(root, BRANCH, commit, lfs=False) as ledger:
        names = ledger.list(".jsonl")
    sets = [name.removeprefix(f"{FOLDER}/").removesuffix(".jsonl") for name in names if name.startswith(f"{FOLDER}/")]
    return tuple(look for test_set in sets for look in read(root, commit, test_set))


def shortened(root: Path, commit: str) -> tuple[str, ...]:
    """Return the commits of the ledger's history that removed lines, which no job of Lockgate does."""
    told = git.git(root, "log", "--numstat", "--no-renames", "--format=commit %H", commit, "--", f"{FOLDER}/*.jsonl")
    found: list[str] = []
    current = ""
    for line in told.splitlines():
        if line.startswith("commit "):
            current = line.removeprefix("commit ")
        elif line and line.split("\t")[1] not in ("", "0") and current not in found:
            found.append(current)
    return tuple(found)
