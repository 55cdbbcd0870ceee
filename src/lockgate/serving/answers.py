"""What a model answers: a probability, the probabilities of several classes, or a number with or without an interval.

A build says it in ``request.json`` beside the columns of a request, such as ``{"answer": {"kind": "number"}}``. A build
that says nothing answers one probability, as all did before. Between the model's process and the service an answer is
so many numbers a request (:attr:`Answer.columns`); words and classes are put together here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kind = Literal["probability", "classes", "number"]
SUM = 1e-6
"""How far the probabilities of all classes may be from 1 in their sum."""


class AnswerError(ValueError):
    """What a build says of its answers cannot be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The kind of an answer. ``classes`` are those of kind ``classes``, in the order of the model's numbers; with
    ``interval``, the share of true values that the interval of a ``number`` is to hold, there is a low and a high end.
    """

    kind: Kind = "probability"
    classes: tuple[str, ...] = ()
    interval: float | None = None

    @classmethod
    def of(cls, told: Any) -> "Answer":
        """Return what ``answer`` of ``request.json`` says, ``None`` for nothing. Raises :class:`AnswerError`."""
        if told is None:
            return cls()
        if not isinstance(told, Mapping) or set(told) - {"kind", "classes", "interval"}:
            raise AnswerError("answer: takes kind, classes and interval")
        kind, classes, interval = told.get("kind"), told.get("classes", ()), told.get("interval")
        if kind not in ("probability", "classes", "number"):
            raise AnswerError(f"answer.kind: is {kind!r}, not probability, classes or number")
        named = isinstance(classes, list | tuple) and all(isinstance(one, str) and one for one in classes)
        if not named or len(set(classes)) != len(classes) or (kind == "classes") != (len(classes) > 1):
            raise AnswerError("answer.classes: two or more different texts, for the kind classes alone")
        share = isinstance(interval, int | float) and not isinstance(interval, bool) and 0 < interval < 1
        if interval is not None and (kind != "number" or not share):
            raise AnswerError("answer.interval: a share between 0 and 1, for the kind number alone")
        return cls(kind, tuple(classes), None if interval is None else float(interval))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers that the model gives for one request."""
        if self.kind == "classes":
            return tuple(f"probability_{name}" for name in self.classes)
        if self.kind == "number":
            return ("prediction",) if self.interval is None else ("prediction", "low", "high")
        return ("probability",)

    def for_worker(self) -> dict[str, Any]:
        """Return what the model's process is told."""
        return {"kind": self.kind, "width": len(self.columns)}

    def shaped(self, numbers: "Floats") -> "Floats":
        """Return the numbers of a batch with a row for each request; of one number a request they stay a line."""
        return numbers if len(self.columns) == 1 else numbers.reshape(-1, len(self.columns))

    def fields(self, answers: "Floats") -> dict[str, Any]:
        """Return what an HTTP answer says beside its id and release."""
        if self.kind == "probability":
            return {"probabilities": answers.tolist()}
        if self.kind == "number":
            if self.interval is None:
                return {"predictions": answers.tolist()}
            return {"predictions": answers[:, 0].tolist(), "intervals": answers[:, 1:].tolist()}
        rows = [dict(zip(self.classes, row, strict=True)) for row in answers.tolist()]
        return {"predictions": self._classes(answers), "probabilities": rows}

    @property
    def none(self) -> "pa.Table":
        """The table of no answer at all: which columns a batch of scores has, and of which types."""
        import numpy as np

        return self.table(np.empty((0, len(self.columns))))

    def table(self, answers: "Floats") -> "pa.Table":
        """Return the answers as the columns that a batch of scores has."""
        import pyarrow as pa

        numbers = answers.reshape(len(answers), len(self.columns))
        columns: dict[str, Any] = {name: pa.array(numbers[:, place]) for place, name in enumerate(self.columns)}
        if self.kind == "classes":
            columns = {"prediction": pa.array(self._classes(answers), pa.string()), **columns}
        return pa.table(columns)

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what :meth:`fields` gives."""
        number = {"type": "number"}
        numbers = {"type": "array", "items": number, "description": "one for each request, in their order"}
        if self.kind == "probability":
            return {"probabilities": numbers}
        if self.kind == "number":
            told: dict[str, Any] = {"predictions": numbers}
            if self.interval is not None:
                ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
                told["intervals"] = {
                    "type": "array",
                    "items": ends,
                    "description": f"low and high end, which are to hold {self.interval:.0%} of the true values",
                }
            return told
        each = {"type": "object", "properties": dict.fromkeys(self.classes, number), "required": list(self.classes)}
        return {
            "predictions": {
                "type": "array",
                "items": {"enum": list(self.classes)},
                "description": "the likeliest class",
            },
            "probabilities": {"type": "array", "items": each, "description": "of each class"},
        }

    def _classes(self, answers: "Floats") -> list[str]:
        return [self.classes[place] for place in answers.argmax(axis=1).tolist()]

    def problem(self, values: Sequence[float]) -> str:
        """Say why the numbers of one request are no answer of this kind; empty if they are one."""
        if len(values) != len(self.columns):
            return f"has {len(values)} numbers, not {len(self.columns)}"
        if not all(math.isfinite(value) for value in values):
            return "is not a finite number"
        if self.kind != "number" and not all(0 <= value <= 1 for value in values):
            return "is not a probability"
        if self.kind == "classes" and abs(sum(values) - 1) > SUM:
            return f"has probabilities that sum to {sum(values):.6g}"
        if self.interval is not None and values[1] > values[2]:
            return "has an interval whose low end is above its high end"
        return ""


def one_of(answer: Mapping[str, Any], number: int) -> float | str:
    """Return the probability of one request in an HTTP answer, or, of another kind, what was answered to it as JSON."""
    probabilities = answer.get("probabilities")
    if "predictions" not in answer and isinstance(probabilities, list):
        return float(probabilities[number])
    told = {"prediction": answer["predictions"][number]}
    if "intervals" in answer:
        told |= dict(zip(("low", "high"), answer["intervals"][number], strict=True))
    if isinstance(probabilities, list):
        told["probabilities"] = probabilities[number]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def rows_in(answer: Mapping[str, Any]) -> int:
    """Return how many requests an HTTP answer is of."""
    return len(answer["predictions"] if "predictions" in answer else answer["probabilities"])
