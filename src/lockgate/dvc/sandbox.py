# ruff: noqa: PTH102, PTH103, PTH109, PTH110, PTH112, PTH118, PTH120, PTH123, PTH208, PTH211, S108, S606
"""Runs one command of a stage apart from the machine. A program of its own, so that nothing of its caller is in it.

``sandbox.py OPTION=VALUE… -- COMMAND…`` runs COMMAND and ends with its exit code (:class:`Configuration` has the
options). What it does, in the kernel's own words (docs/isolation.md has the promises):

- a PID namespace with a ``/proc`` of its own: no other process is seen, and what is left running ends with the command;
- a mount namespace in which everything is read-only but the folders that are named; home folders, ``/tmp``, ``/run``
  and the devices of the machine are replaced by empty ones;
- no capability that could take this back, and ``no_new_privs``: ``sudo`` and other setuid programs give nothing;
- without a network: a network namespace with nothing but a loopback device. With one: a seccomp filter hands every
  ``connect`` to us. We copy the address, look at it, and connect the socket ourselves, but not to a cloud's metadata.

Where the kernel or its settings forbid a part of it, all of it is left out and the reason is reported; with
``required`` the command does not run then, with ``sockets=no`` a filter lets it open no socket to a network.
Only the standard library is used, and nothing of lockgate.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import os
import signal
import socket
import stat
import struct
import sys
import threading

TYPE_CHECKING = False  # what `typing` takes to load is a tenth of what all of this takes
if TYPE_CHECKING:
    from typing import NoReturn

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

REFUSED = 126
"""The exit code of a command that was not run because it could not be isolated."""

CONTACTS = 20
"""How many addresses are reported at most."""

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 0x4000, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE, _MOVE_MOUNT, _PIDFD_OPEN, _PIDFD_GETFD, _MOUNT_SETATTR = 428, 429, 434, 438, 442  # on every architecture
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _NO_NEW_PRIVS, _CAP_AMBIENT = 1, 4, 24, 38, 47
_KEPT_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7)
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: what a stage that root runs needs on its own files."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "kfd", "dri", "infiniband")

_MACHINES = {  # seccomp's name of the architecture, and the numbers of the system calls
    "x86_64": (
        0xC000003E,
        {"socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "seccomp": 317}
        | {"add_key": 248, "request_key": 249, "keyctl": 250, "perf_event_open": 298, "bpf": 321},
    ),
    "aarch64": (
        0xC00000B7,
        {"socket": 198, "connect": 203, "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "seccomp": 277}
        | {"add_key": 217, "request_key": 218, "keyctl": 219, "perf_event_open": 241, "bpf": 280},
    ),
}
_IO_URING_SETUP = 425
_VSOCK = 40
_FASTOPEN = 0x20000000

METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # Amazon, Google, Microsoft, Oracle, OpenStack and others, also for containers
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Microsoft's agent
        "192.0.0.192/32",  # Oracle, older machines
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::/32",  # Google
        "fe80::/10",  # link-local, as 169.254.0.0/16
    )
)
_DNS = 53  # some clouds answer names at the same address

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Unavailable(Exception):  # noqa: N818 - never leaves this module
    """This machine does not let us isolate a command; the text says what it refused."""


class Configuration:
    """What a command gets, from words such as ``write=/folder``.

    ``write``: a folder that it may write. ``read``: something that it may read although it lies in a hidden place, or
    may not write although it lies in a folder to write. ``own``: a folder in whose place it gets an empty one of its
    own, which nobody else sees. ``hide``: a folder that is emptied for it. ``scratch``: where
    its ``/tmp``, its ``/var/tmp`` and its HOME are kept. ``network=yes``: it may use the network. ``required=yes``: it
    is not run if it cannot be isolated. ``sockets=no``: if it cannot be isolated, it gets no socket but those of Unix.
    ``report``: the descriptor that hears how it was run.
    """

    def __init__(self, words: list[str]) -> None:
        """Read the words."""
        pairs = [word.partition("=")[::2] for word in words]
        self.write, self.read, self.own, self.hide = (
            [value for key, value in pairs if key == wanted] for wanted in ("write", "read", "own", "hide")
        )
        single = dict(pairs)
        self.scratch, self.report = single["scratch"], int(single["report"])
        self.network, self.required = single.get("network") == "yes", single.get("required") == "yes"
        self.sockets = single.get("sockets") != "no"


def main(arguments: list[str]) -> NoReturn:
    """Run the command; never returns."""
    end = arguments.index("--")
    configuration, command = Configuration(arguments[:end]), arguments[end + 1 :]
    os.set_inheritable(configuration.report, False)
    _prctl(_PDEATHSIG, signal.SIGKILL)
    tell = _Report(configuration.report)
    try:
        first = _isolate(configuration, command, tell)
    except Unavailable as reason:
        tell("refused" if configuration.required else "none", str(reason))
        if configuration.required:
            sys.exit(REFUSED)
        try:
            _run_openly(configuration, command)
        except Unavailable as refused:
            sys.stderr.write(f"{refused}\n")
            sys.exit(REFUSED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process of the namespace passes it on
    sys.exit(_code(os.waitpid(first, 0)[1]))


class _Report:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __call__(self, fact: str, value: str = "") -> None:
        os.write(self.descriptor, f"{fact} {value}\n".encode())


def _run_openly(configuration: Configuration, command: list[str]) -> NoReturn:
    """Run the command with what needs nobody's leave: a home of its own, no new rights."""
    _prctl(_NO_NEW_PRIVS, 1)
    if not configuration.sockets:
        _filter_sockets()
    temporary = os.path.join(configuration.scratch, "tmp")
    os.execvpe(command[0], command, {**os.environ, "HOME": f"{temporary}/home", "TMPDIR": temporary})


