"""CML (https://cml.dev) as the program that comments on a pull request, where it is installed.

CML is a foreign program that is given a token. It gets an environment of its own: the token, where to look for a proxy
and for certificates, and a home folder and a git configuration that are removed afterwards (CML changes the global
configuration of git). No other variable of the job reaches it.
"""

import os
import subprocess
from pathlib import Path

from lockgate.errors import LockgateError
from lockgate.temporary import temporary_folder

TIMEOUT = 120
"""Seconds."""
SEES = 30
"""CML looks for its comment among this many, the oldest, and takes the last that carries its watermark."""
PASSED_ON = (
    *("PATH", "LANG", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"),
    *(spelt for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for spelt in (name, name.upper())),
)
"""The variables of the job that CML is given."""


class CmlFailed(LockgateError):  # noqa: N818 - named for what the user reads
    """CML did not comment."""

    def __init__(self, reason: str) -> None:
        """Say why."""
        super().__init__(f"CML did not comment: {reason}", "https://cml.dev/doc/ref/comment lists what it needs.")


def update_comment(repository: str, token: str, number: int, body: str, *, title: str, sha: str) -> None:
    """Have CML create or update its comment with the watermark ``title``. ``repository`` is a web address.

    Raises :class:`CmlFailed` if CML is not installed, fails, or does not end in time.
    """
    with temporary_folder("comment") as folder:
        file, configuration = Path(folder, "comment.md"), Path(folder, "gitconfig")
        file.write_text(body, encoding="utf-8")
        configuration.touch()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(configuration),
            "GIT_CONFIG_NOSYSTEM": "1",
            "REPO_TOKEN": token,
            "GITHUB_SHA": sha,  # stands in the watermark
            "ITERATIVE_DO_NOT_TRACK": "1",
        }
        command = ["cml", "comment", "update", "--driver", "github", "--repo", repository]
        command += ["--target", f"pr/{number}", "--publish=false", "--watermark-title", title, str(file)]
        try:
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=TIMEOUT)
        except FileNotFoundError as error:
            raise CmlFailed("it is not installed") from error
        except OSError as error:
            raise CmlFailed(f"it cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise CmlFailed(f"it had not finished after {TIMEOUT} seconds") from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise CmlFailed((said or [f"exit code {error.returncode}"])[-1][-300:]) from error
