"""The HTTP interface: one FastAPI application for each release, made from its schema, and what stands before them all.

A body is parsed by the release's own strict parser straight from its bytes. Every refusal is JSON: what was wrong and,
where it was a field, which one and why. Nothing of a request's content is ever logged.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lockgate import policy
from lockgate.errors import LockgateError
from lockgate.serving import answers as answers_
from lockgate.serving.page import POLICY, describe
from lockgate.serving.process import ModelFailed
from lockgate.serving.record import RecordFull
from lockgate.serving.service import LOG, Service, Serving

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

SHOWN = 20  # findings listed in one refusal
COUNTED = 1000  # with more than so many, none is listed: it would take longer than to answer
METHODS = {
    "/v1/predict": "POST",
    **dict.fromkeys(("/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/"), "GET"),
}
OPEN = frozenset({"/healthz", "/readyz"})  # what asks them has no token: load balancers, Kubernetes


class Finding(BaseModel):
    """One field that was refused."""

    field: str = Field(description="where: `distance`, or `[3].distance` in the fourth of several requests")
    why: str


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: str
    fields: list[Finding] = []


class Answered(BaseModel):
    """What every answer says: which release it is of. What the model answers is beside it."""

    id: str = Field(description="the name of this answer in the record of scores")
    release: str
    build: str = Field(description="SHA-256 of the build's manifest")


class Answer(Answered):
    """Probabilities, and which release they are of."""

    probabilities: list[float] = Field(description="one for each request, in their order")


class Readiness(BaseModel):
    """What answers, and what is not as it should be."""

    ready: bool
    degraded: bool
    release: str
    build: str
    entry: int | None
    problems: dict[str, dict[str, Any]]


class Refused(Exception):  # noqa: N818 - becomes a Refusal
    """A request is not answered, with ``status`` and why."""

    def __init__(self, status: int, error: str, fields: list[Finding] | None = None) -> None:
        """Say why."""
        super().__init__(error)
        self.status = status
        self.refusal = Refusal(error=error, fields=fields or [])


def make_app(  # noqa: C901 - a list of handlers
    service: Service, serving: Serving
) -> FastAPI:
    """Return the application of one release."""
    found, contract = serving.found, serving.loadable.contract
    limits, one, many = service.limits, contract.request.one, contract.request.many(service.limits.rows)
    if limits.unknown_fields == "ignore":
        one, many = contract.request.one_of_any, contract.request.many(limits.rows, unknown="ignore")
    app = FastAPI(
        title=found.build.release.name,
        version=found.build.release.version,
        summary=f"From a raw request to {_NAMES[contract.request.answer.kind]}.",
        docs_url=None,
        redoc_url=None,
    )
    card = (serving.loadable.folder / contract.card).read_text(encoding="utf-8") if contract.card else ""
    names = {"release": found.release, "build": found.digest}
    answers = contract.request.answer
    known = {column.name: frozenset(column.categories) for column in contract.request.columns if column.categories}
    optional = tuple(column.name for column in contract.request.columns if column.optional)
    refuses = _refuses_unknown(serving)

    @app.post(
        "/v1/predict",
        response_model=Answer if answers.kind == "probability" else Answered,
        responses=_responses(answers),
        openapi_extra={"requestBody": _request_body(serving, limits.rows)},
        summary="Score one request, or several",
    )
    async def predict(request: Request) -> Response:
        begin = time.perf_counter()
        if service.closed:
            raise Refused(503, service.closed)
        body = await _body(request, service)
        try:
            rows = _parse(body, one, many)
            _count_unknown(rows, known, service, refuse=refuses)
            found_answers = await serving.engine.predict(rows)
        except ModelFailed as error:
            LOG.error("%s", error)
            raise Refused(500, "the model failed on this request") from None
        finally:
            service.held -= len(body)
        answer = {"id": uuid.uuid4().hex, **names, **answers.fields(found_answers)}
        if service.recorder is not None:
            try:
                took = (time.perf_counter() - begin) * 1000
                await service.recorder.add(answer, many.dump_json(rows), took)
            except RecordFull as error:
                raise Refused(503, f"{error}: a score that cannot be recorded is not given") from None
        service.metrics.rows.inc(len(rows))
        service.metrics.scored(rows, answer["probabilities"] if answers.kind == "probability" else [], optional)
        service.metrics.seconds.observe(time.perf_counter() - begin)
        return Response(json.dumps(answer), media_type="application/json")

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(describe(serving, card), headers={"Content-Security-Policy": POLICY})

    @app.get("/v1/model", summary="What answers: release, digests, card")
    async def model() -> dict[str, Any]:
        return _model(serving, card)

    @app.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, bool]:
        return {"alive": True}

    @app.get(
        "/readyz",
        summary="Requests are answered; by what, and what is wrong",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "The model's process is being started again"}},
    )
    async def readyz() -> Response:
        told = _ready(service)
        return JSONResponse(told, 200 if told["ready"] else 503)

    @app.get("/metrics", summary="Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return _refusal(error.status, error.refusal)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return _refusal(error.status_code, Refusal(error=_misdirected(request, error)), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return _refusal(400, Refusal(error="the caller closed the connection"))

    return app


class CurrentApplication:
    """The ASGI application before those of the releases: it picks the current one, once for each request.

    With ``tokens`` (SHA-256 of each), a request needs one of them as a bearer token.
    """

    def __init__(self, service: Service, tokens: Collection[bytes] = ()) -> None:
        """Dispatch to what ``service`` runs."""
        self.service = service
        self.tokens = tuple(tokens)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Have the current release answer."""
        if scope["type"] != "http":
            return
        serving = self.service.current
        path, status = scope["path"] if scope["path"] in METHODS else "other", 500
        if self.tokens and path not in OPEN and not self._admits(scope):
            answer = _refusal(
                401,
                Refusal(error="a bearer token is needed: Authorization: Bearer TOKEN"),
                {"WWW-Authenticate": "Bearer"},
            )
            await answer(scope, receive, send)
            self.service.metrics.requests.labels(path, "401").inc()
            return

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        serving.begin()
        try:
            await serving.app(scope, receive, watched)
        except Exception:  # noqa: BLE001 - the caller gets an answer, the log the traceback
            LOG.exception("an error of the service itself")
            if status == 500:
                await _refusal(500, Refusal(error="an error of the service itself"))(scope, receive, send)
        finally:
            serving.end()
            self.service.metrics.requests.labels(path, str(status)).inc()

    def _admits(self, scope: "Scope") -> bool:
        """Say whether the request has one of the tokens. Takes as long whichever it is, and whether it is one."""
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
        digest = hashlib.sha256(given).digest()
        admitted = False
        for token in self.tokens:  # all of them, although one fits
            admitted |= hmac.compare_digest(digest, token)
        return admitted