def _isolate(configuration: Configuration, command: list[str], tell: _Report) -> int:
    """Start the command in namespaces of its own; return the process to wait for, which ends as the command does."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _MACHINES:
        raise Unavailable(f"lockgate knows no way to isolate a command on {sys.platform} ({machine})")
    ready, told = os.pipe()
    child = os.fork()  # what fails halfway must not leave this process halfway
    if child == 0:
        os.close(ready)
        _between(configuration, command, tell, told)
    os.close(told)
    with os.fdopen(ready) as stream:
        reason = stream.read()
    if reason:
        os.waitpid(child, 0)
        raise Unavailable(reason)
    return child


def _between(configuration: Configuration, command: list[str], tell: _Report, told: int) -> NoReturn:
    """Enter the namespaces, start the first process in them and end as that does."""
    code = REFUSED
    try:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        _unshare(_NEWNS | _NEWPID | _NEWIPC | (0 if configuration.network else _NEWNET))
        first = os.fork()
        if first == 0:
            _first(configuration, command, tell, told)
        os.close(told)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = _code(os.waitpid(first, 0)[1])
    except (Unavailable, OSError) as reason:
        os.write(told, str(reason).encode())
    finally:
        os._exit(code)


def _unshare(kinds: int) -> None:
    """Get new namespaces of these kinds; an ordinary user needs one for users first."""
    user, group = os.geteuid(), os.getegid()
    if _may_unshare():
        _check(_libc.unshare(kinds), "the kernel refuses new namespaces")
        return
    _check(_libc.unshare(_NEWUSER | kinds), "the kernel refuses new user namespaces to an ordinary user")
    try:
        for file, text in (("setgroups", "deny"), ("gid_map", f"{group} {group} 1"), ("uid_map", f"{user} {user} 1")):
            with open(f"/proc/self/{file}", "w") as map_:
                map_.write(text)
    except OSError as error:
        raise Unavailable(f"the kernel refuses to fill a user namespace ({error.strerror})") from None


def _may_unshare() -> bool:
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return bool(effective >> 21 & 1)  # SYS_ADMIN


def _first(configuration: Configuration, command: list[str], tell: _Report, told: int) -> NoReturn:
    """Be the first process of the namespace: prepare it, start the command, and reap until the command has ended."""
    code = REFUSED
    try:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        where = os.getcwd()
        _arrange(configuration)
        if not configuration.network:
            _loopback()
        _drop_capabilities()
        _prctl(_NO_NEW_PRIVS, 1)
        ours, theirs = socket.socketpair()
        stage = os.fork()
        if stage == 0:
            os.close(told)
            ours.close()
            _command(command, where, theirs)
        theirs.close()
        _prctl(_DUMPABLE, 0)  # nobody in there looks into us
        said, listener, *_ = socket.recv_fds(ours, 1000, 1)
        if not listener:
            raise Unavailable(said.decode() or "the command could not be started")
        signal.signal(signal.SIGINT, lambda *_: os.killpg(stage, signal.SIGINT))
        threading.Thread(target=_Supervisor(listener[0], tell).serve, daemon=True).start()
        tell("namespaces")
        os.close(told)
        ours.sendall(b"go")
        code = _reap(stage)
    except Unavailable as reason:
        os.write(told, str(reason).encode())
    except OSError as error:
        os.write(told, str(error).encode())
    finally:
        os._exit(code)


def _reap(stage: int) -> int:
    while True:
        found, status = os.waitpid(-1, 0)
        if found == stage:
            return _code(status)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _command(command: list[str], where: str, parent: socket.socket) -> NoReturn:
    """Become the command."""
    try:
        os.setsid()  # so that it cannot signal, nor type for, whoever started it
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        listener = _filter()
        socket.send_fds(parent, [b"listener"], [listener])
        os.close(listener)
        if parent.recv(2) != b"go":
            os._exit(REFUSED)
        parent.close()
        os.chdir(where)
        os.execvpe(command[0], command, {**os.environ, "HOME": "/tmp/home"})
    except (Unavailable, OSError) as error:
        try:
            parent.sendall(str(error).encode())
        except OSError:
            sys.stderr.write(f"{command[0]}: {error}\n")
        os._exit(REFUSED)


# --- the files it sees


def _arrange(configuration: Configuration) -> None:
    """Lay out the mount namespace."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    temporary = os.path.join(configuration.scratch, "tmp")
    os.makedirs(os.path.join(temporary, "home"), exist_ok=True)
    other = os.path.join(configuration.scratch, "var-tmp")
    os.makedirs(other, exist_ok=True)
    kept: list[tuple[str, int]] = []
    hidden = _outermost([*configuration.hide, "/run", "/tmp", "/var/tmp"])
    shared = [("/tmp", _clone(temporary, _ATTR_NODEV)), ("/var/tmp", _clone(other, _ATTR_NODEV))]
    kept += [(path, _clone(path, _ATTR_NODEV | _ATTR_NOSUID)) for path in configuration.write]
    kept += [(path, _clone(path, _ATTR_RDONLY | _ATTR_NODEV | _ATTR_NOSUID)) for path in configuration.read]
    for number, path in enumerate(configuration.own):
        instead = os.path.join(configuration.scratch, f"own{number}")
        os.makedirs(instead, exist_ok=True)
        kept.append((path, _clone(instead, _ATTR_NODEV | _ATTR_NOSUID)))
    names = os.path.realpath("/etc/resolv.conf")
    if _is_inside(names, hidden) and os.path.exists(names):
        kept.append((names, _clone(names, _ATTR_RDONLY)))
    devices = [(path, _clone(path, _ATTR_NOSUID)) for path in _present_devices()]
    _set("/", _ATTR_RDONLY | _ATTR_NOSUID, recursive=True)
    covers = [path for path in hidden if path not in ("/tmp", "/var/tmp")]
    for path in covers:
        _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path, tree in shared:
        _attach(tree, path)
    _devices(devices)
    for path, tree in sorted(kept):
        _put(tree, path)
    for path in covers:
        _set(path, _ATTR_RDONLY)
    _mount("proc", "/proc", "proc", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _present_devices() -> list[str]:
    names = sorted(os.listdir("/dev"))
    return [f"/dev/{name}" for name in names if name in _DEVICES or name.startswith("nvidia")]


def _devices(kept: list[tuple[str, int]]) -> None:
    _mount("tmpfs", "/dev", "tmpfs", _MS_NOSUID, "size=1m,mode=755")
    for path, tree in kept:
        _put(tree, path)
    for name, target in (("fd", "self/fd"), ("stdin", "self/fd/0"), ("stdout", "self/fd/1"), ("stderr", "self/fd/2")):
        os.symlink(f"/proc/{target}", f"/dev/{name}")
    os.mkdir("/dev/shm")
    _mount("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    os.mkdir("/dev/pts")
    _mount("devpts", "/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", "/dev/ptmx")
    _set("/dev", _ATTR_RDONLY)


def _outermost(paths: list[str]) -> list[str]:
    """Return the folders of ``paths`` that exist, without those that lie in another."""
    real = sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)} - {"/"})
    return [path for path in real if not _is_inside(os.path.dirname(path), real)]


