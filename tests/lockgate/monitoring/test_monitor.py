"""Windows of recorded scores: calm ones are calm, losses are seen, and whatever is wrong with a record is told."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.lockgate.monitoring import monitored
from tests.lockgate.monitoring.monitored import BUILD, FIRST, RELEASE, asked, by_day, entry, rows

from lockgate.monitoring.finding import Finding
from lockgate.monitoring.monitor import Report, monitor
from lockgate.monitoring.quality import Live
from lockgate.monitoring.reference import Reference

EACH = 300
NOW = datetime.fromisoformat("2026-05-01T06:00")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return monitored.promise(tmp_path_factory.mktemp("promise"), each=EACH)


@pytest.fixture(scope="module")
def live() -> pa.Table:
    """Three weeks as promised."""
    return rows(FIRST, 21, EACH, 2)


def report(tables: list[pa.Table], reference: Reference | None, now: datetime = NOW, **more: Any) -> Report:
    log = more.pop("log", [entry()])
    return monitor(tables, asked(now, **more), lambda *_: reference, log)


def metric(finding: Finding, name: str) -> Live:
    [found] = [one for one in finding.parts[-1].metrics if one.metric == name]
    return found


def put(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def test_calm_weeks_are_calm_and_say_what_was_promised(reference: Reference, live: pa.Table) -> None:
    found = report(by_day(live), reference)
    assert [one.verdict for one in found.findings] == ["calm"] * 3
    assert [one.rows for one in found.findings] == [7 * EACH] * 3
    assert not found.pages
    assert [note[:6] for note in found.notes] == ["volume"]  # it takes three weeks of requests
    for finding in found.findings:
        auc = metric(finding, "roc_auc")
        promised = reference.metric("roc_auc")
        assert promised is not None
        assert auc.promised == pytest.approx(promised.figure)
        assert auc.low is not None
        assert auc.high is not None
        assert auc.figure is not None
        assert auc.low < auc.figure < auc.high
        assert auc.found == "noise"
        assert all(one.meaning in ("unchanged", "harmless") for one in finding.parts[0].drift)


def test_a_loss_is_seen_and_a_change_that_does_no_damage_is_called_that(reference: Reference) -> None:
    worse = report(by_day(rows(FIRST, 14, EACH, 3, blind=0.5)), reference).findings[-1]
    assert worse.verdict in ("look", "alarm")
    assert metric(worse, "roc_auc").found == "worse"
    windy = rows(FIRST, 14, EACH, 4, wind=1.5)
    told = pc.is_valid(windy["wind"])
    moved = report(by_day(windy), reference).findings[-1].parts[0]
    assert pc.sum(told).as_py() > 0
    wind = next(one for one in moved.drift if one.column == "wind")
    assert wind.low > 0.05
    assert wind.meaning in ("harmless", "beside a loss")
    first = [one.column for one in moved.drift][:2]
    assert first == ["", "wind"]  # the score, then what weighs most


def test_what_is_worse_for_the_baseline_as_well_is_not_worse_beside_it(reference: Reference, live: pa.Table) -> None:
    """More true rows than ever, for model and baseline alike: the loss rises, the excess hardly."""
    luck = np.random.default_rng(0)
    label = np.maximum(live["label"].to_numpy(), luck.random(live.num_rows) < 0.2)
    found = report(by_day(put(live, "label", pa.array(label))), reference).findings[-1]
    absolute, relative = metric(found, "log_loss"), metric(found, "log_loss_over_baseline")
    assert absolute.found == "worse"
    assert absolute.change is not None
    assert relative.change is not None
    assert abs(relative.change) < 0.35 * absolute.change


def test_weeks_that_are_harder_for_every_model_are_calm_and_said_to_be_that(reference: Reference) -> None:
    """Every request is riskier, and the model knows it: the loss rises, ranks and calibration hold."""
    table = rows(FIRST, 14, EACH, 5)
    odds = np.log(table["probability"].to_numpy() / (1 - table["probability"].to_numpy())) + 0.8
    risk = 1 / (1 + np.exp(-odds))
    label = (np.random.default_rng(1).random(len(risk)) < risk).astype(np.float64)
    harder = put(put(table, "probability", pa.array(risk)), "label", pa.array(label))
    found = report(by_day(harder), reference).findings[-1]
    assert [one.metric for one in found.parts[0].worse] == ["log_loss"]
    assert found.verdict == "calm"
    assert any("Weather, not decay" in note for note in found.notes)
    decayed = report(by_day(rows(FIRST, 14, EACH, 3, blind=0.5)), reference).findings[-1]
    assert not any("Weather" in note for note in decayed.notes)


def test_an_estimate_says_how_far_off_it_was(reference: Reference, live: pa.Table) -> None:
    part = report(by_day(live), reference).findings[-1].parts[0]
    for one in part.estimates:
        assert one.off is not None
        assert abs(one.off) < 0.05
    blind = report(by_day(rows(FIRST, 14, EACH, 3, blind=0.9)), reference).findings[-1].parts[0]
    [auc] = [one for one in blind.estimates if one.metric == "roc_auc"]
    assert auc.off is not None
    assert auc.off > 0.1  # it cannot see what happens


def test_a_release_without_a_reference_is_shown_and_nothing_is_promised_of_it(live: pa.Table) -> None:
    found = report(by_day(live), None)
    assert any("no reference.json" in note for note in found.notes)
    assert [one.promised for one in found.findings[0].parts[0].metrics] == [None] * 5
    assert {one.found for one in found.findings[0].parts[0].metrics} == {"unknown"}


def swapped(live: pa.Table) -> list[pa.Table]:
    """The second release takes over on the second Wednesday at noon."""
    noon = datetime.combine(FIRST + timedelta(days=9), datetime.min.time()) + timedelta(hours=12)
    later = pc.greater(live["time"], pa.scalar(noon))
    release = pc.if_else(later, "flight-delay@v1.1.0", RELEASE)
    table = put(live, "release", release)
    return by_day(put(table, "build", pc.if_else(later, "c" * 64, BUILD)))


def no_outcomes(live: pa.Table) -> list[pa.Table]:
    return by_day(put(live, "label", pa.nulls(live.num_rows, pa.float64())))


def wrong_labels(live: pa.Table) -> list[pa.Table]:
    label = live["label"].to_numpy().copy()
    label[::10] = 7.0
    return by_day(put(live, "label", pa.array(label)))


def repeated(live: pa.Table) -> list[pa.Table]:
    return [pa.concat_tables([day, day]).sort_by([("time", "ascending"), ("id", "ascending")]) for day in by_day(live)]


def ahead(live: pa.Table) -> list[pa.Table]:
    far = pa.array(live["time"].to_numpy()[-5:] + np.timedelta64(400, "D"), pa.timestamp("us"))
    return [*by_day(live), put(live.slice(live.num_rows - 5), "time", far)]


def early(live: pa.Table) -> list[pa.Table]:
    past = pa.array(live["time"].to_numpy()[:5] - np.timedelta64(3, "D"), pa.timestamp("us"))
    return [put(live.slice(0, 5), "time", past), *by_day(live)]


def of_text(live: pa.Table) -> list[pa.Table]:
    return by_day(put(live, "label", pa.array(["late"] * live.num_rows)))


BAD: dict[str, tuple[Callable[[pa.Table], list[pa.Table]], str]] = {
    "an empty day": (lambda live: [day for n, day in enumerate(by_day(live)) if n != 9], "no score on 2026-03-11"),
    "a week without outcomes": (no_outcomes, "no outcome of its 2,100 scores is known"),
    "labels that are none": (wrong_labels, "210 outcomes neither 0 nor 1"),
    "labels of text": (of_text, "2,100 outcomes neither 0 nor 1"),
    "scores recorded twice": (repeated, "2,100 scores recorded twice"),
    "a clock ahead": (ahead, "5 scores with a time in the future"),
    "a clock behind": (early, "before it was promoted"),
    "two releases": (swapped, "2 releases answered one after the other"),
    "a column that is gone": (lambda live: by_day(live.drop_columns(["wind"])), "lacks columns"),
    "no probability": (
        lambda live: by_day(put(live, "probability", pc.if_else(pc.equal(live["n"], 5), None, live["probability"]))),
        "1 answer of another kind",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_with_a_record_is_told_and_the_rest_is_judged(
    what: str, reference: Reference, live: pa.Table
) -> None:
    spoil, expected = BAD[what]
    log = [entry(), entry("v1.1.0", FIRST + timedelta(days=9), 2)]
    found = report(spoil(live), reference, log=log)
    told = [*found.notes, *(note for one in found.findings for note in one.notes)]
    assert any(expected in note for note in told), told
    calm = report(by_day(live), reference)
    assert not any(expected in note for note in [*calm.notes, *(n for one in calm.findings for n in one.notes)])
    assert sum(one.rows for one in found.findings) >= live.num_rows - EACH - 5
    outcomes = what not in ("a week without outcomes", "labels of text")
    usual = "alarm" if what == "a column that is gone" else "calm"
    assert found.findings[-1].verdict == (usual if outcomes else "not judged")


def test_each_release_of_a_window_is_judged_by_itself(reference: Reference, live: pa.Table) -> None:
    log = [entry(), entry("v1.1.0", FIRST + timedelta(days=9), 2)]
    found = report(swapped(live), reference, log=log).findings
    assert [[part.release for part in one.parts] for one in found] == [
        [RELEASE],
        [RELEASE, "flight-delay@v1.1.0"],
        ["flight-delay@v1.1.0"],
    ]
    assert sum(part.rows for part in found[1].parts) == 7 * EACH
    stranger = report(swapped(live), reference)
    assert sum(one.rows for one in stranger.findings) < live.num_rows
    assert any("never promoted to production" in note for note in stranger.notes)


def test_a_window_is_judged_when_its_outcomes_had_their_time_and_is_left_out_before_it_is_over(
    reference: Reference, live: pa.Table
) -> None:
    """Outcomes take two days: the week that ends on Monday is judged from Wednesday on."""
    early = report(by_day(live), reference, datetime.fromisoformat("2026-03-17T23:00")).findings
    assert [(one.mature, one.verdict) for one in early] == [(True, "calm"), (False, "not judged")]
    later = report(by_day(live), reference, datetime.fromisoformat("2026-03-18T00:00"))
    assert [one.verdict for one in later.findings] == ["calm", "calm"]
    assert any("not judged yet: it is not over" in note for note in later.notes)


@pytest.mark.parametrize("size", [700, EACH, 10_000])
def test_windows_of_rows_have_so_many_rows_each_and_none_is_lost(
    size: int, reference: Reference, live: pa.Table
) -> None:
    found = report(by_day(live), reference, kind="rows", rows=size)
    assert [one.rows for one in found.findings] == [size] * (live.num_rows // size)
    left = live.num_rows % size
    assert any(f"the {left:,} score" in note for note in found.notes) == bool(left)
    days = report(by_day(live), reference, kind="day")
    assert [one.rows for one in days.findings] == [EACH] * 21


def test_pieces_of_days_give_the_same_as_whole_days(reference: Reference, live: pa.Table) -> None:
    """Sums are added up in another order, so the last digits may differ."""
    whole = report(by_day(live), reference).findings
    cut = [live.slice(start, 97) for start in range(0, live.num_rows, 97)]
    cut = [piece for part in cut for piece in by_day(part)]
    pieces = report(cut, reference).findings
    assert [one.rows for one in pieces] == [one.rows for one in whole]
    for one, other in zip(whole, pieces, strict=True):
        for name in ("roc_auc", "log_loss", "calibration_error"):
            assert metric(other, name).figure == pytest.approx(metric(one, name).figure, abs=2e-5)
        assert [d.share for d in other.parts[0].drift] == pytest.approx([d.share for d in one.parts[0].drift], abs=1e-9)
        assert json.dumps(other.told(), default=str)


def test_clusters_that_are_many_share_groups_and_rows_alone_have_an_interval_of_their_own(
    reference: Reference, live: pa.Table
) -> None:
    from lockgate.policy import RequestPart

    many = report(by_day(live), reference, clusters=(RequestPart("n"),)).findings[-1]
    alone = report(by_day(live), reference, clusters=(), alone=True).findings[-1]
    lengths = []
    for found in (many, alone):
        auc = metric(found, "roc_auc")
        assert auc.low is not None
        assert auc.high is not None
        lengths.append(auc.high - auc.low)
    assert lengths[0] == pytest.approx(lengths[1], rel=0.35)  # every row is a cluster of its own