async def _body(request: Request, service: Service) -> bytearray:
    """Return the body, whose size is counted in ``service.held`` from here on. Raises :class:`Refused`."""
    limits = service.limits
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the content type has to be application/json")
    too_large = Refused(413, f"the body has more than {limits.body:,} bytes; `lockgate score` takes files of any size")
    if int(request.headers.get("content-length") or 0) > limits.body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                service.held += len(chunk)
                if len(body) > limits.body:
                    raise too_large
                if service.held > limits.held:
                    raise Refused(503, "too much is being answered at once; try again in a second")
    except TimeoutError:
        service.held -= len(body)
        raise Refused(408, f"the body did not arrive within {limits.body_seconds:g} seconds") from None
    except BaseException:
        service.held -= len(body)
        raise
    return body


def _parse(body: bytearray, one: Any, many: Any) -> list[dict[str, Any]]:
    several = body.lstrip()[:1] == b"["
    try:
        rows: list[dict[str, Any]] = many.validate_json(body) if several else [one.validate_json(body)]
        json.loads(body, object_pairs_hook=_without_duplicates)
        return rows
    except _Duplicate as error:
        raise Refused(422, f"{error}: the field is there twice", [Finding(field=str(error), why="twice")]) from None
    except ValidationError as error:
        if error.error_count() > COUNTED:
            raise Refused(422, f"{error.error_count():,} fields are missing, unknown or wrong") from None
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if found[0]["type"] == "json_invalid":
            raise Refused(400, found[0]["msg"]) from None
        fields = [Finding(field=_field(item["loc"]), why=_why(item)) for item in found[:SHOWN]]
        raise Refused(422, f"{fields[0].field}: {fields[0].why}".removeprefix(": "), fields) from None


class _Duplicate(Exception):  # noqa: N818 - becomes a Refusal
    """A key of an object is there twice; which of the two is meant nobody can know."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({key for key, _ in pairs}) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key[:200])
            seen.add(key)


_NAMES = {"probability": "a probability", "classes": "the probability of each class", "number": "a number"}


def _responses(answers: answers_.Answer) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of each answer; of a model that gives no single probability, its own fields."""
    told: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": text} for status, text in _REFUSALS.items()
    }
    if answers.kind != "probability":
        schema = Answered.model_json_schema()
        schema["properties"] |= answers.json_schema()
        schema["required"] = [*schema["required"], *answers.json_schema()]
        told[200] = {"content": {"application/json": {"schema": schema}}, "description": "The answers"}
    return told


