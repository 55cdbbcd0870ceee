import json
from pathlib import Path

import pytest
from tests.lockgate import samples

from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.rendering.render import FORMATS, render
from lockgate.result import read_result


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(samples.carrier_hurt().to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_a_recorded_result_looks_like_the_one_that_was_recorded(
    recorded: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(recorded), "--format", form]) == 0
    assert capsys.readouterr().out == render(samples.carrier_hurt(), form)


@pytest.mark.parametrize("form", FORMATS)
def test_a_result_is_rendered_to_a_file_byte_for_byte(recorded: Path, form: str) -> None:
    output = recorded.with_name("output")
    assert main(["render", str(recorded), "--format", form, "--output", str(output)]) == 0
    assert output.read_bytes() == render(samples.carrier_hurt(), form).encode()


@pytest.mark.parametrize("form", FORMATS)
def test_timings_can_be_left_out_of_every_format(recorded: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["render", str(recorded), "--format", form, "--no-timings"])
    shown = capsys.readouterr().out
    assert "24.3" not in shown
    assert "24 s" not in shown
    assert shown == render(samples.carrier_hurt(), form, timings=False)


def test_text_is_the_usual_format(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["render", str(recorded)])
    assert capsys.readouterr().out == render(samples.carrier_hurt(), "text")


def test_a_file_that_is_no_result_is_refused_by_the_place_that_does_not_fit(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = json.loads(recorded.read_text(encoding="utf-8"))
    broken["metrics"][1]["judgement"] = "great"
    recorded.write_text(json.dumps(broken), encoding="utf-8")
    assert main(["render", str(recorded)]) == 1
    error = capsys.readouterr().err
    assert "metrics.1.judgement" in error
    assert "'better'" in error


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "EOF"), (b"{", "EOF"), (b"\xff\xfe", "expected value"), (b"[]", "object"), (b"{}", "model: Field required")],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(LockgateError) as caught:
        read_result(path.read_bytes())
    assert "lockgate.result/1" in str(caught.value)
    assert said.lower() in str(caught.value).lower()


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(tmp_path / "nowhere.json")]) == 3
    error = capsys.readouterr().err
    assert "nowhere.json: No such file" in error
    assert "lockgate report" in error


def test_an_output_that_cannot_be_written_is_named(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(recorded), "--output", str(recorded.parent / "no" / "such" / "folder.md")]) == 3
    assert "folder.md" in capsys.readouterr().err


def test_an_unknown_format_is_wrong_usage(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(recorded), "--format", "pdf"]) == 2
    assert "'md'" in capsys.readouterr().err or "md" in capsys.readouterr().err
