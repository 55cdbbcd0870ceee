"""What is to be released: a model of one commit, and the files that DVC recorded of it."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath

from lockgate import git, policy
from lockgate.dvc.pipeline import Recorded, State, read_state
from lockgate.errors import LockgateError
from lockgate.policy import Policy


@dataclass(frozen=True)
class Candidate:
    """What is to be released: the model ``name`` of ``commit`` as ``version``; compared with ``base``, the release
    before (a version and its commit)."""

    root: Path
    tag: str
    name: str
    version: str
    commit: str
    base: tuple[str, str] | None = None

    @cached_property
    def snapshot(self) -> git.Commit:
        """The files of the commit."""
        return git.Commit(self.root, self.tag, self.commit)

    @cached_property
    def state(self) -> State:
        """The commit's pipeline and lock."""
        return read_state(self.snapshot)

    @cached_property
    def policy(self) -> Policy:
        """The commit's own policy, which is of the default branch. Raises :class:`LockgateError` if it has none."""
        content = self.snapshot.read(policy.FILE)
        if content is None:
            raise LockgateError(f"{self.tag} has no {policy.FILE}: nothing says what its model is", "Commit one first.")
        return policy.read_policy(content)

    @cached_property
    def time(self) -> datetime:
        """When the commit was made."""
        return datetime.fromisoformat(git.git(self.root, "show", "--no-patch", "--format=%cI", self.commit).strip())

    @property
    def model(self) -> Recorded:
        """What the lock records of the model. Raises :class:`LockgateError`."""
        path = self.state.pipeline.artifacts.get(self.policy.model, {}).get("path")
        record = self.state.pipeline.recorded(self.state.lock, str(path)) if path else None
        if record is None or record.path != path or not record.digest:
            raise LockgateError(
                f"{self.tag}: dvc.lock records no model '{self.policy.model}'",
                f"Declare it under `artifacts:` in dvc.yaml, as the output of a stage; `model:` of {policy.FILE}.",
            )
        return record

    @property
    def model_name(self) -> str:
        """The model's path in the build."""
        return f"model{PurePosixPath(self.model.path).suffix}"

    def reads(self) -> list[Recorded]:
        """Return what of DVC's a release reads: the model, and what the policy names."""
        told = self.policy
        paths = [metric.file for metric in told.metrics] + [plot.file for plot in told.plots]
        paths += [told.predictions.file] if told.predictions else []
        paths += [told.validation] if told.validation else []
        paths += [told.serving.samples] if told.serving else []
        found = (self.state.pipeline.recorded(self.state.lock, path) for path in dict.fromkeys(paths))
        return [self.model, *(record for record in found if record and record.digest and record != self.model)]