def _refuses_unknown(serving: Serving) -> bool:
    """Say whether the policy in the build refuses values that the model was not trained on."""
    try:
        models = policy.read_models((serving.loadable.folder / policy.FILE).read_bytes())
        told = models.belonging_to(serving.loadable.name.partition("@")[0]).serving
    except (OSError, LockgateError):
        return False
    return told is not None and told.unknown_categories == "refuse"


def _count_unknown(
    rows: list[dict[str, Any]], known: Mapping[str, frozenset[str]], service: Service, *, refuse: bool
) -> None:
    """Count the values that the model was not trained on. Raises :class:`Refused` where they are to be refused."""
    for column, categories in known.items():
        unknown = 0
        for number, row in enumerate(rows):
            value = row.get(column)
            if value is not None and value not in categories:
                unknown += 1
                if refuse:
                    where = f"[{number}].{column}" if len(rows) > 1 else column
                    why = f"is none of the {len(categories):,} values that the model was trained on"
                    service.metrics.unknown.labels(column).inc()
                    raise Refused(422, f"{where}: {why}", [Finding(field=where, why=why)])
        if unknown:
            service.metrics.unknown.labels(column).inc(unknown)


def _misdirected(request: Request, error: HTTPException) -> str:
    """Return what is wrong with the path or the method, and which would be right."""
    path = request.url.path[:200]
    if error.status_code == 405 and path in METHODS:
        return f"{path} is asked with {METHODS[path]}, not with {request.method}"
    if error.status_code == 404:
        near = get_close_matches(path, METHODS, n=1, cutoff=0.5)
        right = near[0] if near else "/v1/predict"
        return (
            f"there is no such path; {METHODS[right]} {right} is the nearest"
            if near
            else (f"there is no such path; requests are scored by {METHODS[right]} {right}, and / lists the others")
        )
    return str(error.detail)


def _field(place: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")[:200]


def _why(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "a request has no such field"
    if item["type"] == "too_long" and not item["loc"]:
        return f"{item['msg']}; `lockgate score` takes files of any length"
    return str(item["msg"]).removeprefix("Value error, ")


def _model(serving: Serving, card: str) -> dict[str, Any]:
    found = serving.found
    return {
        "name": found.build.release.name,
        "version": found.build.release.version,
        "release": found.release,
        "build": found.digest,
        "environment": found.entry.environment if found.entry else None,
        "entry": found.number or None,
        "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in found.build.manifest.files],
        "serving_since": serving.since,
        "dependencies": "locked" if serving.loadable.own_dependencies else "current",
        "differs_from_lock": list(serving.differences),
        "request": serving.loadable.contract.request.json_schema(),
        "card": card,
    }


def _ready(service: Service) -> dict[str, Any]:
    found = service.current.found
    problems: dict[str, Any] = {what: dict(said) for what, said in service.problems.items()}
    if service.recorder is not None and service.recorder.problem:
        waiting = service.recorder.size
        problems["record"] = {"what": f"scores cannot be delivered: {service.recorder.problem}", "bytes": waiting}
    return {
        "ready": service.current.engine.alive and not service.closed,
        "degraded": bool(problems),
        "release": found.release,
        "build": found.digest,
        "entry": found.number or None,
        "problems": problems,
    }


def _refusal(status: int, refusal: Refusal, headers: Any = None) -> JSONResponse:
    # what is left of the body is not read: the connection ends with the answer
    close = {"Connection": "close"} if status in {401, 408, 413, 415, 503} else {}
    again = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse(refusal.model_dump(), status, {**(headers or {}), **close, **again})


_REFUSALS = {
    400: "Not JSON",
    401: "No bearer token, where one is needed",
    408: "The body came too slowly",
    413: "Too many bytes",
    415: "Not application/json",
    422: "A field is missing, unknown or of another type: which and why; or there are too many requests",
    500: "The model failed",
    503: "Too much at once, or the record of scores is full; Retry-After says when to come again",
}


def _request_body(serving: Serving, most: int) -> dict[str, Any]:
    request = serving.loadable.contract.request
    one = request.json_schema()
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": most}
    example = dict(request.example)
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [one, several]},
                "examples": {"one": {"value": example}, "several": {"value": [example, example]}},
            }
        },
    }
