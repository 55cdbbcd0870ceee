"""The store: where builds, releases and promotions live. A folder, or a bucket of an S3-compatible service.

Every write creates: ``If-None-Match: *`` on a bucket, an exclusive link in a folder. There is no write that replaces,
so two writers of one object cannot both win, and whatever a release points at stays as it was. An object appears
whole or not at all. ``delete`` exists for ``lockgate store gc`` alone.

A bucket is reached through the standard AWS environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``; a role by web identity or from the machine). Answers of
500, 503, 409 or 429 and cut connections are tried again a bounded number of times, with growing, jittered pauses. A
write whose answer was lost is met again as "already exists": equal bytes are success.

A store is not trusted with this machine's memory or time either: an answer longer than was asked for is cut off while
it comes in, one that takes longer than :class:`Patience` allows ends the request, and nothing that a store says but an
error's code reaches a message, because its text may repeat keys and tokens.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from lockgate.errors import NotAskedError, UsageError

PARALLEL = 4  # requests of one transfer in flight; with parts of 64 MiB an upload holds at most 256 MiB
SMALL_PARALLEL = 16  # the same for documents of a few kB
RANGE = 16 * 2**20  # bytes asked for at once when a file is read
DOCUMENT_LIMIT = 16 * 2**20  # bytes of the largest document read into memory
CHUNK = 2**18  # bytes taken of an answer at a time
MOST_OBJECTS = 2_000_000  # in one listing

T = TypeVar("T")


class StoreError(NotAskedError):
    """The store refused, failed, or is not there. Nothing that existed was changed."""


class ObjectMissing(StoreError):  # noqa: N818 - named for what the user reads
    """The store holds no such object."""

    def __init__(self, place: str) -> None:
        """Name the object by its full place."""
        super().__init__(f"{place} does not exist")


class ObjectDiffers(StoreError):  # noqa: N818
    """An object was to be created, and other bytes already have that name. They were left as they are."""

    exit_code = 1

    def __init__(self, place: str) -> None:
        """Name the object by its full place."""
        super().__init__(f"{place} exists already, with other content", "The store never replaces what exists.")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a listing shows it: its path in the store, its size in bytes, when the store took it in."""

    path: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done in a store with an object of one's own: create it, and replace it; ``said`` is why not."""

    create: bool
    replace: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of a file from ``offset`` on, and the object that holds them."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and the pauses between: uniform in 0 … min(``longest``, ``first`` · 2ⁿ) seconds.

    ``answer`` is how many seconds a bucket may take to answer for a document or a listing, ``transfer`` the same for a
    part of a file; after ``altogether`` seconds no further try begins.
    """

    tries: int = 8
    first: float = 0.1
    longest: float = 5.0
    answer: float = 60.0
    transfer: float = 300.0
    altogether: float = 600.0


class Store:
    """One store. Paths are relative to it, with ``/`` between the parts."""

    def __init__(self, url: str, backend: Any, bulk: Any, root: Path | None, patience: Patience) -> None:
        """Take two ``obstore`` stores, for short and for long answers; use :func:`open_store`. ``root`` is the folder,
        ``None`` for a bucket."""
        self.url = url
        self._backend = backend
        self._bulk = bulk
        self._root = root
        self._patience = patience

    def create(self, path: str, data: bytes) -> bool:
        """Create an object and return ``True``; ``False`` if it was there with the same bytes.

        Raises :class:`ObjectDiffers` if it was there with others.
        """
        import obstore

        try:
            self._ask(path, lambda: obstore.put(self._bulk, path, data, mode="create", use_multipart=False))
        except FileExistsError:
            if self._holds(path, data):
                return False
            raise ObjectDiffers(self.place(path)) from None
        if self._root is not None:
            _flush(self._root / path)
        return True

    def probe(self, path: str) -> Rights:
        """Try what may be done here with one fresh object at ``path``, and nothing else: create it, then replace it."""
        import obstore

        try:
            self.create(path, b"lockgate doctor\n")
        except StoreError as error:
            return Rights(create=False, replace=False, said=str(error))
        try:
            self._ask(path, lambda: obstore.put(self._bulk, path, b"again\n", use_multipart=False))
        except StoreError:
            return Rights(create=True, replace=False)
        return Rights(create=True, replace=True)

    def read(self, path: str, limit: int = DOCUMENT_LIMIT) -> bytes:
        """Return the bytes of a small object. Raises :class:`ObjectMissing`; :class:`StoreError` above ``limit``."""
        import obstore

        def get() -> bytes:
            answer = obstore.get(self._backend, path)
            if answer.meta["size"] > limit:
                raise StoreError(f"{self.place(path)} has {answer.meta['size']} bytes, at most {limit} are read")
            return bytes(self._taken(path, answer, answer.meta["size"]))

        return self._ask(path, get)

    def read_all(self, paths: Iterable[str]) -> list[bytes | None]:
        """Return what :meth:`read` returns for each path, ``None`` where nothing is, asking for several at a time."""

        def read(path: str) -> bytes | None:
            try:
                return self.read(path)
            except ObjectMissing:
                return None

        wanted = list(paths)
        together = max(
            1, len(wanted) // (8 * SMALL_PARALLEL)
        )  # handing over one at a time takes longer than reading it
        batches = [wanted[start : start + together] for start in range(0, len(wanted), together)]
        with ThreadPoolExecutor(SMALL_PARALLEL) as pool:
            return [data for batch in pool.map(lambda batch: [read(path) for path in batch], batches) for data in batch]

    def objects(self, prefix: str) -> list[Stored]:
        """Return every object below the folder ``prefix``, sorted by path. None is no error."""
        import obstore

        def collect() -> list[Any]:
            found: list[Any] = []
            for page in obstore.list(self._backend, prefix, chunk_size=1000):
                found += page
                if len(found) > MOST_OBJECTS:
                    raise StoreError(f"{self.place(prefix)}: the store lists more than {MOST_OBJECTS:,} objects")
            return found

        found = self._ask(prefix, collect)
        return sorted((Stored(o["path"], o["size"], o["last_modified"]) for o in found), key=lambda o: o.path)

    def first(self, prefix: str) -> str | None:
        """Return the path that sorts first below the folder ``prefix``, ``None`` if it is empty.

        One request on a bucket, however many objects there are: listings of buckets are sorted.
        """
        import obstore

        if self._root is not None:
            names = _names(self._root / prefix)
            return f"{prefix}/{min(names)}" if names else None
        page = self._ask(prefix, lambda: next(iter(obstore.list(self._backend, prefix, chunk_size=1)), None))
        return str(page[0]["path"]) if page else None

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders right below ``prefix``, sorted."""
        import obstore

        found = self._ask(prefix, lambda: obstore.list_with_delimiter(self._backend, prefix or None))
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def upload(self, source: Path, pieces: Iterable[Piece], progress: Callable[[int], None]) -> None:
        """Create the objects that hold ``pieces`` of the file ``source``, several at a time.

        ``progress`` is called with the bytes of each piece that arrived. Raises :class:`ObjectDiffers`.
        """
        descriptor = os.open(source, os.O_RDONLY)
        try:

            def send(piece: Piece) -> int:
                self.create(piece.path, os.pread(descriptor, piece.length, piece.offset))
                return piece.length

            for sent in _in_order(pieces, send, PARALLEL):
                progress(sent)
        finally:
            os.close(descriptor)

    def stream(self, pieces: Iterable[Piece]) -> Iterator[Any]:
        """Yield the bytes of the objects of ``pieces``, in order, as buffers of at most :data:`RANGE` bytes.

        Several requests are in flight, so that memory stays bounded. Raises :class:`ObjectMissing`, and
        :class:`StoreError` where an object ends before its piece does.
        """
        import obstore

        def ranges() -> Iterator[Piece]:
            for piece in pieces:
                for start in range(0, piece.length, RANGE):
                    yield Piece(piece.path, start, min(RANGE, piece.length - start))

        def get(part: Piece) -> Any:
            def ask() -> Any:
                if self._root is not None:
                    return obstore.get_range(self._bulk, part.path, start=part.offset, length=part.length)
                bounds = (part.offset, part.offset + part.length)
                return self._taken(
                    part.path, obstore.get(self._bulk, part.path, options={"range": bounds}), part.length
                )

            data = self._ask(part.path, ask)
            if len(data) != part.length:
                raise StoreError(f"{self.place(part.path)} ends before its {part.offset + part.length} bytes are full")
            return data

        return _in_order(ranges(), get, PARALLEL)

    def delete(self, path: str) -> None:
        """Remove an object nobody points at. Only ``lockgate store gc`` calls this. Absence is no error."""
        import obstore

        try:
            self._ask(path, lambda: obstore.delete(self._backend, path))
        except ObjectMissing:
            return

    def place(self, path: str) -> str:
        """Return the full name of an object, for messages."""
        return f"{self.url.rstrip('/')}/{path}" if path else self.url

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self.read(path, limit=max(len(data), DOCUMENT_LIMIT)) == data
        except ObjectMissing:  # between the refusal and this look it was collected: not what we wrote
            return False

    def _taken(self, path: str, answer: Any, most: int) -> bytearray:
        """Return the bytes of an answer as they come in. Raises :class:`StoreError` at the first beyond ``most``."""
        taken = bytearray()
        for chunk in answer.stream(min_chunk_size=CHUNK):
            taken += memoryview(chunk)
            if len(taken) > most:
                raise StoreError(f"{self.place(path)}: the store sends more than the {most:,} bytes asked for")
        return taken

    def _ask(self, path: str, request: Callable[[], T]) -> T:
        """Return the answer of one request, trying again where that may help.

        Raises :class:`ObjectMissing`, ``FileExistsError``, or a :class:`StoreError` in plain words: the library's own
        text may carry what was signed, so none of it is passed on.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
        from tenacity.wait import wait_random_exponential

        patience = self._patience
        again = Retrying(
            retry=retry_if_exception_type(_Passing),
            wait=wait_random_exponential(multiplier=patience.first, max=patience.longest),
            stop=stop_after_attempt(patience.tries) | stop_after_delay(patience.altogether),
            reraise=True,
        )
        try:
            answer: T = again(self._ask_once, path, request)
        except _Passing as failure:
            raise failure.error from None
        return answer

    def _ask_once(self, path: str, request: Callable[[], T]) -> T:
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            return request()
        except StoreError:  # it was found by us, not told by the library
            raise
        except (BaseError, OSError, ValueError) as error:
            fault, passing = self._failure(path, error)
            exists = isinstance(error, AlreadyExistsError)
        # behind the handler, so that the library's error is not even the context of ours
        if passing:
            raise _Passing(fault)
        if exists:  # a conflict is told so too, but nothing may have come of it: that was for another try
            raise FileExistsError(path)
        raise fault

    def _failure(self, path: str, error: Exception) -> tuple[StoreError, bool]:
        """Return what failed in plain words, and whether another try may help."""
        text = str(error)
        status = _found(r"status code: (\d{3})", text)
        code = _found(r"<Code>([A-Z][A-Za-z]{2,40})</Code>", text) or ""  # nothing that a key or token could be
        if any(code in secret for name, secret in os.environ.items() if name.startswith("AWS_")):
            code = ""
        said = f"{status} {code}".strip()
        passing = False
        fault: StoreError
        if code in _KNOWN:
            fact, advice = _KNOWN[code]
            fault = StoreError(f"{self.url}: {fact}", advice)
        elif isinstance(error, FileNotFoundError) or status == "404":
            fault = ObjectMissing(self.place(path))
        elif self._root is not None:
            fault = StoreError(f"{self.place(path)}: {_reason(error)}")
        elif _found(r"(/latest/(?:api|meta-data))", text):  # the last place where the library looks for some
            fault = StoreError(f"{self.url}: there are no credentials", _CREDENTIALS)
        elif status in {"401", "403"}:
            fault = StoreError(
                f"{self.url} refused these credentials, or does not let them do this ({said})", _CREDENTIALS
            )
        else:
            passing = status is None or status[0] == "5" or status in {"408", "409", "429"}
            said = f"the store answered {said}" if status else "the store does not answer"
            tries = f", {self._patience.tries} times" if passing else ""
            advice = (
                "Run the same command again later." if passing else "Check the store's URL, region and credentials."
            )
            fault = StoreError(f"{self.place(path)}: {said}{tries}", advice)
        return fault, passing


class _Passing(Exception):  # noqa: N818 - never seen by a caller
    """A failure after which another try may help."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.error = error


