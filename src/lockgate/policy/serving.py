"""``serving``: what a release carries so that it can be served."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from lockgate import policy_values as values
from lockgate.policy.request_parts import RequestPart, request_parts
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Serving:
    """What a release carries so that it can be served: the wheel of the project in the folder ``code``.

    ``entry`` (``package.module:function``) loads the model file, ``request`` says what a request looks like; rows of
    the table ``samples`` become the sample requests whose answers are recorded. ``unknown_categories`` says what a
    service does with a value that the model was not trained on. See docs/serving.md.

    ``key`` says by which columns a request is known again when its outcome comes; ``retention`` how long the record of
    scores keeps it (``None``: for ever). See docs/outcomes.md.
    """

    code: str
    entry: str
    request: str
    samples: str
    unknown_categories: Literal["count", "refuse"] = "count"
    key: tuple[RequestPart, ...] = ()
    retention: timedelta | None = None


KEYS = {
    "code": Key(values.path, help="the folder of the package that loads the model"),
    "entry": Key(values.function, help="the function that loads the model file: `package.module:function`"),
    "request": Key(values.function, help="the function that says what a request looks like"),
    "samples": Key(values.path, help="the table whose rows become the sample requests of a release"),
    "unknown_categories": Key(
        values.one_of("count", "refuse"), False, "what a service does with a value that the model was not trained on"
    ),
    "key": Key(
        request_parts,
        False,
        "the columns by which a request is known again when its outcome comes, such as `[{date: departure}, flight]`",
    ),
    "retention": Key(values.duration, False, "how long the record of scores keeps a request (default: for ever)"),
}

SECTION = Key(values.noun(Serving, KEYS), False, "what a release carries so that it can be served")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where a model that is never loaded is to be served."""
    if policy.opaque and policy.serving is not None:
        raise PolicyError("serving", "an opaque model is never loaded, so it cannot be served: leave one of them out")
