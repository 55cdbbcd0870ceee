"""What is to be released: a model of one commit, and the files that DVC recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate import git, policy
from lockgate.dvc.objects import Cache, local_file
from lockgate.dvc.pipeline import Recorded, State, read_state
from lockgate.dvc.scopes import scoped
from lockgate.errors import LockgateError
from lockgate.policy import Models, Policy


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
        """The commit's pipeline and lock: what is of this model, where the commit has several."""
        state = read_state(self.snapshot)
        return state if self.model_of_several is None else scoped(None, state, self.model_of_several)[1]

    @cached_property
    def policy(self) -> Policy:
        """The model's policy in the commit, which is of the default branch. Raises :class:`LockgateError` if it has
        none."""
        return self.models.belonging_to(self.name)

    @property
    def model_of_several(self) -> str | None:
        """The name of the model in the policy, ``None`` where the policy is about one model."""
        return self.policy.model if self.models.several else None

    @cached_property
    def models(self) -> Models:
        """The models of the commit's own policy. Raises :class:`LockgateError` if it has none."""
        content = self.snapshot.read(policy.FILE)
        if content is None:
            raise LockgateError(f"{self.tag} has no {policy.FILE}: nothing says what its model is", "Commit one first.")
        return policy.read_models(content)

    @cached_property
    def time(self) -> datetime:
        """When the commit was made."""
        return datetime.fromisoformat(git.git(self.root, "show", "--no-patch", "--format=%cI", self.commit).strip())

    @cached_property
    def artifact(self) -> Mapping[str, Any]:
        """What ``dvc.yaml`` declares of the model. Raises :class:`LockgateError`."""
        found = self.state.pipeline.artifact(self.policy.model)
        if found is None:
            raise self._no_model()
        return found[1]

    @property
    def model(self) -> Recorded:
        """What the lock records of the model, or of the output folder that holds it. Raises :class:`LockgateError`."""
        record = self.state.pipeline.recorded(self.state.lock, self.artifact["path"])
        if record is None or not record.digest:
            raise self._no_model()
        return record

    def model_objects(self) -> dict[str, Recorded]:
        """Return the files of the model by their path inside it (empty where the model is one file).

        The list of a folder is fetched if need be. Raises :class:`LockgateError`.
        """
        record, path = self.model, str(self.artifact["path"])
        if not record.is_folder:
            if record.path != path:
                raise self._no_model()
            return {"": record}
        local_file(self.root, self.state, record.path)
        entries = {f"{record.path}/{name}": digest for name, digest in Cache.of(self.root).entries(record).items()}
        found = {
            name.removeprefix(path).removeprefix("/"): Recorded(name, digest, legacy=record.legacy)
            for name, digest in entries.items()
            if name == path or name.startswith(f"{path}/")
        }
        if not found:
            raise self._no_model()
        return found

    def _no_model(self) -> LockgateError:
        return LockgateError(
            f"{self.tag}: dvc.lock records no model '{self.policy.model}'",
            "Declare it under `artifacts:` of dvc.yaml, with the path of a stage's output or of something inside one; "
            f"`model:` of {policy.FILE} names it.",
        )

    @property
    def model_name(self) -> str:
        """The model's path in the build."""
        return f"model{PurePosixPath(self.artifact['path']).suffix}"

    def reads(self) -> list[Recorded]:
        """Return what of DVC's a release reads: the model, and what the policy names."""
        told = self.policy
        paths = [metric.file for metric in told.metrics] + [plot.file for plot in told.plots]
        paths += told.predictions.files if told.predictions else ()
        paths += [told.validation] if told.validation else []
        paths += [told.serving.samples] if told.serving else []
        paths += [told.reference.table] if told.reference.table else []
        found = (self.state.pipeline.recorded(self.state.lock, path) for path in dict.fromkeys(paths))
        return [self.model, *(record for record in found if record and record.digest and record != self.model)]