def _is_inside(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _clone(path: str, attributes: int) -> int:
    """Return a mount of its own of a file or folder, that is in no place yet."""
    tree = _check(
        _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), 1 | os.O_CLOEXEC | _AT_RECURSIVE),
        f"the kernel refuses a mount of {path}",
    )
    _set(tree, attributes, recursive=True)
    return tree


def _put(tree: int, path: str) -> None:
    """Attach a mount at ``path``, which is made where a hidden folder has been emptied."""
    if not os.path.exists(path):
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    _attach(tree, path)


def _attach(tree: int, path: str) -> None:
    _check(
        _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), 4), f"the kernel refuses a mount at {path}"
    )
    os.close(tree)


def _set(what: str | int, attributes: int, *, recursive: bool = False) -> None:
    """Set attributes of a mount: of the one at a path, or of a tree that :func:`_clone` returned."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    where, path = (_AT_FDCWD, os.fsencode(what)) if isinstance(what, str) else (what, b"")
    flags = (_AT_RECURSIVE if recursive else 0) | (0 if path else _AT_EMPTY_PATH)
    _check(
        _libc.syscall(_MOUNT_SETATTR, where, path, flags, request, len(request)),
        f"the kernel refuses to make {what} read-only",
    )


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done = _libc.mount(*(os.fsencode(text) for text in (source, target, kind)), flags, os.fsencode(data))
    _check(done, f"the kernel refuses to mount {kind or source} at {target}")


# --- its rights


def _drop_capabilities() -> None:
    """Give up, for ever, every capability by which the namespace could be taken apart."""
    kept = 0
    for number in range(64):
        if number in _KEPT_CAPABILITIES:
            kept |= 1 << number
        elif _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0) != 0 and ctypes.get_errno() == errno.EINVAL:
            break  # the kernel has no more
    _prctl(_CAP_AMBIENT, 4)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("=Ii", 0x20080522, 0)
    sets = struct.pack("=IIIIII", low, low, 0, high, high, 0)
    _check(_libc.capset(header, sets), "the kernel refuses to give capabilities up")


def _loopback() -> None:
    """Switch the loopback device of an empty network on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        fcntl.ioctl(any_, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0), f"the kernel refuses prctl {option}")


