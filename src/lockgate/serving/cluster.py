"""The Dask cluster on which files are scored and days are joined, where one machine is not enough."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lockgate.errors import NotAskedError

T = TypeVar("T")
LARGE = 100_000  # bytes


def connect(address: str) -> Any:
    """Return a client of the scheduler at ``address``. Raises :class:`NotAskedError` if none answers there."""
    import distributed

    client: Any = distributed.Client
    try:
        return client(address, timeout="5s", set_as_default=False)
    except OSError as error:
        raise NotAskedError(
            f"no scheduler answers at {address} ({type(error).__name__})", "Start one: `dask scheduler`."
        ) from None


def each(work: Callable[..., T], arguments: Sequence[tuple[Any, ...]], scheduler: str | None) -> list[T]:
    """Return ``work(*one)`` for each of ``arguments``, in their order: here one after the other, or, with the address
    of a ``scheduler``, on the workers of its cluster. ``work`` is a function of a module, so that it can be sent there;
    a large argument that several share is sent once.
    """
    if scheduler is None or not arguments:
        return [work(*one) for one in arguments]
    with connect(scheduler) as client:
        sent: dict[int, Any] = {}
        for argument in (argument for one in arguments for argument in one):
            if getattr(argument, "nbytes", 0) > LARGE and id(argument) not in sent:
                sent[id(argument)] = client.scatter(argument, broadcast=True, hash=False)
        tasks = [client.submit(work, *(sent.get(id(a), a) for a in one), pure=False) for one in arguments]
        return [task.result() for task in tasks]
