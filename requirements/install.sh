#!/usr/bin/env bash
# install.sh LEVEL: makes .venv hold exactly what the locks of LEVEL name, and lockgate itself (`make .venv/LEVEL` calls it).
# install.sh uv: brings uv alone, to .cache/uv (`make lock` needs no more).
#
# Nothing is resolved: each file is one that a lock names by its hash, and packages that come as source are built with
# what the locks name. uv is brought by pip from a lock of its own, past every cache. What .venv holds is compared on every
# call, so a changed lock or a stray package is put right, and an environment that holds more than LEVEL keeps it.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
TOOL=.cache/uv # `make clean` leaves it: with uv's own cache, an environment is made without a network
UV=$TOOL/bin/uv
PATH=${PATH//"$PWD/$VENV/bin:"/} # make puts it first; what sets .venv up is not taken from it

fail() {
  echo "error: $*" >&2
  exit 1
}

locks_of() {
  case $1 in
    publish) echo requirements/publish.lock ;; # a part of run: what reads and judges what a run left, and comments
    run) echo requirements/pipeline.lock requirements/lockgate.lock ;;
    service) echo requirements/pipeline.lock requirements/lockgate.lock requirements/service.lock ;;
    dev) echo requirements/dev.lock ;; # all of the others, and what tests need
    *) fail "there is no set of packages called '$1': publish, run, service or dev" ;;
  esac
}