def _check(result: int, refused: str) -> int:
    if result < 0:
        raise Unavailable(f"{refused} ({os.strerror(ctypes.get_errno())})")
    return result


# --- its network


def _filter() -> int:
    """Install the seccomp filter; return the descriptor on which every ``connect`` is asked for."""
    architecture, calls = _MACHINES[os.uname().machine]
    program: list[tuple[int, int, int, int]] = []
    load, equal, above, bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06

    def fail(number: int) -> int:
        return 0x00050000 | number

    def when(call: int, outcome: int) -> None:
        program.extend([(equal, 0, 1, call), (answer, 0, 0, outcome)])

    program += [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, fail(errno.ENOSYS)), (load, 0, 0, 0)]
    program += [(above, 0, 1, 0x40000000), (answer, 0, 0, fail(errno.ENOSYS))]  # another numbering of the same calls
    for name in ("add_key", "request_key", "keyctl", "perf_event_open", "bpf"):
        when(calls[name], fail(errno.EPERM))
    when(_IO_URING_SETUP, fail(errno.EPERM))  # it could connect without `connect`
    when(calls["connect"], 0x7FC00000)
    for name, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):  # which connect, with this flag
        program += [(equal, 0, 4, calls[name]), (load, 0, 0, 16 + 8 * argument)]
        program += [(bits, 0, 1, _FASTOPEN), (answer, 0, 0, fail(errno.EOPNOTSUPP)), (answer, 0, 0, 0x7FFF0000)]
    program += [(equal, 0, 3, calls["socket"]), (load, 0, 0, 16)]
    program += [(equal, 0, 1, _VSOCK), (answer, 0, 0, fail(errno.EAFNOSUPPORT)), (answer, 0, 0, 0x7FFF0000)]
    return _install(program, calls["seccomp"], 8 | 32, 8)  # a listener; from Linux 5.19 a signal asks nothing anew


def _filter_sockets() -> None:
    """Install a filter by which this process, for ever, opens no socket but those of Unix."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _MACHINES:
        return  # it is told that this machine isolates nothing
    architecture, calls = _MACHINES[machine]
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    refuse, allow = (answer, 0, 0, 0x00050000 | errno.EPERM), (answer, 0, 0, 0x7FFF0000)
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), refuse, (load, 0, 0, 0)]
    program += [(above, 0, 1, 0x40000000), refuse, (equal, 0, 1, _IO_URING_SETUP), refuse]
    program += [(equal, 0, 3, calls["socket"]), (load, 0, 0, 16), (equal, 1, 0, socket.AF_UNIX), refuse, allow]
    _install(program, calls["seccomp"], 0)


def _install(program: list[tuple[int, int, int, int]], call: int, *flags: int) -> int:
    """Install a filter of system calls with the first of these flags that the kernel takes; return what it answers."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    for some in flags:
        answer = _libc.syscall(call, 1, some, filter_)
        if answer >= 0:
            return int(answer)
    raise Unavailable(f"the kernel refuses a filter of system calls ({os.strerror(ctypes.get_errno())})")


