import json
import re
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate import cli
from lockgate.envelope import envelope

COMMANDS = Path(cli.__file__).parent / "commands"


def test_the_schema_comes_first_and_what_json_lacks_is_null() -> None:
    text = envelope("plan", {"rows": (1, float("nan")), "by": {"x": float("-inf")}, "é": 0.5})

    assert text.splitlines()[1] == '  "schema": "lockgate.plan/1",'
    assert json.loads(text) == {"schema": "lockgate.plan/1", "rows": [1, None], "by": {"x": None}, "é": 0.5}


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (["plan", "--json"], "lockgate.plan/1"),
        (["run", "--dry-run", "--json"], "lockgate.plan/1"),
        (["rebuild", "--level", "none", "--json"], "lockgate.rebuild/1"),
        (["ci", "admit", "--dry-run", "--json"], "lockgate.admit/1"),
    ],
)
def test_json_of_a_command_is_one_object_that_names_its_schema(
    ran: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], schema: str
) -> None:
    with (ran.root / ".dvc/config").open("a") as config:
        config.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")

    assert cli.main(arguments) == 0

    assert json.loads(capsys.readouterr().out)["schema"] == schema


def test_no_command_writes_json_of_its_own() -> None:
    writers = {path.name for path in COMMANDS.glob("*.py") if re.search(r"json\.dumps?\(", path.read_text())}

    # `show` writes single values of a manifest into its page; `pull-request` blacks out secrets in a result
    assert writers <= {"show.py", "pull_request.py"}