# The state of .venv in one text: what it was made from, and the packages that it holds.
state() {
  # shellcheck disable=SC2046 # a list of files
  sha256sum $(locks_of "$1") requirements/uv.lock requirements/install.sh pyproject.toml
  (cd $VENV/lib/python3.11/site-packages && ls -d ./*-info 2>/dev/null) || true
}

# Settings of the user's that say where files come from stay; those that change what is installed do not count.
clean_environment() {
  local name
  for name in ${!UV_@}; do
    case $name in
      UV_DEFAULT_INDEX | UV_INDEX | UV_INDEX_* | UV_EXTRA_INDEX_URL | UV_FIND_LINKS | UV_OFFLINE | UV_INSECURE_HOST) ;;
      UV_HTTP_* | UV_REQUEST_TIMEOUT | UV_SYSTEM_CERTS | UV_NATIVE_TLS | UV_KEYRING_PROVIDER | UV_CONCURRENT_*) ;;
      UV_CACHE_DIR | UV_NO_CACHE | UV_LINK_MODE | UV_NO_PROGRESS) ;;
      UV_PYTHON_INSTALL_* | UV_PYTHON_DOWNLOADS | UV_PYTHON_DOWNLOADS_JSON_URL | UV_PYTHON_CACHE_DIR) ;;
      UV_MANAGED_PYTHON | UV_NO_MANAGED_PYTHON | UV_PYTHON_PREFERENCE) ;;
      *) unset "$name" ;;
    esac
  done
  unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
  unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_NO_BINARY PIP_DRY_RUN PIP_REQUIREMENT
  export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore
  export UV_NO_CONFIG=1 UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-30}" UV_HTTP_RETRIES="${UV_HTTP_RETRIES:-2}"
  # Believe whom the system believes, as pip does: a company's proxy often signs with a certificate of its own.
  if [ -z "${SSL_CERT_FILE:-}" ] && [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
  if [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-${UV_NATIVE_TLS:-1}}"
  fi
}

pythons() { # those that may have pip, the one that the user names first
  local name
  for name in ${PYTHON:+"$PYTHON"} python3.11 python3 python; do type -aP "$name" || true; done
}

# A mirror that only pip or only uv was told of is meant for both.
share_mirror() {
  local python index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-}}
  if [ -n "$index" ]; then
    export PIP_INDEX_URL="${PIP_INDEX_URL:-$index}"
    return
  fi
  index=${PIP_INDEX_URL:-}
  for python in $(pythons); do # `pip config get` does not see a file that PIP_CONFIG_FILE names
    [ -z "$index" ] || break
    index=$("$python" -m pip config list 2>/dev/null | sed -n "s/^\(global\|install\)\.index-url='\(.*\)'$/\2/p" | tail -n 1) ||
      index=
  done
  [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
}

pip_in() { # FOLDER: prints the interpreter of a pip, in a throw-away environment if no Python has it at hand
  local python
  for python in $(pythons); do
    if "$python" -m pip --version >/dev/null 2>&1; then
      echo "$python"
      return
    fi
  done
  for python in $(pythons); do
    if "$python" -m venv "$1/venv" >/dev/null 2>&1; then
      echo "$1/venv/bin/python"
      return
    fi
  done
}

bring_uv() {
  if [ -x $UV ] && cmp -s requirements/uv.lock $TOOL/uv.lock; then return; fi
  echo "setting up $TOOL: the installer" >&2
  mkdir -p .cache
  local new python
  new=$(mktemp -d .cache/uv-XXXXXX)
  # shellcheck disable=SC2064 # this folder, whatever the variable says later
  trap "rm -rf '$new'" EXIT
  python=$(pip_in "$new")
  if [ -n "$python" ]; then
    # No cache: pip takes what lies in its cache for what its label says.
    "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir --no-deps --require-hashes \
      --only-binary :all: --timeout "$UV_HTTP_TIMEOUT" --retries "$UV_HTTP_RETRIES" --target "$new/uv" \
      -r requirements/uv.lock ||
      fail "the installer, uv, could not be brought (the reason is above). If the index does not answer, try again" \
        "or name a mirror with UV_DEFAULT_INDEX=URL; if a hash differs, the index gave another file than the locked one."
  elif command -v uv >/dev/null; then
    uv --no-config venv --quiet --python 3.11 "$new/venv" || no_python
    uv --no-config pip install --quiet --no-cache --no-deps --require-hashes --only-binary :all: --python "$new/venv" \
      --target "$new/uv" -r requirements/uv.lock ||
      fail "the installer, the locked version of uv, could not be brought (the reason is above)"
  else
    fail "setting up needs pip once, and no Python here has it: install it (Debian, Ubuntu: apt install python3-pip;" \
      "Fedora: dnf install python3-pip) and run this again."
  fi
  cp requirements/uv.lock "$new/uv/uv.lock"
  rm -rf $TOOL
  mv "$new/uv" $TOOL
}

no_python() {
  fail "Python 3.11 is needed, is not on this machine, and could not be downloaded (the reason is above): install it" \
    "(a package python3.11 of the system, or pyenv), or name one: make PYTHON=/path/to/python3.11 ..."
}

is_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

make_venv() {
  # One that `python -m venv` made brings packages of its own, which a sync leaves alone.
  if grep -qs '^uv = ' $VENV/pyvenv.cfg && is_311 $VENV/bin/python; then return; fi
  if [ -n "${PYTHON:-}" ]; then
    is_311 "$PYTHON" || fail "Python 3.11 is needed, and $PYTHON is another: make PYTHON=/path/to/python3.11 ..."
  fi
  $UV venv --quiet --clear --python "${PYTHON:-3.11}" $VENV || no_python
}

make_level() {
  local quiet=--quiet
  [ ! -t 2 ] || quiet= # progress on a terminal
  echo "setting up $VENV: what the locks name (half a minute with an empty cache)" >&2
  bring_uv
  make_venv
  # shellcheck disable=SC2046 # lists of files
  $UV pip sync $quiet --python $VENV/bin/python --require-hashes \
    $(printf -- '--build-constraints %s ' $(locks_of "$1")) --require-build-hashes $(locks_of "$1") ||
    fail "$VENV does not hold what the locks name (the reason is above). If the index does not answer, try again or" \
      "name a mirror with UV_DEFAULT_INDEX=URL; if a hash differs, the index gave another file than the locked one."
  # Asked without an index whether what is there is enough. Not `uv pip check`, which does not look at extras.
  local here="--python $VENV/bin/python --offline --no-index --no-verify-hashes"
  # shellcheck disable=SC2046,SC2086 # lists of words
  $UV pip install --quiet $here --dry-run $(printf -- '-r %s ' $(locks_of "$1")) ||
    fail "the locked packages do not fit together (see above): make the locks anew with \`make lock\`"
  # Lockgate itself, with the build backend that the lock brings.
  [ "$1" != publish ] || here="$here --no-deps"
  # shellcheck disable=SC2086
  $UV pip install --quiet $here --no-build-isolation --editable . ||
    fail "lockgate itself could not be installed (see above). If a package is missing, the locks are older than" \
      "pyproject.toml: add it to requirements/lockgate.in and make the locks anew with \`make lock\`"
  state "$1" >"$VENV/$1"
}

[ $# = 1 ] || fail "usage: requirements/install.sh publish|run|service|dev|uv"
if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
  fail "the locks are for Linux on x86-64, and this is $(uname -s) on $(uname -m): use such a machine, or a container" \
    "or virtual machine of it."
fi
clean_environment
one_at_a_time() { # two calls of make in one folder wait for each other
  mkdir -p .cache
  exec 9>.cache/install.lock
  if command -v flock >/dev/null; then flock 9; fi
}

level_held() { # what the environment holds beyond LEVEL stays
  local more level=$1 above=
  for more in publish run service dev; do
    if [ "$level" = "$more" ]; then above=yes; elif [ -n "$above" ] && [ -e "$VENV/$more" ]; then level=$more; fi
  done
  echo "$level"
}

as_locked() { [ -x $VENV/bin/python ] && [ "$(cat "$VENV/$1" 2>/dev/null)" = "$(state "$1")" ]; }

if [ "$1" = uv ]; then
  one_at_a_time
  share_mirror
  bring_uv
  exit
fi
locks_of "$1" >/dev/null
if as_locked "$(level_held "$1")"; then exit; fi
one_at_a_time
level=$(level_held "$1")
if as_locked "$level"; then exit; fi
share_mirror
make_level "$level"
