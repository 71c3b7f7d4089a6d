"""A PostgreSQL cluster to throw away: on a socket in a folder of its own, gone with the block."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are; Debian keeps them off the PATH."""
    places = [Path(found).resolve().parent for found in [shutil.which("pg_ctl")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (each for each in places if (each / "initdb").exists() and (each / "postgres").exists()), None
    )


@contextmanager
def postgres(at: Path) -> Iterator[str]:
    """Gives what to connect to. PostgreSQL refuses to run as root: then it runs as its package's user, or as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="coord-pg-", dir="/tmp"))  # a socket's path has 107 bytes at most
    user = _user()
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [at / program, *arguments],
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        if done.returncode:
            log.seek(0)
            raise RuntimeError(f"{program} {done.returncode}: {log.read().decode()[-2000:]}")

    with open(folder / "log", "w+b") as log:
        try:
            run(
                "initdb",
                "-D",
                f"{folder}/data",
                "-U",
                "coord",
                "-A",
                "trust",
                "-N",
                "--locale=C",
                "-E",
                "UTF8",
            )
            options = f"-c listen_addresses='' -k {folder} -c fsync=off -c max_connections=50"
            run(
                "pg_ctl", "-D", f"{folder}/data", "-w", "-o", options, "-l", f"{folder}/postgres.log", "start"
            )
            try:
                yield f"host={folder} user=coord dbname=postgres"
            finally:
                run("pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None
