"""How a build came to be (an in-toto statement with SLSA provenance v1) and what is in it (CycloneDX components).

Both are part of the signed build, and the same commit gives the same bytes on every machine: they name no host, no
clock and no person. Who built and when is the release's record and signature; the only time here is the commit's.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lockgate import __version__
from lockgate.dependencies.lock import Lock, OddLine, Pin

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:lockgate:release:1"
BUILDER: Final = "urn:lockgate:release"
_NAMESPACE: Final = "urn:lockgate:build:"


@dataclass(frozen=True, slots=True)
class Source:
    """What a build was made of: the tag that asked, the commit and its time, how far it was rebuilt.

    ``ran_with`` says what the stages of the rebuild ran with: dependencies, interpreter, network. ``data`` is path →
    MD5 (as DVC records it; a folder's ends in ``.dir``) of every input that no stage makes.
    """

    tag: str
    name: str
    version: str
    commit: str
    time: datetime
    level: str
    data: Mapping[str, str]
    ran_with: Mapping[str, str] = field(default_factory=dict)


def statement(source: Source, files: Mapping[str, str]) -> bytes:
    """Return the in-toto statement about ``files`` (path → SHA-256).

    The packages, parameters and pipeline are named by the digests of their files, which are subjects themselves.
    """
    inputs = [{"name": "source", "digest": {"gitCommit": source.commit}}]
    inputs += [
        {"name": path, "digest": {"md5.dir" if md5.endswith(".dir") else "md5": md5.removesuffix(".dir")}}
        for path, md5 in sorted(source.data.items())
    ]
    content = {
        "_type": STATEMENT,
        "subject": [{"name": path, "digest": {"sha256": digest}} for path, digest in sorted(files.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"tag": source.tag, "rebuild": source.level},
                "internalParameters": dict(source.ran_with),
                "resolvedDependencies": inputs,
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"lockgate": __version__}}},
        },
    }
    return _spelled(content)


def components(source: Source, files: Mapping[str, str], model: Iterable[str], locks: Iterable[Lock]) -> bytes:
    """Return the CycloneDX document: the model and the other ``files`` (path → SHA-256), the data, what ``locks`` name.

    ``model`` names those of the files that are the model itself. A line of a lock that pins no version is a component
    without one, so that nothing which may have been installed is left out.
    """
    from uuid import NAMESPACE_URL, uuid5

    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    own = set(model)
    release = Component(
        name=source.name,
        version=source.version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"{source.name}@{source.version}",
    )
    parts = [
        Component(
            name=path,
            type=ComponentType.MACHINE_LEARNING_MODEL if path in own else ComponentType.FILE,
            bom_ref=f"file:{path}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        )
        for path, digest in files.items()
    ]
    parts += [
        Component(
            name=path,
            type=ComponentType.DATA,
            bom_ref=f"data:{path}",
            # the digest of a folder is that of DVC's list of its files: no hash of any one file
            hashes=[] if md5.endswith(".dir") else [HashType(alg=HashAlgorithm.MD5, content=md5)],
        )
        for path, md5 in source.data.items()
    ]
    read = list(locks)
    pins = [pin for lock in read for pin in lock.pins]
    libraries = {(pin.name, pin.version): _library(pin) for pin in pins}
    for line in (line for lock in read for line in lock.odd if line.kind != "option"):
        libraries.setdefault((line.name, line.text), _unpinned(line))
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{_NAMESPACE}{source.commit}:{source.tag}:{source.level}"),
        metadata=BomMetaData(component=release, timestamp=source.time.astimezone(UTC)),
        components=[*parts, *libraries.values()],
    )
    needed = {pin.name for pin in pins if pin.via}
    bom.register_dependency(release, [*parts, *(one for (name, _), one in libraries.items() if name not in needed)])
    for (name, _), library in libraries.items():
        needs = dict.fromkeys((pin.name, pin.version) for pin in pins if name in pin.via)
        bom.register_dependency(library, [libraries[one] for one in needs])
    return _spelled(json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()))


def _library(pin: Pin) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    address = PackageURL("pypi", None, pin.name, pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        purl=address,
        bom_ref=str(address),
    )


def _unpinned(line: OddLine) -> "Component":
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=line.name,
        type=ComponentType.LIBRARY,
        bom_ref=f"requirement:{line.text}",
        properties=[Property(name="lockgate:requirement", value=line.text)],
    )


def _spelled(content: Any) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
