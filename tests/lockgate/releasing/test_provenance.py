import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from lockgate.dependencies.lock import Lock, Pin, read_lock
from lockgate.releasing.provenance import PREDICATE, STATEMENT, Source, components, statement

SOURCE = Source(
    tag="delay@v1.2.0",
    name="delay",
    version="v1.2.0",
    commit="0123456789abcdef0123456789abcdef01234567",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    level="full",
    data={"raw.csv": "d" * 32, "images": "e" * 32 + ".dir"},
)
FILES = {"model.skops": "a" * 64, "delay-1.0-py3-none-any.whl": "b" * 64, "dvc.lock": "c" * 64}
PINS = (Pin("numpy", "2.0", via=("pandas",)), Pin("pandas", "2.2"), Pin("six", "1.16", via=("pandas",)))
LOCKS = [Lock("p.lock", PINS)]
ODD = """\
--index-url https://user:word@example.org/simple
-e .
numpy==2.0.0 --hash=sha256:00
PyYAML[extra]==6.0 ; python_version < "4"
six===1.16.0
private-lib @ https://user:word@example.org/private_lib-1.2-py3-none-any.whl?token=1
unpinned
"""


def bom(source: Source = SOURCE, locks: list[Lock] = LOCKS) -> dict[str, Any]:
    return json.loads(components(source, FILES, ["model.skops"], locks))  # type: ignore[no-any-return]


def test_the_statement_is_one_that_in_totos_own_library_accepts() -> None:
    from google.protobuf.json_format import Parse  # type: ignore[import-untyped]
    from in_toto_attestation.v1 import statement_pb2  # type: ignore[import-untyped]

    found = Parse(statement(SOURCE, FILES), statement_pb2.Statement())
    assert {subject.name: subject.digest["sha256"] for subject in found.subject} == FILES
    assert (found.type, found.predicate_type) == (STATEMENT, PREDICATE)


def test_the_predicate_has_the_fields_of_slsa_provenance() -> None:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2  # type: ignore[import-untyped]

    told = json.loads(statement(SOURCE, FILES))["predicate"]
    found = ParseDict(told, provenance_pb2.Provenance())
    assert found.build_definition.build_type.startswith("urn:lockgate:")
    assert found.run_details.builder.id
    assert [(one.name, dict(one.digest)) for one in found.build_definition.resolved_dependencies] == [
        ("source", {"gitCommit": SOURCE.commit}),
        ("images", {"md5.dir": "e" * 32}),
        ("raw.csv", {"md5": "d" * 32}),
    ]
    assert told["buildDefinition"]["externalParameters"] == {"tag": "delay@v1.2.0", "rebuild": "full"}


def test_the_components_pass_cyclonedx_own_schema() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = components(SOURCE, FILES, ["model.skops"], LOCKS).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_file_input_and_package_is_a_component_with_its_hash_or_address() -> None:
    found = {one["name"]: one for one in bom()["components"]}
    assert found.keys() == {*FILES, *SOURCE.data, "numpy", "pandas", "six"}
    assert found["model.skops"]["type"] == "machine-learning-model"
    assert found["model.skops"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert found["raw.csv"]["hashes"] == [{"alg": "MD5", "content": "d" * 32}]
    assert "hashes" not in found["images"]
    assert found["numpy"]["purl"] == "pkg:pypi/numpy@2.0"


def test_who_needs_a_package_is_told() -> None:
    needs = {one["ref"]: one.get("dependsOn", []) for one in bom()["dependencies"]}
    assert needs["pkg:pypi/pandas@2.2"] == ["pkg:pypi/numpy@2.0", "pkg:pypi/six@1.16"]
    assert "pkg:pypi/pandas@2.2" in needs["delay@v1.2.0"]
    assert "pkg:pypi/six@1.16" not in needs["delay@v1.2.0"]


def test_the_same_commit_gives_the_same_bytes_whatever_clock_and_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(SOURCE, time=SOURCE.time.astimezone(timezone(timedelta(hours=9))))
    first = components(SOURCE, FILES, ["model.skops"], LOCKS), statement(SOURCE, FILES)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    turned = dict(reversed(FILES.items()))
    assert components(elsewhere, turned, ["model.skops"], [Lock("p.lock", PINS[::-1])]) == first[0]
    assert statement(elsewhere, turned) == first[1]


def test_another_commit_tag_or_level_is_another_document() -> None:
    others = [replace(SOURCE, commit="f" * 40), replace(SOURCE, tag="delay@v1.2.1"), replace(SOURCE, level="none")]
    assert len({bom(one)["serialNumber"] for one in (SOURCE, *others)}) == 4


def test_no_line_of_a_lock_that_may_have_installed_something_is_left_out() -> None:
    lock = read_lock(ODD, "p.lock")
    found = {one["name"]: one for one in bom(locks=[lock])["components"]}
    assert found.keys() >= {"numpy", "pyyaml", "six", "private-lib", "unpinned", "."}
    assert found["six"]["version"] == "1.16.0"
    assert "version" not in found["unpinned"]
    assert found["private-lib"]["properties"] == [
        {
            "name": "lockgate:requirement",
            "value": "private-lib @ https://example.org/private_lib-1.2-py3-none-any.whl",
        }
    ]


def test_two_versions_for_two_platforms_are_two_components() -> None:
    lock = read_lock("a==1 ; sys_platform == 'linux'\na==2 ; sys_platform == 'win32'\n", "p.lock")
    assert [one["version"] for one in bom(locks=[lock])["components"] if one["name"] == "a"] == ["1", "2"]
