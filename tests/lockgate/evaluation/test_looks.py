"""Looks at one test set: which one it is, what a look costs, and what is said once all are taken."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from benchmarks import study_looks
from tests.lockgate import modelled, samples

from lockgate.evaluation import looks, procedure, statistics
from lockgate.evaluation.compare import Side
from lockgate.evaluation.predictions import File, Refused
from lockgate.policy import PolicyError, TestSet, read_policy
from lockgate.rendering.render import render
from lockgate.result import Looks, MetricChange, read_result

POLICY = modelled.policy()
WHAT = POLICY.predictions
assert WHAT is not None


def named(table: pa.Table, file: str = "p.parquet") -> str:
    sink = pa.BufferOutputStream()
    (pq.write_table if file.endswith("parquet") else pa.csv.write_csv)(table, sink)
    return looks.identity(WHAT, File("base", file, sink.getvalue().to_pybytes()))


def rows(**columns: object) -> pa.Table:
    return pa.table(
        {
            "date": ["2013-10-01", "2013-10-02", "2013-10-02"],
            "flight": [7, 7, 11],
            "late": [True, False, True],
            "probability": [0.1, 0.2, 0.3],
            **columns,
        }
    )


def test_a_test_set_is_its_keys_and_labels_in_any_order_and_any_format() -> None:
    known = named(rows())

    assert named(rows(probability=[0.5, 0.6, 0.7])) == known
    assert named(rows().take([2, 0, 1])) == known
    assert named(rows(late=[1, 0, 1])) == named(rows(late=[1.0, 0.0, 1.0])) == known
    assert named(rows(flight=pa.array([7, 7, 11], pa.int16()))) == known
    assert named(rows(date=pa.array(["2013-10-01", "2013-10-02", "2013-10-02"]).dictionary_encode())) == known
    assert named(rows(late=[1, 0, 1]), "p.csv") == known


@pytest.mark.parametrize(
    "other",
    [
        rows(late=[True, True, True]),
        rows(flight=[7, 7, 12]),
        rows().slice(0, 2),
        rows(date=["2013-10-01", "2013-10-02", "2013-10-027"], flight=[7, 7, 1]),
        rows(date=["2013-11-01", "2013-11-02", "2013-11-02"]),
    ],
)
def test_another_row_key_or_label_is_another_test_set(other: pa.Table) -> None:
    assert named(other) != named(rows())


def test_a_test_set_with_keys_of_many_columns_is_named_as_well() -> None:
    many = np.arange(20_000)
    what = replace(WHAT, key=tuple("abcde"))
    table = pa.table({name: (many * step) % 20_011 for name, step in zip("abcde", (1, 3, 5, 7, 11), strict=True)})
    table = table.append_column("late", pa.array(many % 2 == 0))

    def of(rows: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink)
        return looks.identity(what, File("base", "p.parquet", sink.getvalue().to_pybytes()))

    assert of(table.take(many[::-1])) == of(table)
    assert of(table.set_column(4, "e", pa.array(many[::-1]))) != of(table)


def test_a_file_without_the_columns_is_no_test_set() -> None:
    with pytest.raises(Refused):
        named(rows().drop_columns(["late"]))
    assert looks.name_of(WHAT, Side({}, b"no Parquet")) == ""


def test_a_policy_that_plans_looks_spends_its_confidence_in_equal_parts() -> None:
    planned = read_policy(f"{modelled.POLICY}test_set: {{looks: 50, confidence: 0.95}}\n")

    assert planned.test_set == TestSet(50, 0.95)
    assert looks.confidence(planned) == pytest.approx(0.999)
    assert read_policy(f"{modelled.POLICY}test_set: {{}}\n").test_set == TestSet(50, 0.95)
    assert looks.confidence(POLICY) == 0.95


@pytest.mark.parametrize("said", ["looks: 0", "looks: 5.5", "confidence: 1", "confidence: 0.4", "look: 3"])
def test_a_plan_that_cannot_be_is_refused(said: str) -> None:
    with pytest.raises(PolicyError):
        read_policy(f"{modelled.POLICY}test_set: {{{said}}}\n")


def test_every_interval_has_the_confidence_that_is_asked_for_and_agrees_with_its_p_value() -> None:
    generator = np.random.default_rng(3)
    label = generator.random(300) < 0.5
    base, head = (np.clip(label * 0.2 + 0.7 * generator.random(300), 0, 1) for _ in range(2))
    cluster = np.arange(300) % 40
    for metric in ("roc_auc", "brier", "average_precision", "calibration_error", "accuracy"):
        usual = statistics.compare(metric, label, base, head, cluster)
        with statistics.at_confidence(1 - usual.p):
            edge = statistics.compare(metric, label, base, head, cluster)
        assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9), metric
        with statistics.at_confidence(0.999):
            assert statistics.compare(metric, label, base, head, cluster).high > usual.high
    same = (np.full(300, 0.2), np.full(300, 0.3))
    with statistics.at_confidence(0.999):
        nothing = statistics.compare("accuracy", label, *same)
        once = procedure.Models((0.5,), np.zeros((40, 1)))
        assert procedure.estimate(once, once, np.arange(40), procedure.Spread(1.0, 9)).high > 6
    assert nothing.high == pytest.approx(1 - 0.0005 ** (1 / 300))  # Clopper and Pearson's bound


def change(name: str, p: float, judgement: str = "better") -> MetricChange:
    return MetricChange(name, "higher", 0.7, 0.8, 0.1, 0.01, 0.2, judgement, "DeLong", p=p)  # type: ignore[arg-type]


def test_better_and_worse_of_several_metrics_are_corrected_only_where_looks_are_planned() -> None:
    planned = replace(POLICY, test_set=TestSet(50, 0.95))
    found = (change("a", 0.0009), change("b", 0.0004, "worse"), change("c", 0.9, "noise"))

    assert looks.called_together(POLICY, found) == found
    told = looks.called_together(planned, found)  # 3 times 0.0004 is above 0.001
    assert [one.judgement for one in told] == ["noise", "noise", "noise"]
    alone = looks.called_together(planned, (change("a", 0.0009),))
    assert alone[0].judgement == "better"


PLANNED = Looks(12, 50, 0.95, "prepare.through", '"2013-12"')
SAID = [
    (Looks(1), "Look 1 at this test set."),
    (Looks(12), "**Look 12** at this test set. Nothing is corrected for that: of 12 changes"),
    (Looks(12), "with a probability of about 26 %"),
    (Looks(51), "⚠️ **Look 51** at this test set."),
    (PLANNED, "**Look 12 of 50** at this test set. The intervals are 99.9 %"),
    (PLANNED, 'A new value of `prepare.through` (now `"2013-12"`) brings'),
    (Looks(51, 50), "⚠️ **Look 51 of 50** at this test set: more than were planned"),
    (Looks(None, 50, note="git refused"), "⚠️ How often this test set was looked at is not known: git refused."),
]


@pytest.mark.parametrize(("found", "said"), SAID)
def test_a_comment_says_which_look_it_is(found: Looks, said: str) -> None:
    result = samples.better_model()
    wider = replace(result, comparison=replace(result.comparison, confidence=0.999))

    comment = render(looks.told(wider if found.planned else result, found), "md")

    assert said in comment
    assert ("change, 99.9 % interval" in comment) == (found.planned is not None)


@pytest.mark.parametrize("found", [Looks(51, 50), Looks(None, 50, note="git refused")])
def test_after_the_last_planned_look_what_passes_is_provisional(found: Looks) -> None:
    result = samples.better_model()

    assert looks.told(result, found).verdict.outcome == "attention"
    assert "provisional" in looks.told(result, found).verdict.reason
    assert looks.told(result, Looks(50, 50)).verdict == result.verdict
    assert looks.told(result, replace(found, planned=None)).verdict == result.verdict
    assert looks.told(samples.failing_gate(), found).verdict == samples.failing_gate().verdict


def test_a_result_with_looks_is_read_as_it_was_written_and_one_of_before_has_none() -> None:
    result = looks.told(samples.better_model(), Looks(3, 50))
    assert read_result(result.to_json()) == result
    older = json.loads(samples.better_model().to_json())
    del older["looks"], older["comparison"]["confidence"], older["comparison"]["test_set"]
    for metric in older["metrics"]:
        del metric["p"]
    assert read_result(json.dumps(older)) == samples.better_model()


# --- simulated: the long version is benchmarks/study_looks.py


def test_the_best_of_fifty_changes_that_change_nothing_is_not_called_better_where_looks_are_planned() -> None:
    (found,) = study_looks.study(8, short=True)

    assert found["planned"] <= 2 / 8
    assert found["not planned"] >= 3 / 8


def test_somebody_who_reads_every_figure_finds_what_is_not_there_and_words_alone_do_not_lead_there() -> None:
    """The adversary that docs/statistics.md names as not covered."""
    world = study_looks.World(1, 2000, None)
    said = study_looks.chosen_by_reports(world, study_looks.planned(TestSet(50, 0.95)))
    assert said == ("better", "noise")
