"""``reference``: the fixed baseline that a release keeps, by which later losses are judged."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockgate import policy_values as values
from lockgate.policy.request_parts import RequestPart, request_parts
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class ReferenceSettings:
    """The baseline of ``reference.json``: the share of true rows in each cell of the request's columns ``baseline``,
    learnt from the rows of ``table`` (``None``: from the test rows), whose column ``label`` says what happened
    (``None``: it is called as in the predictions). Without columns there is one cell: the share of all rows."""

    baseline: tuple[RequestPart, ...] = ()
    table: str | None = None
    label: str | None = None


KEYS = {
    "baseline": Key(
        request_parts,
        False,
        "the columns of a request, such as `carrier` or `{hour: scheduled_departure}`, whose shares of true rows are "
        "the baseline (default: the share of all rows)",
    ),
    "table": Key(values.path, False, "the table that the baseline is learnt from (default: the test rows)"),
    "label": Key(values.text, False, "its column of what happened (default: as the predictions call it)"),
}

SECTION = Key(
    values.noun(ReferenceSettings, KEYS), False, "the fixed baseline of `reference.json`, which a release keeps"
)


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where there are no predictions that a reference could be made from."""
    if policy.reference != ReferenceSettings() and policy.predictions is None:
        raise PolicyError("reference", "needs `predictions:`, the rows that a release is described by")
    if policy.reference.baseline and policy.serving is None:
        raise PolicyError("reference.baseline", "needs `serving:`, which says what a request is")
