"""``reference.json`` of a build: what the release promises, from the tables that the policy names."""

from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.dvc.objects import local_file
from lockgate.evaluation.predictions import File, Refused
from lockgate.files import progress
from lockgate.monitoring.reference import FILE, to_bytes
from lockgate.monitoring.reference_rows import NoReference, Requests, make_reference, read_labels, read_requests
from lockgate.releasing.candidate import Candidate
from lockgate.serving.described import check_key

if TYPE_CHECKING:
    from lockgate.serving.contract import RequestSchema


def place_reference(candidate: Candidate, folder: Path) -> None:
    """Write :data:`~lockgate.monitoring.reference.FILE` to the build in ``folder``, whose contract is there already.

    A policy without predictions, or predictions that cannot be judged, give none, which is told. Raises
    :class:`~lockgate.monitoring.reference_rows.NoReference` where the policy wants what cannot be had, and
    :class:`~lockgate.serving.request_parts.PartRefused` for a key or baseline that no request has.
    """
    policy = candidate.policy
    schema = _schema(candidate, folder)
    if policy.predictions is None:
        return
    file = _file(candidate, policy.predictions.file)
    if file is None:
        progress(f"the release has no {FILE}: there is no {policy.predictions.file}")
        return
    wanted = policy.reference
    if policy.predictions.kind != "binary":
        only = f"it is made of a binary model's scores, and the policy's kind is `{policy.predictions.kind}`"
        if wanted.baseline or wanted.table:
            raise NoReference(only)
        progress(f"the release has no {FILE}: {only}")
        return
    try:
        requests = _requests(candidate, policy.serving.samples if policy.serving else None, schema)
        learnt = None
        if wanted.table is not None:
            table = _file(candidate, wanted.table)
            if table is None:
                raise NoReference(f"there is no {wanted.table}")
            label = read_labels(table, wanted.label or policy.predictions.label)
            learnt = (read_requests(table, schema).table if schema and wanted.baseline else None), label
        labels = _file(candidate, policy.predictions.labels) if policy.predictions.labels else None
        reference = make_reference(policy, candidate.name, candidate.version, file, requests, learnt, labels)
    except Refused as reason:
        if policy.reference.baseline or policy.reference.table:
            raise NoReference(str(reason)) from None
        progress(f"the release has no {FILE}: {reason}")
        return
    (folder / FILE).write_bytes(to_bytes(reference))


def _schema(candidate: Candidate, folder: Path) -> "RequestSchema | None":
    """Return what a request is, after the policy's key was compared with it; ``None`` where nothing is served."""
    from lockgate.serving.contract import read_contract

    serving = candidate.policy.serving
    if serving is None:
        return None
    schema = read_contract(folder).request
    check_key(serving.key, schema)
    return schema


def _requests(candidate: Candidate, path: str | None, schema: "RequestSchema | None") -> Requests | None:
    file = _file(candidate, path) if path is not None else None
    return read_requests(file, schema) if file is not None and schema is not None else None


def _file(candidate: Candidate, path: str) -> File | None:
    """Return a table of the commit, as DVC's cache or git has it."""
    there = local_file(candidate.root, candidate.state, path) or candidate.snapshot.read(path)
    return None if there is None else File("the release", path, there)
