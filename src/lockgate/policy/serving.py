"""``serving``: what a release carries so that it can be served."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.policy.request_parts import RequestPart, request_parts
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


Format = Literal["skops", "lightgbm", "xgboost", "onnx"]
FORMATS: tuple[Format, ...] = ("skops", "lightgbm", "xgboost", "onnx")
PLAIN_ENTRY, PLAIN_REQUEST = "lockgate_plain:load", "lockgate_plain:schema"
"""The functions of the wheel that Lockgate makes for a plain model."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A model that needs no code of its own: the ``format`` of its file, and the ``features``, columns of the samples
    in the model's order. ``classes`` are those of a multiclass model, in the order of its probabilities; ``trusted``
    are types that skops may build beside its own."""

    format: Format
    features: tuple[str, ...]
    classes: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Serving:
    """What a release carries so that it can be served: the wheel of the project in the folder ``code``.

    ``entry`` (``package.module:function``) loads the model file, ``request`` says what a request looks like; rows of
    the table ``samples`` become the sample requests whose answers are recorded. ``unknown_categories`` says what a
    service does with a value that the model was not trained on. See docs/serving.md.

    With ``plain`` there is no package of one's own: the release gets the loader of the model's format.

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
    plain: Plain | None = None


PLAIN_KEYS = {
    "format": Key(values.one_of(*FORMATS), help="what the model file is"),
    "features": Key(values.list_of(values.text), help="the columns of the samples that the model takes, in its order"),
    "classes": Key(
        values.list_of(values.text), False, "multiclass: the classes, in the order of the model's probabilities"
    ),
    "trusted": Key(values.list_of(values.text), False, "skops: types that may be built beside its own"),
}
KEYS = {
    "plain": Key(
        values.noun(Plain, PLAIN_KEYS), False, "a model that needs no code of its own, in place of code, entry, request"
    ),
    "code": Key(values.path, False, "the folder of the package that loads the model"),
    "entry": Key(values.function, False, "the function that loads the model file: `package.module:function`"),
    "request": Key(values.function, False, "the function that says what a request looks like"),
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


@values.takes(
    {
        **values.schema_of_section(KEYS),
        "anyOf": [{"required": ["plain"]}, {"required": ["code", "entry", "request"]}],
    }
)
def _serving(place: str, value: Any) -> Serving:
    read = values.section(place, value, KEYS)
    own = [name for name in ("code", "entry", "request") if name in read]
    if "plain" in read:
        if own:
            raise PolicyError(f"{place}.{own[0]}", "is for a model with code of its own: leave it or `plain` out")
        read |= {"code": "", "entry": PLAIN_ENTRY, "request": PLAIN_REQUEST}
    for name in ("code", "entry", "request"):
        if name not in read:
            raise PolicyError(f"{place}.{name}", "is missing: name it, or serve the model without code by `plain`")
    return Serving(**read)


SECTION = Key(_serving, False, "what a release carries so that it can be served")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where a model that is never loaded is to be served."""
    if policy.opaque and policy.serving is not None:
        raise PolicyError("serving", "an opaque model is never loaded, so it cannot be served: leave one of them out")