_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN) of a user with rights there."
# what the service says → what it means here, and what to do
_KNOWN = {
    "NoSuchBucket": ("there is no such bucket", "Make the bucket, or correct the URL."),
    "RequestTimeTooSkewed": ("the store says that this machine's clock is wrong", "Set the clock."),
    "RequestExpired": ("the store says that this machine's clock is wrong", "Set the clock."),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"),
        ("the session token has expired or is no longer valid", "Get new credentials (AWS_SESSION_TOKEN)."),
    ),
}


def open_store(url: str, *, create: bool = False, patience: Patience | None = None) -> Store:
    """Return the store at ``url``: ``s3://bucket/prefix``, or a folder, made if ``create``.

    Raises :class:`UsageError` for another kind of URL, :class:`StoreError` if the folder is not there.
    """
    from obstore.store import LocalStore, S3Store

    patience = patience or Patience()
    scheme, found, rest = url.partition("://")
    if not found or scheme == "file":
        root = Path(rest if found else url).absolute()
        if create:
            root.mkdir(parents=True, exist_ok=True)
        if not root.is_dir():
            raise StoreError(f"there is no store at {root}", "`lockgate release` makes it; or name it: --store URL.")
        backend = LocalStore(root)
        return Store(str(root), backend, backend, root, patience)
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"'{url}' is not a store", "A store is a folder, or s3://bucket/prefix.")
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]  # a workflow's way to say that nobody set it; the library would take it for an address
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options: Mapping[str, Any] = {"endpoint": endpoint} if endpoint else {}

    def reach(seconds: float) -> Any:
        # who names an http:// endpoint wants it
        client = {"allow_http": (endpoint or "").startswith("http://"), "timeout": f"{round(seconds * 1000)}ms"}
        return S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            client_options=client,  # type: ignore[arg-type]
            retry_config={"max_retries": 0},  # one place decides what is tried again: Store._ask
            **options,
        )

    return Store(url.rstrip("/"), reach(patience.answer), reach(patience.transfer), None, patience)


def _in_order(items: Iterable[Piece], work: Callable[[Piece], T], parallel: int) -> Iterator[T]:
    """Yield ``work(item)`` for each item, in order, at most ``parallel`` at once and as many done but not yet taken."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > parallel:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the first failure decides: what is still queued does not start
            for future in waiting:
                future.cancel()


def _flush(path: Path) -> None:
    """Have the disk hold the file and its name, so that a power cut leaves no release whose files are gone."""
    for one in (path, path.parent):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _names(folder: Path) -> list[str]:
    try:
        # obstore's half-written files end in #N; folders are no objects
        return [e.name for e in os.scandir(folder) if "#" not in e.name and e.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


def _reason(error: Exception) -> str:
    """Return what the operating system said, from the library's text."""
    said = _found(r"([A-Z][\w ]+) \(os error \d+\)", str(error))
    return said or str(error).splitlines()[0]
