"""``gates``: the rules that have to hold, each of a kind of :mod:`lockgate.gates`."""

from typing import TYPE_CHECKING, Any

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.gates import CURRENT, KINDS, DataChecksPass, Gap, Gate, Improves, NoRegression
from lockgate.policy.metrics import check_metric
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@values.takes({"oneOf": [kind.schema() for kind in KINDS.values()]})
def gate(place: str, value: Any) -> Gate:
    """Read one gate."""
    given = values.mapping(place, value)
    if "kind" not in given:
        raise PolicyError(f"{place}.kind", f"is missing: one of {', '.join(CURRENT)}")
    kind = KINDS[_kind(f"{place}.kind", given["kind"])]
    read = values.section(place, given, {"kind": Key(values.text), **kind.keys()})
    return kind(**{key: item for key, item in read.items() if key != "kind"})


def _kind(place: str, value: Any) -> str:
    if not isinstance(value, str) or value not in KINDS:
        hint = nearest(value, list(KINDS)) if isinstance(value, str) else ""
        raise PolicyError(place, f"must be one of {', '.join(CURRENT)}", value, hint)
    return value


SECTION = Key(values.list_of(gate), False, "the rules that have to hold: docs/gates.md")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where a gate asks for what the policy does not have."""
    check_gates(policy, "gates", policy.gates)


def check_gates(policy: "Policy", place: str, gates: tuple[Gate, ...]) -> None:
    """Raise :class:`PolicyError` where one of these gates asks for what the policy does not have."""
    columns = list(policy.predictions.slices) if policy.predictions else []
    for index, gate in enumerate(gates):
        here = f"{place}[{index}]"
        metric, sliced = getattr(gate, "metric", None), gate.sliced_metric() is not None
        if metric is not None:
            shown = sliced or isinstance(gate, NoRegression | Improves)  # only an interval shows it
            check_metric(policy, f"{here}.metric", metric, statistic=shown, function=not sliced)
        if isinstance(gate, DataChecksPass) and policy.validation is None:
            raise PolicyError(here, "data checks need `validation:`, the file that holds them")
        if sliced and not columns:
            raise PolicyError(here, "slices need `predictions:` with `slices:`, the columns to slice by")
        for key in ("columns", "slices"):
            for column in getattr(gate, key, ()):
                if column not in columns:
                    raise PolicyError(f"{here}.{key}", "not a slice column", column, nearest(column, columns))
        if isinstance(gate, Gap) and not gate.slices:
            raise PolicyError(f"{here}.slices", "must name at least one slice column")
