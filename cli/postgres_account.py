"""Who the embedded server runs as: ourselves, or for root (which Postgres refuses) an account without privileges."""

import contextlib
import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import DatabaseError

Started = TypeVar("Started")

# A group that nobody is a member of (systemd's table of ids lists 60578-61183 as unused): other processes of
# `nobody` or `postgres` share the server's uid, so the way to its socket is guarded by this group instead.
PRIVATE_GROUP = 60_815
CHECK_SECONDS = 10.0

# From linux/capability.h, linux/prctl.h and linux/securebits.h.
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECBIT_NO_SETUID_FIXUP = 1 << 2


@dataclass(frozen=True)
class Account:
    """The uid and gid of the server; `searches` lets it pass directories that its uid alone may not enter (Linux)."""

    uid: int
    gid: int
    searches: bool = False

    @property
    def is_other(self) -> bool:
        """Whether this process has to change its uid to run the server."""
        return self.uid != os.geteuid()

    def launch(self, how: Callable[..., Started], command: Sequence[str | Path], **options: Any) -> Started:
        """`how` (such as subprocess.run) called so that the command runs as this account, in a session of its own.

        The session keeps a terminal's Ctrl-C away from it. Raises OSError when the account or the command can't be had.
        """
        options |= {"stdin": subprocess.DEVNULL, "start_new_session": True}
        if self.is_other:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        if not self.searches:
            return how(command, **options)

        def start() -> Started:
            _pass_on_search()
            return how(command, **options)

        # Such rights belong to a thread: this one ends with them, and the rest of the process never has them.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(start).result()

    def reaches(self, paths: Sequence[Path]) -> bool:
        """Whether the account may enter these directories and run these programs, asked of the kernel itself."""
        check: list[str | Path] = ["/bin/sh", "-c", 'for path do test -x "$path" || exit 1; done', "sh", *paths]
        return self.launch(subprocess.run, check, check=False, timeout=CHECK_SECONDS).returncode == 0


def choose_account(cluster: Path) -> Account:
    """Ourselves, or for root the owner of the cluster, else `postgres`, else `nobody`.

    Raises DatabaseError when the cluster belongs to somebody else, or root finds no such account or can't become it.
    """
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != 0:
        if owner not in {None, os.geteuid()}:
            hint = "Run as that user, or set DATABASE_URL."
            raise DatabaseError(f"{cluster} belongs to the user with id {owner}, not to you", hint=hint)
        return Account(os.geteuid(), os.getegid())
    account = Account(owner or _unprivileged_user(), PRIVATE_GROUP)
    try:
        account.reaches(())
    except OSError as error:
        message = f"Postgres can't run as root, and this root may not become uid {account.uid}: {error}"
        raise DatabaseError(message, hint="Run as a normal user, or set DATABASE_URL.") from error
    return account


def grant_way(account: Account, directory: Path, paths: Sequence[Path]) -> Account:
    """The account, able to reach the paths: as it is, or else with the one capability that directories ask for.

    Raises DatabaseError when it can't be. The capability also opens every other file of the machine to the server,
    so it is kept only where no other user can reach the server's files: in a directory that is root's, made 0700 here.
    """
    if not account.is_other or account.reaches(paths):
        return account
    reason = "the system has no capabilities"
    if sys.platform == "linux":
        try:
            return _with_search(account, directory, paths)
        except OSError as error:
            reason = str(error)
    message = f"Postgres can't run as root, and uid {account.uid} can't reach {' and '.join(map(str, paths))}: {reason}"
    hint = "Move the project to where that user may enter, run as a normal user, or set DATABASE_URL."
    raise DatabaseError(message, hint=hint)


def _unprivileged_user() -> int:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    message = "Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it as"
    raise DatabaseError(message, hint="Add such a user, run as a normal user, or set DATABASE_URL.")


def _with_search(account: Account, directory: Path, paths: Sequence[Path]) -> Account:
    if directory.stat().st_uid != 0:
        raise PermissionError(f"{directory} is not root's")
    directory.chmod(0o700)
    able = Account(account.uid, account.gid, searches=True)
    if not able.reaches(paths):
        raise PermissionError("not even with CAP_DAC_READ_SEARCH")
    return able


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _pass_on_search() -> None:
    """Let what this thread starts keep one capability, to search directories, across setuid and exec.

    The rules are those of capabilities(7): an ambient capability must be inheritable, exec by a user other than root
    keeps the ambient ones alone, and setuid would clear them but for SECBIT_NO_SETUID_FIXUP.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    header, sets = _Header(CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    # Containers often have only the wider of the two.
    narrow = sets[0].permitted & (1 << CAP_DAC_READ_SEARCH)
    capability = CAP_DAC_READ_SEARCH if narrow else CAP_DAC_OVERRIDE
    sets[0].inheritable |= 1 << capability
    _check(libc.capset(ctypes.byref(header), sets))
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))
    _check(libc.prctl(PR_SET_SECUREBITS, libc.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) | SECBIT_NO_SETUID_FIXUP, 0, 0, 0))


def _check(outcome: int) -> None:
    if outcome < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} (capabilities)")
