"""How a build came to be (an in-toto statement with SLSA provenance v1) and what is in it (CycloneDX components).

Both are part of the signed build, and the same commit gives the same bytes on every machine: they name no host, no
clock and no person. Who built and when is the release's record and signature; the only time here is the commit's.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lockgate import __version__

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

    ``data`` is path → MD5 (as DVC records it; a folder's ends in ``.dir``) of every input that no stage makes.
    """

    tag: str
    name: str
    version: str
    commit: str
    time: datetime
    level: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package of a lock: normalised name, version, and the packages that need it (``via``)."""

    name: str
    version: str
    via: tuple[str, ...] = ()


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
                "internalParameters": {},
                "resolvedDependencies": inputs,
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"lockgate": __version__}}},
        },
    }
    return _spelled(content)


def components(source: Source, files: Mapping[str, str], model: Iterable[str], packages: Iterable[Package]) -> bytes:
    """Return the CycloneDX document: the model and the other ``files`` (path → SHA-256), the data, the ``packages``.

    ``model`` names those of the files that are the model itself.
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
    pinned = list(packages)
    libraries = {package.name: _library(package) for package in pinned}
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{_NAMESPACE}{source.commit}:{source.tag}:{source.level}"),
        metadata=BomMetaData(component=release, timestamp=source.time.astimezone(UTC)),
        components=[*parts, *libraries.values()],
    )
    first = [library for package in pinned for library in [libraries[package.name]] if not package.via]
    bom.register_dependency(release, [*parts, *first])
    for name, library in libraries.items():
        bom.register_dependency(library, [libraries[one.name] for one in pinned if name in one.via])
    return _spelled(json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()))


def read_packages(lock: str) -> list[Package]:
    """Return the packages that a requirements file pins (``name==version``), as pip-tools and uv write it.

    Who needs a package is read from the comments ``# via``; a lock without them gives none.
    """
    found: list[Package] = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", f"\n{lock}"):
        pin = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", block)
        if pin:
            comment = block.partition("# via")[2]
            via = {normalised(name) for name in re.findall(r"^[\s#]*([A-Za-z0-9][A-Za-z0-9._-]*)\s*$", comment, re.M)}
            found.append(Package(normalised(pin[1]), pin[2], tuple(sorted(via))))
    known = {package.name for package in found}
    return [Package(one.name, one.version, tuple(name for name in one.via if name in known)) for one in found]


def normalised(name: str) -> str:
    """Return the name of a package as the Python Packaging Authority spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _library(package: Package) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    address = PackageURL("pypi", None, package.name, package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=address,
        bom_ref=str(address),
    )


def _spelled(content: Any) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