class _Supervisor:
    """Makes the connections that the command asks for. What it looked at is what it connects to: the address is copied,
    and the socket is the very one. A stage that could change either meanwhile would gain nothing."""

    def __init__(self, listener: int, tell: _Report) -> None:
        self.listener, self.tell = listener, tell
        self.told: set[str] = set()

    def serve(self) -> None:
        """Answer until the last process of the command has ended."""
        while True:
            question = bytearray(80)
            try:
                fcntl.ioctl(self.listener, 0xC0502100, question)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.ENOENT:  # it was killed meanwhile
                    continue
                return
            self.answer(question)

    def answer(self, question: bytearray) -> None:
        """Answer one question, or have a thread do it if it will take time."""
        number, thread = struct.unpack_from("=QI", question)
        descriptor, address, length = struct.unpack_from("=QQQ", question, 32)
        try:
            content = _memory(thread, address, length)
            duplicate = _descriptor(thread, descriptor)
        except OSError as error:
            self.reply(number, error.errno or errno.EPERM)
            return

        def connect() -> None:
            try:
                self.reply(number, self.connect(thread, duplicate, content))
            finally:
                os.close(duplicate)

        if fcntl.fcntl(duplicate, fcntl.F_GETFL) & os.O_NONBLOCK:
            connect()
        else:
            threading.Thread(target=connect, daemon=True).start()

    def connect(self, thread: int, descriptor: int, content: bytes) -> int:
        """Connect a socket; return 0 or the number of an error."""
        with socket.socket(fileno=os.dup(descriptor)) as duplicate:
            family = duplicate.family
        folder = -1
        try:
            if family in (socket.AF_INET, socket.AF_INET6) and (target := _target(content)):
                self.report(*target)
                if is_metadata(*target):
                    return errno.ENETUNREACH
            elif family == socket.AF_UNIX and content[2:3] not in (b"", b"\0", b"/"):
                folder = os.open(f"/proc/{thread}/cwd", os.O_PATH | os.O_DIRECTORY)
                content = content[:2] + b"/proc/self/fd/%d/" % folder + content[2:]
            done = _libc.connect(descriptor, content, len(content))
            return 0 if done == 0 else ctypes.get_errno()
        except OSError as error:
            return error.errno or errno.EPERM
        finally:
            if folder >= 0:
                os.close(folder)

    def reply(self, number: int, error: int) -> None:
        """Let the command go on with this outcome."""
        try:
            fcntl.ioctl(self.listener, 0xC0182101, struct.pack("=QqiI", number, 0, -error, 0))
        except OSError:
            return  # it was killed meanwhile

    def report(self, address: Address, port: int) -> None:
        """Report an address, once, unless it is of the machine itself."""
        name = f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
        if (address.is_loopback and port != _DNS) or name in self.told or len(self.told) == CONTACTS or port == 0:
            return
        self.told.add(name)
        self.tell("contact", name)


def is_metadata(address: Address, port: int) -> bool:
    """Say whether an address is that of a cloud's metadata, which hands out the rights of the machine."""
    if address.version == 6:
        embedded = address.ipv4_mapped or address.sixtofour
        if address in ipaddress.ip_network("64:ff9b::/96"):
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_metadata(embedded, port)
    return port != _DNS and any(address.version == network.version and address in network for network in METADATA)


def _target(content: bytes) -> tuple[Address, int] | None:
    """Return the address and port of a socket address, ``None`` if it is none of the internet's."""
    family = struct.unpack_from("=H", content)[0] if len(content) >= 2 else -1
    if family == socket.AF_INET and len(content) >= 8:
        return ipaddress.IPv4Address(content[4:8]), int.from_bytes(content[2:4], "big")
    if family == socket.AF_INET6 and len(content) >= 24:
        return ipaddress.IPv6Address(content[8:24]), int.from_bytes(content[2:4], "big")
    return None


def _memory(thread: int, address: int, length: int) -> bytes:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), min(length, 128), address)


def _descriptor(thread: int, number: int) -> int:
    """Return a duplicate of another process's file descriptor."""
    with open(f"/proc/{thread}/status") as status:
        process = next(int(line.split()[1]) for line in status if line.startswith("Tgid"))
    handle = _libc.syscall(_PIDFD_OPEN, process, 0)
    if handle < 0:
        raise OSError(ctypes.get_errno(), "pidfd_open")
    try:
        found = _libc.syscall(_PIDFD_GETFD, handle, number, 0)
        if found < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return int(found)
    finally:
        os.close(handle)
