"""``params.yaml``: what is wrong is said in one line; what is right is read as DVC reads it."""

from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml
from pydantic import ValidationError
from tests.flight_delay.small_pipeline import ROOT

from flight_delay.errors import StageError
from flight_delay.params import Files, Params, Section, WindowLength, load_params, read_yaml
from flight_delay.tables import RAW_TABLES

TEXT = (ROOT / "params.yaml").read_text()
TRAIN_WINDOW = next(line for line in TEXT.splitlines(keepends=True) if line.startswith("  train: {"))
LEARNING_RATE = "  learning_rate: 0.1\n"


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def complaint(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(StageError) as refusal:
        load_params(file)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


WRONG = {
    "misspelt key": (
        "learning_rate:",
        "learnig_rate:",
        "unknown key 'train.learnig_rate'; did you mean 'learning_rate'?",
    ),
    "misspelt section": ("\ntrain:", "\ntrian:", "unknown key 'trian'; did you mean 'train'?"),
    "misspelt table": (" planes: {", " plans: {", "unknown key 'ingest.files.plans'; did you mean 'planes'?"),
    "misspelt deep key": (
        "{name: weather.csv",
        "{nmae: weather.csv",
        "unknown key 'ingest.files.weather.nmae'; did you mean 'name'?",
    ),
    "key far from all": (
        LEARNING_RATE,
        LEARNING_RATE + "  zzz: 1\n",
        "unknown key 'train.zzz'; known are l2_regularization, learning_rate, max_features, max_iter, max_leaf_nodes, "
        "min_samples_leaf, seed",
    ),
    "missing key": (LEARNING_RATE, "", "'train.learning_rate' is missing."),
    "missing window": (TRAIN_WINDOW, "", "'prepare.train' is missing."),
    "text for a number": ("0.1\n", "fast\n", "'train.learning_rate' is 'fast': should be a valid number."),
    "number in quotes": ("0.1\n", '"0.05"\n', "'train.learning_rate' is '0.05': should be a valid number."),
    "truth for a number": ("0.1\n", "true\n", "'train.learning_rate' is true: should be a valid number."),
    "nothing": ("0.1\n", "\n", "'train.learning_rate' is empty: should be a valid number."),
    "list for a number": ("0.1\n", "[0.05]\n", "'train.learning_rate' is [0.05]: should be a valid number."),
    "not a number": ("0.1\n", ".nan\n", "'train.learning_rate' is nan: should be a finite number."),
    "infinite": ("10.0", ".inf", "'train.l2_regularization' is inf: should be a finite number."),
    "too large": ("0.1\n", "1.5\n", "'train.learning_rate' is 1.5: should be less than or equal to 1."),
    "zero": ("0.1\n", "0\n", "'train.learning_rate' is 0: should be greater than 0."),
    "negative": ("10.0", "-1", "'train.l2_regularization' is -1: should be greater than or equal to 0."),
    "fraction of a tree": ("150", "150.5", "'train.max_iter' is 150.5: should be a valid integer."),
    "whole number with a point": ("150", "150.0", "'train.max_iter' is 150.0: should be a valid integer."),
    "section that is a number": (
        "  expectations: expectations  # the folder of suites, one a table\n",
        "  5\n",
        "'validate' is 5: expected the keys expectations.",
    ),
    "window that is a list": (
        "{months: 9}",
        "[2013-01, 2013-09]",
        "'prepare.train' is ['2013-01', '2013-09']: expected the keys months.",
    ),
    "window of fixed months": (
        "{months: 9}", "{first: 2013-01, months: 9}", "unknown key 'prepare.train.first'; known are months"
    ),
    "window of no month": (
        "{months: 9}", "{months: 0}", "'prepare.train.months' is 0: should be greater than or equal to 1."
    ),
    "lead without a unit": ("lead: 3h ", "lead: 3 ", "'prepare.lead' is 3: expected hours from 1h to 24h, like 3h."),
    "lead of no time": ("lead: 3h ", "lead: 0h ", "'prepare.lead' is '0h': expected hours from 1h to 24h, like 3h."),
    "lead of minutes": ("lead: 3h ", "lead: 90m ", "'prepare.lead' is '90m': expected hours from 1h to 24h, like 3h."),
    "lead of more than a day": ("3h ", "25h ", "'prepare.lead' is '25h': expected hours from 1h to 24h, like 3h."),
    "a mistake that costs nothing": (
        "missed: 3.0", "missed: 0", "'evaluate.costs.missed' is 0: should be greater than 0."
    ),
    "month without a zero": ("2013-12 ", "2013-9 ", "'ingest.through' is '2013-9': expected a month, like 2013-09."),
    "thirteenth month": ("2013-12 ", "2013-13 ", "'ingest.through' is '2013-13': expected a month, like 2013-09."),
    "day": ("2013-12 ", "2013-12-01 ", "'ingest.through' is 2013-12-01: expected a month, like 2013-09."),
    "no such day": ("2013-12 ", "2013-02-30 ", "a date that does not exist: day is out of range for month."),
    "month as a number": ("2013-12 ", "201312 ", "'ingest.through' is 201312: expected a month, like 2013-09."),
    "latest where it cannot be": (
        "2013-12 ",
        "latest ",
        "'ingest.through' is 'latest': expected a month, like 2013-09.",
    ),
    "digest": (
        "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
        "5D1EA",
        "'ingest.files.weather.sha256' is '5D1EA': should match pattern '^[0-9a-f]{64}$'.",
    ),
    "source": ("source: package ", "source: '' ", "'ingest.source' is '': should have at least 1 character."),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_key_or_value_is_named_in_one_line(name: str, file: Path) -> None:
    old, new, expected = WRONG[name]
    assert complaint(file, changed(old, new)) == f"params.yaml: {expected}"


def test_of_several_faults_the_misspelt_key_is_told_first_not_the_key_it_left_missing(file: Path) -> None:
    text = changed("learning_rate: 0.1", "learnig_rate: fast").replace("max_iter: 150", "max_iter: many")
    assert "unknown key 'train.learnig_rate'" in complaint(file, text)


UNREADABLE = {
    "tab": ("  max_iter:", "\tmax_iter:", "column 1: found character '\\t' that cannot start any token."),
    "bracket left open": ("{months: 9}", "{months: 9", "column "),
    "control character": (": package", ": pack\x01age", "line 3, column 15: a character that is not allowed."),
    "object": (": package", ": !!python/name:os.system", "line 3, column 11: could not determine a constructor"),
    "two documents": ("ingest:\n", "a: 1\n---\ningest:\n", "line 3, column 1: but found another document."),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_yaml_that_cannot_be_parsed_is_named_by_line_and_column(name: str, file: Path) -> None:
    old, new, expected = UNREADABLE[name]
    message = complaint(file, changed(old, new))
    assert message.startswith("params.yaml, line ")
    assert expected in message


@pytest.mark.parametrize("name", ["seed", "learning_rate"])
def test_a_key_twice_is_refused_with_both_lines(name: str, file: Path) -> None:
    text = changed("  max_features:", f"  {name}: 1\n  max_features:")
    section = TEXT.index("\ntrain:")
    first = text[: text.index(f"  {name}:", section)].count("\n") + 1
    again = line_of(text, "  max_features:") - 1
    assert complaint(file, text) == f"params.yaml: key '{name}' stands twice, on lines {first} and {again}."


def test_a_section_twice_is_refused_with_both_lines(file: Path) -> None:
    text = TEXT + "validate: {expectations: other}\n"
    expected = f"key 'validate' stands twice, on lines {line_of(text, 'validate:')} and {text.count(chr(10))}."
    assert complaint(file, text) == f"params.yaml: {expected}"


def test_a_key_twice_inside_a_list_is_refused_too(file: Path) -> None:
    file.write_text("- {a: 1}\n- b: 1\n  'b': 2\n")
    with pytest.raises(StageError, match="key 'b' stands twice, on lines 2 and 3"):
        read_yaml(file)


def test_a_file_that_is_missing_empty_no_mapping_or_not_utf8_is_refused(file: Path) -> None:
    with pytest.raises(StageError, match=r"^params\.yaml: there is no such file\.$"):
        load_params(file)
    keys = "expected the keys ingest, validate, prepare, train, evaluate."
    assert complaint(file, "") == f"params.yaml: the file is empty: {keys}"
    assert complaint(file, "- train\n") == f"params.yaml: the file is ['train']: {keys}"
    file.write_bytes(b"ingest: \xff\n")
    with pytest.raises(StageError, match="byte 8 is not UTF-8"):
        load_params(file)


@pytest.mark.parametrize(("spelt", "minutes"), [("1h", 60), ("3h", 180), ("12h", 720), ("24h", 1440)])
def test_a_lead_is_hours_before_the_departure(spelt: str, minutes: int, file: Path) -> None:
    file.write_text(changed("lead: 3h ", f"lead: {spelt} "))
    assert load_params(file).prepare.lead_minutes == minutes


@pytest.mark.parametrize(("spelt", "meant"), [("1e-3", 0.001), ("1E-3", 0.001), ("5.0e-2", 0.05), ("1", 1.0)])
def test_a_number_is_read_as_yaml_1_2_spells_it(spelt: str, meant: float, file: Path) -> None:
    file.write_text(changed("learning_rate: 0.1", f"learning_rate: {spelt}"))
    assert load_params(file).train.learning_rate == meant


def test_every_scalar_is_read_as_dvc_reads_it(file: Path) -> None:
    scalars = [
        "1e-3",
        "0.05",
        ".5",
        "1_000",
        "0o17",
        "010",
        "1:30",
        "yes",
        "on",
        "no",
        "true",
        "2013-12",
        "2013-12-01",
        "~",
        ".inf",
        "-.5",
        "+1",
        "0x1F",
        "'1'",
        "1.",
    ]
    file.write_text("".join(f"k{n}: {scalar}\n" for n, scalar in enumerate(scalars)))
    assert read_yaml(file) == load_yaml(str(file))
    assert read_yaml(ROOT / "params.yaml") == load_yaml(str(ROOT / "params.yaml"))


def test_params_are_frozen() -> None:
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        params.train.learning_rate = 0.2  # type: ignore[misc]


def test_every_section_and_table_has_its_params() -> None:
    def sections(kind: type[Section]) -> list[type[Section]]:
        inner = [field.annotation for field in kind.model_fields.values()]
        found = [k for k in inner if isinstance(k, type) and issubclass(k, Section)]
        return [kind, *(s for k in found for s in sections(k))]

    assert list(Files.model_fields) == list(RAW_TABLES)
    assert WindowLength in sections(Params)
    for section in sections(Params):
        assert section.model_config["frozen"], section
        assert section.model_config["extra"] == "forbid", section
        assert section.model_config["strict"], section
