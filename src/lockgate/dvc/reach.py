"""A remote that cannot be reached: one error in plain words, whichever client library complains and however.

Each kind of remote that DVC knows (S3, Google Cloud Storage, Azure, SSH, WebDAV, HTTP) has a library with its own
exceptions, and the library may not even be installed. Here they become one :class:`OutOfReach`, which names the
remote, the reason and what to do.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lockgate.dvc.listing import hold_dvc
from lockgate.dvc.objects import DvcError, words
from lockgate.errors import causes

_LIBRARIES = {
    "botocore", "aiobotocore", "s3fs", "boto3", "google", "gcsfs", "azure", "adlfs", "asyncssh", "sshfs", "paramiko",
    "webdav4", "httpx", "httpcore", "aiohttp", "requests", "urllib3", "ossfs", "oss2", "pydrive2", "pyarrow",
}  # fmt: skip
"""The client libraries of remotes, and what they speak HTTP with."""
_PLUGIN = re.compile(r"requires '?(?P<package>[\w.\[\]-]+)'? to be installed")
_MISSING = re.compile(
    r"missing dependencies|No module named '(dvc_|s3fs|gcsfs|adlfs|sshfs|webdav4|ossfs)", re.IGNORECASE
)
_NO_CREDENTIALS = re.compile(
    r"unable to locate credentials|partial credentials|default credentials|credentials were not found|no credentials"
    r"|anonymous caller|account.*must be (provided|specified)|connection_string|unable to connect to account"
    r"|no authentication methods|agent.*no keys",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"access ?denied|forbidden|permission denied|unauthorized|invalidaccesskeyid|signaturedoesnotmatch|expiredtoken"
    r"|\b40[13]\b|authentication failed|not authorized|invalid_grant",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"nosuchbucket|bucket does not exist|containernotfound|the specified bucket", re.IGNORECASE)
_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of a user who may use it.",
    "gs": "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS.",
    "azure": "Set AZURE_STORAGE_CONNECTION_STRING, or run `az login` and set AZURE_STORAGE_ACCOUNT.",
    "ssh": "Load a key into ssh-agent, or name one: `dvc remote modify --local {name} keyfile PATH`.",
}
_LOCAL_CREDENTIALS = (
    "Set them where git does not see them: `dvc remote modify --local {name} user USER` and `… password PASSWORD`."
)


class OutOfReach(DvcError):  # noqa: N818 - named for what the user reads
    """A remote does not answer, refuses us, or cannot be spoken to at all. Exit code 3."""

    def __init__(self, remote: str, address: str, reason: str, cure: str) -> None:
        """Name the remote, its address without credentials, why it cannot be reached and what to do."""
        where = f"'{remote}' ({without_credentials(address)})" if address else f"'{remote}'"
        super().__init__(f"the remote {where} cannot be reached: {reason}", cure)


def out_of_reach(remote: str, address: str, error: BaseException) -> OutOfReach | None:
    """Return what an error of a client library means in words; ``None`` if it is of something else: a file that is not
    there, this machine's disk, a mistake of ours."""
    chain = [error, *causes(error)]
    said = words(error)
    scheme = address.partition("://")[0] if "://" in address else ""
    if plugin := _plugin(chain, scheme):
        reason = f"the plugin for {scheme or 'it'}:// is not installed" if scheme else "its plugin is not installed"
        cure = f"Install {plugin} beside lockgate, as in `pip install '{plugin}'`."
        return OutOfReach(remote, address, reason, cure)
    if not any(_is_of_a_remote(one) for one in chain) or any(type(one) is FileNotFoundError for one in chain):
        return None
    if _NO_CREDENTIALS.search(said) or type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
        return OutOfReach(remote, address, "there are no credentials for it", _credentials(scheme, remote))
    if _NO_BUCKET.search(said):
        return OutOfReach(
            remote, address, "there is no such bucket", "Create it, or correct its address in .dvc/config."
        )
    if _REFUSED.search(said):
        reason = f"it refuses these credentials, or they do not allow this ({_short(said)})"
        return OutOfReach(remote, address, reason, _credentials(scheme, remote))
    cure = "Check the network and its address (`dvc remote list`), then try again; --verbose tells more."
    return OutOfReach(remote, address, f"it does not answer ({_short(said)})", cure)


@contextmanager
def reaching(config: Any, name: str | None = None) -> Iterator[None]:
    """Turn what DVC's remote ``name`` (default: the default remote of ``config``) may raise into :class:`OutOfReach`.

    Any other error passes as it is. What a remote lists of a folder's files is held to
    :func:`lockgate.dvc.listing.check` from then on.
    """
    hold_dvc()
    try:
        yield
    except Exception as error:
        remote = name or str(config["core"].get("remote") or "")
        address = str(config["remote"].get(remote, {}).get("url") or "")
        if remote and (found := out_of_reach(remote, address, error)):
            raise found from error
        raise


def without_credentials(address: str) -> str:
    """Return an address without the user and password that it may hold."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if found else address


def _plugin(chain: list[BaseException], scheme: str) -> str | None:
    """Return the package that is missing, ``None`` if the error is another."""
    for one in chain:
        found = _PLUGIN.search(str(one))
        if found and isinstance(one, ImportError):
            return found["package"]
    missing = any(_MISSING.search(str(one)) and (isinstance(one, ImportError) or _is_dvc(one)) for one in chain)
    return f"dvc[{scheme}]" if missing and scheme else None


def _is_dvc(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("dvc", "dvc_data", "dvc_objects")


def _is_of_a_remote(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0] in _LIBRARIES
    return library or isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ == "gaierror"


def _credentials(scheme: str, remote: str) -> str:
    return _CREDENTIALS.get(scheme, _LOCAL_CREDENTIALS).format(name=remote)


def _short(said: str, limit: int = 160) -> str:
    return said if len(said) <= limit else f"{said[: limit - 1]}…"
