"""The files of a build, and the facts of its manifest, from a commit and what DVC recorded of it.

None of the model's code runs here: what only running it can tell comes from :mod:`lockgate.releasing.prepare`.
Everything else is a function of the commit, so that the same commit gives the same bytes on every machine.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lockgate import git, policy
from lockgate.dependencies.commit import locked_by
from lockgate.dependencies.lock import read_lock
from lockgate.dvc.objects import Cache, copy_objects, local_file
from lockgate.dvc.pipeline import State, read_state
from lockgate.dvc.scopes import scoped
from lockgate.errors import LockgateError
from lockgate.evaluation import findings, report
from lockgate.releasing.candidate import Candidate
from lockgate.releasing.manifest import OPAQUE, sha256
from lockgate.releasing.model_card import About, card
from lockgate.releasing.plain import config_of, make_plain_wheel
from lockgate.releasing.provenance import Source, components, statement
from lockgate.releasing.reference import place_reference
from lockgate.rendering.render import render
from lockgate.result import GateOutcome, LockStatus, Result
from lockgate.temporary import temporary_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from lockgate.releasing.prepare import Prepared

CARD, REPORT, PROVENANCE, COMPONENTS = "model-card.md", "report.html", "provenance.json", "components.cdx.json"
REQUEST, SAMPLES = "request.json", "samples.json"
PYTHON = ".python-version"


class GateFails(LockgateError):  # noqa: N818 - named for what the user reads
    """A gate of the commit's policy does not hold."""

    def __init__(self, tag: str, failing: list[GateOutcome]) -> None:
        """Name every gate that does not hold, and what was measured."""
        told = [f"{gate.rule} ({'; '.join(filter(None, (gate.measured, gate.reason)))})" for gate in failing]
        super().__init__(
            f"{tag} does not pass its policy: {'; '.join(told)}",
            "`lockgate report` shows more. A better commit gets the next version.",
        )


class SamplesMissing(LockgateError):  # noqa: N818 - named for what the user reads
    """The table of samples cannot be had."""

    def __init__(self, path: str, finding: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{path}, the `serving.samples` of the policy: {finding}", "Correct it, or the policy.")


class WheelFailed(LockgateError):  # noqa: N818
    """The project of the model's code could not be made a wheel."""

    def __init__(self, code: str, finding: str) -> None:
        """Name the project's folder and what its build backend said."""
        super().__init__(f"no wheel could be built from {code}: {finding}", f"Correct {code}/pyproject.toml.")


def make_build(candidate: Candidate, prepared: "Prepared", folder: Path) -> dict[str, Any]:
    """Write every file of the build to ``folder``, which is empty, and return the facts for its manifest.

    Raises :class:`GateFails`, and what git, DVC and the files of the commit may raise.
    """
    judged = _judge(candidate, prepared)
    failing = [gate for gate in judged.result.gates if not gate.passed]
    if failing:
        raise GateFails(candidate.tag, failing)
    place_model(candidate, folder)
    locks = _copy_locks(candidate, folder)
    told = candidate.policy.dependencies
    packages = locks.get(told.lock) if told is not None else None
    packages = packages or next((name for name in locks.values() if name.endswith(".lock")), None)
    write(folder / REPORT, render(judged.result, "html").encode())
    about = _about(candidate, prepared, folder)
    slices = judged.result.slices or (_own_slices(candidate) if candidate.base is None else ())
    write(folder / CARD, card(about, judged.result, slices).encode())
    if candidate.policy.serving is not None:
        wheel = make_wheel(candidate, folder)
        prepared.place(folder)
        place_contract(candidate, folder, wheel, card=CARD, lock=packages)
    place_reference(candidate, folder)
    source = Source(
        candidate.tag,
        candidate.name,
        candidate.version,
        candidate.commit,
        candidate.time,
        prepared.level,
        _sources(candidate.state),
        ran_with(prepared),
    )
    models = [path for path in _digests(folder) if PurePosixPath(path).parts[0] == candidate.model_name]
    own = [name for path, name in locks.items() if told is None or path != told.build]  # no part of what is released
    read = [read_lock((folder / name).read_text(encoding="utf-8"), name) for name in own if name.endswith(".lock")]
    write(folder / COMPONENTS, components(source, _digests(folder), models, read))
    write(folder / PROVENANCE, statement(source, _digests(folder)))
    return _facts(candidate, prepared, judged, about) | _dependencies(candidate, prepared, locks)


def place_model(candidate: Candidate, folder: Path) -> None:
    """Copy the model from DVC's cache, every byte of it compared with the lock."""
    objects = candidate.model_objects()
    for one in objects.values():
        local_file(candidate.root, candidate.state, one.path)  # fetched from the remote if need be
    with temporary_folder("build") as place:
        checked = Cache(place)
        copy_objects(Cache.of(candidate.root), checked, objects.values())
        for path, one in objects.items():
            write(folder / candidate.model_name / path, checked.path(one.digest, legacy=one.legacy))


def make_wheel(candidate: Candidate, folder: Path) -> str:
    """Make the wheel of the model's code in ``folder`` and return its name. Raises :class:`WheelFailed`.

    Only the project's build backend runs, on the committed files alone.
    """
    serving = candidate.policy.serving
    assert serving is not None  # noqa: S101 - asked for by the caller
    code = serving.code
    if serving.plain is not None:
        return make_plain_wheel(config_of(candidate.policy, samples_of(candidate)), folder)
    with temporary_folder("build") as place:
        project = Path(place, "project")
        for path in candidate.snapshot.list():
            if path.startswith(f"{code}/"):
                write(project / path.removeprefix(f"{code}/"), candidate.snapshot.read(path) or b"")
        try:
            backend = tomllib.loads((project / "pyproject.toml").read_text())["build-system"]["build-backend"]
        except (OSError, ValueError, KeyError) as error:
            raise WheelFailed(code, f"its pyproject.toml names no build backend ({error})") from None
        done = subprocess.run(
            [sys.executable, "-P", "-c", _BACKEND, str(backend), str(folder)],
            cwd=project,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800", "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise WheelFailed(code, (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.splitlines()[-1]


_BACKEND = """\
import importlib, sys
name, _, inside = sys.argv[1].partition(":")
backend = importlib.import_module(name)
print(getattr(backend, inside, backend).build_wheel(sys.argv[2]) if inside else backend.build_wheel(sys.argv[2]))
"""


def samples_of(candidate: Candidate) -> "pa.Table":
    """Return the table of samples that the policy names. Raises :class:`SamplesMissing`."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    serving = candidate.policy.serving
    assert serving is not None  # noqa: S101 - asked for by the caller
    path = serving.samples
    record = candidate.state.pipeline.recorded(candidate.state.lock, path)
    file = local_file(candidate.root, candidate.state, path) if record else None
    content = file.read_bytes() if file else candidate.snapshot.read(path)
    if content is None:
        raise SamplesMissing(path, "there is no such file")
    try:
        reader = pa.BufferReader(content)
        return pa.csv.read_csv(reader) if path.endswith(".csv") else pq.read_table(reader)
    except pa.ArrowInvalid as error:
        raise SamplesMissing(path, f"it is not a table: {error}") from None


def place_contract(
    candidate: Candidate, folder: Path, wheel: str, *, card: str | None = None, lock: str | None = None
) -> None:
    """Write ``serving.json`` and have it checked, the request schema and the samples it names included.

    Raises :class:`~lockgate.serving.contract.ContractError`.
    """
    from lockgate.serving.contract import SCHEMA, SERVING, read_contract

    serving = candidate.policy.serving
    assert serving is not None  # noqa: S101 - asked for by the caller
    told = {
        "schema": SCHEMA,
        "wheel": wheel,
        "entry": serving.entry,
        "model": candidate.model_name,
        "request": REQUEST,
        "samples": SAMPLES,
        "card": card,
        "lock": lock,
    }
    write(folder / SERVING, as_json({key: value for key, value in told.items() if value is not None}))
    read_contract(folder)


def as_json(value: Any) -> bytes:
    """Return JSON that is the same for the same value."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write(path: Path, content: bytes | Path) -> None:
    """Write a file with these bytes, or those of another file, and the folders it is in."""
    import shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)


# --- the judgement


@dataclass(frozen=True)
class _Judged:
    result: Result
    environments: Mapping[str, tuple[GateOutcome, ...]]


def _judge(candidate: Candidate, prepared: "Prepared") -> _Judged:
    """Compare with the release before, and ask the gates: the policy's own, then those of each environment."""
    before = None
    if candidate.base is not None:
        version, commit = candidate.base
        label = f"{candidate.name}@{version}"
        # releases are judged by the policy of today, not of the release before
        today = {policy.FILE: candidate.snapshot.read(policy.FILE)}
        before = git.Overlay(git.Commit(candidate.root, label, commit), today)
    lock = LockStatus("reproduced" if prepared.level == "full" else "local")
    result = report.build(candidate.root, before, candidate.snapshot, lock=lock, model=candidate.model_of_several)
    asked = {place.name: place.gates for place in candidate.policy.environments if place.gates}
    outcomes: dict[str, tuple[GateOutcome, ...]] = {}
    if asked:
        every = tuple(gate for gates_ in asked.values() for gate in gates_)
        sides = scoped(report.base_state(before)[0], read_state(candidate.snapshot), candidate.model_of_several)
        found = findings.find(candidate.root, *sides, more=tuple(dict.fromkeys(every)))
        by_rule = {outcome.rule: outcome for outcome in report.readable(found.gates)}
        own = candidate.policy
        outcomes = {name: tuple(by_rule[gate.sentence(own)] for gate in wanted) for name, wanted in asked.items()}
    return _Judged(result, outcomes)


def _own_slices(candidate: Candidate) -> Any:
    """Return the slices of a first release: compared with itself, for the figures alone."""
    told = candidate.policy.predictions
    if told is None or not told.slices:
        return ()
    return findings.find(candidate.root, candidate.state, candidate.state).judged.slices


# --- the facts


def _facts(candidate: Candidate, prepared: "Prepared", judged: _Judged, about: About) -> dict[str, Any]:
    outcomes = [_outcome(gate) for gate in judged.result.gates]
    outcomes += [
        {**_outcome(gate), "environment": name} for name, found in judged.environments.items() for gate in found
    ]
    stages = candidate.state.lock.stages.values()
    recorded = {record.path: record for stage in stages for record in stage.outs.values()}
    return {
        "tag": candidate.tag,
        "commit": candidate.commit,
        "base": None if candidate.base is None else dict(zip(("version", "commit"), candidate.base, strict=True)),
        "pipeline": {path: sha256(candidate.snapshot.read(path) or b"") for path in _pipeline_files(candidate)},
        "data": dict(about.data),
        "outputs": {path: record.digest for path, record in sorted(recorded.items())},
        "params": _params(candidate.state),
        "metrics": {one.name: _plain(one.head) for one in judged.result.metrics},
        "gates": outcomes,
        "environment": {**about.environment, **_python(candidate)},
        "rebuild": {
            "level": prepared.level,
            "outputs": prepared.outputs,
            **ran_with(prepared),
            **(_tolerated(candidate.policy.rebuild) if prepared.level != "none" else {}),
        },
        **({OPAQUE: True} if candidate.policy.opaque else {}),
    }


def _tolerated(rebuild: policy.Rebuilding) -> dict[str, Any]:
    """Return which outputs the rebuild did not compare byte for byte. As declared, not as it happened to come out: the
    same commit gives the same manifest."""
    tolerated = {one.path: str(one) for one in rebuild.tolerate}
    return {
        **({"tolerated": tolerated} if tolerated else {}),
        **({"left_out": [*rebuild.leave_out]} if rebuild.leave_out else {}),
    }


def ran_with(prepared: "Prepared") -> dict[str, str]:
    """Return what the stages of a rebuild ran with, as manifest and provenance state it; empty if none was run."""
    ran = prepared.ran_with
    if ran is None:
        return {}
    found = {"dependencies": ran.dependencies, "python": ran.python, "network": "open" if ran.network else "none"}
    found |= {"isolation": ran.isolation} if ran.isolation is not None else {}
    return found | ({"lock": ran.lock} if ran.lock is not None else {})


def _dependencies(candidate: Candidate, prepared: "Prepared", locks: Mapping[str, str]) -> dict[str, Any]:
    """Return the fact that says from which locks of the build its dependencies are installed; empty without any."""
    told = candidate.policy.dependencies
    if told is None:
        return {}
    samples = "locked" if prepared.locked_samples else "current"
    found: dict[str, Any] = {"lock": locks[told.lock], "python": told.python, "samples": samples}
    found |= {"build": locks[told.build]} if told.build is not None else {}
    return {"dependencies": found | ({"kept": prepared.kept} if prepared.kept is not None else {})}


def _outcome(gate: GateOutcome) -> dict[str, Any]:
    return {"rule": gate.rule, "measured": gate.measured, "passed": gate.passed, "reason": gate.reason}


def _python(candidate: Candidate) -> dict[str, str]:
    content = candidate.snapshot.read(PYTHON)
    return {} if content is None else {PYTHON: content.decode(errors="replace").strip()}


def _about(candidate: Candidate, prepared: "Prepared", folder: Path) -> About:
    state = candidate.state
    artifact = candidate.artifact
    files = {path: (folder / path).stat().st_size for path in _digests(folder)}
    return About(
        name=candidate.name,
        version=candidate.version,
        description=str(artifact.get("desc") or ""),
        labels=tuple(str(label) for label in artifact.get("labels") or ()),
        commit=candidate.commit,
        date=candidate.time.date().isoformat(),
        level=prepared.level,
        previous=None if candidate.base is None else candidate.base[0],
        files={path: length for path, length in files.items() if path.split("/")[0] == candidate.model_name},
        params={file: dict(_leaves(values)) for file, values in _params(state).items()},
        data=_sources(state),
        environment={path: sha256(candidate.snapshot.read(path) or b"") for path in _environment(candidate)},
        opaque=candidate.policy.opaque,
        tolerated=str(candidate.policy.rebuild) if prepared.level != "none" else "",
    )


def _sources(state: State) -> dict[str, str]:
    """Return path → DVC's hash of the data that stages read and none makes."""
    made = state.pipeline.producers
    found = {path: record.digest for path, record in state.pipeline.data.items()}
    for stage in state.lock.stages.values():
        for path, record in stage.deps.items():
            if path not in made and state.pipeline.role(path) == "data":
                found[path] = record.digest
    return dict(sorted(found.items()))


def _environment(candidate: Candidate) -> list[str]:
    """Return the files that say which packages the stages run with."""
    pipeline = candidate.state.pipeline
    paths = {path for stage in pipeline.stages for path in stage.deps if pipeline.role(path) == "environment"}
    return sorted(path for path in paths if candidate.snapshot.read(path) is not None)


def _pipeline_files(candidate: Candidate) -> list[str]:
    """Return every ``dvc.yaml`` that declares a stage, and the lock beside it."""
    files = sorted({stage.file for stage in candidate.state.pipeline.stages})
    return [path for file in files for path in (file, str(PurePosixPath(file).with_name("dvc.lock")))]


def _copy_locks(candidate: Candidate, folder: Path) -> dict[str, str]:
    """Copy what the rebuild of this commit hangs on, and return path → name in the build of the environment's files.

    Raises :class:`~lockgate.dependencies.lock.LockRefused` where the policy names a lock that the commit lacks.
    """
    told = candidate.policy.dependencies
    locked_by(candidate.snapshot)
    named = [path for path in (told.lock, told.build) if path is not None] if told is not None else []
    environment = list(dict.fromkeys([*_environment(candidate), *named]))
    params = {item.file for stage in candidate.state.pipeline.stages for item in stage.params}
    wanted = [*_pipeline_files(candidate), *sorted(params), policy.FILE, *environment]
    names = {path: PurePosixPath(path).name for path in wanted}
    for path, name in names.items():
        content = candidate.snapshot.read(path)
        if content is not None:
            names[path] = name if list(names.values()).count(name) == 1 else path
            write(folder / names[path], content)
    return {path: names[path] for path in environment}


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as content:
                found[path.relative_to(folder).as_posix()] = file_digest(content, "sha256").hexdigest()
    return found


def _params(state: State) -> dict[str, Any]:
    """Return file → key → value of every parameter that the lock says a stage ran with, fit for a manifest."""
    found: dict[str, dict[str, Any]] = {}
    for stage in state.lock.stages.values():
        for file, values in stage.params.items():
            found.setdefault(file, {}).update({str(key): _plain(value) for key, value in values.items()})
    return dict(sorted(found.items()))


def _plain(value: Any) -> Any:
    """Return a value without fractions and other things of more than one spelling in JSON: these as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return str(value)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the text of every single value."""
    if isinstance(value, dict) and value:
        for key, item in sorted(value.items()):
            yield from _leaves(item, f"{place}.{key}".lstrip("."))
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
