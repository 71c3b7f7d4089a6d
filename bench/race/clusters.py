"""Three members of each, on loopback, with their data on one and the same disk: started, killed, stopped.

Each syncs what it acknowledges (the defaults of all three), and has the settings that its own guide gives for a small
cluster. Nothing is tuned for one only.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

MEMBERS = 3
START_S = 60.0
LOOK_AGAIN_S = 0.02
JARS = Path("/usr/share/java")
JAR_NAMES = (
    "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "snappy-java", "metrics-core", "commons-cli",
    "audience-annotations", "netty*", "log4j*", "jackson*",
)  # fmt: skip


class Unmet(Exception):
    """Something that is needed is not on this machine, or did not start; the message says what would help."""


def cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cluster(ABC):
    """Three members. ``ports[n]``: of member n + 1, for clients."""

    name: str
    durability: str
    first_port: int

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.members: list[subprocess.Popen[bytes]] = []

    @property
    def endpoints(self) -> list[str]:
        return [f"127.0.0.1:{self.first_port + number}" for number in range(MEMBERS)]

    def __enter__(self) -> "Cluster":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.members = [self._start(number) for number in range(MEMBERS)]
        try:
            for number in range(MEMBERS):
                self.wait_serving(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.terminate()
        for member in self.members:
            try:
                member.wait(10)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, number: int) -> None:
        """As ``kill -9``."""
        self.members[number].send_signal(signal.SIGKILL)
        self.members[number].wait()

    def restart(self, number: int) -> float:
        """Seconds until it serves clients again."""
        began = time.monotonic()
        self.members[number] = self._start(number)
        self.wait_serving(number)
        return time.monotonic() - began

    def resident_mb(self) -> list[float]:
        """Of each member."""
        found = []
        for member in self.members:
            pages = int(Path(f"/proc/{member.pid}/statm").read_text().split()[1])
            found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        return found

    def cpu_s(self) -> float:
        """What all members that run have used so far."""
        return sum(cpu_s(member.pid) for member in self.members)

    def wait_serving(self, number: int) -> None:
        until = time.monotonic() + START_S
        while not self._serves(number):
            if self.members[number].poll() is not None:
                log = (self.folder / f"log-{number + 1}").read_text(errors="replace").strip().splitlines()
                raise Unmet(
                    f"{self.name}'s member {number + 1} ended: {log[-1] if log else 'without a word'}"
                )
            if time.monotonic() > until:
                raise Unmet(f"{self.name}'s member {number + 1} does not serve after {START_S:.0f} s")
            time.sleep(LOOK_AGAIN_S)

    def leader(self) -> int:
        """Which member leads (0 is the first)."""
        for number in range(MEMBERS):
            if self.members[number].poll() is None and self._leads(number):
                return number
        raise Unmet(f"{self.name} has no leader")

    def follower(self) -> int:
        """A member that does not lead."""
        return (self.leader() + 1) % MEMBERS

    def _spawn(self, number: int, command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"log-{number + 1}").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment
            )

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def _start(self, number: int) -> "subprocess.Popen[bytes]": ...

    @abstractmethod
    def _serves(self, number: int) -> bool: ...

    @abstractmethod
    def _leads(self, number: int) -> bool: ...


class Coord(Cluster):
    name = "coord"
    durability = "fdatasync of the log before an acknowledgement, at a majority"
    first_port = 14711

    def version(self) -> str:
        from importlib.metadata import version

        return f"coord {version('coord')}, Python {sys.version.split()[0]}"

    def command(self, number: int) -> list[str]:
        members = ",".join(f"{each + 1}={endpoint}" for each, endpoint in enumerate(self.endpoints))
        return [
            *(sys.executable, "-m", "coord", "serve", "--member", str(number + 1), "--members", members),
            *("--data", str(self.folder / f"member-{number + 1}"), "--quiet"),
        ]

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        return self._spawn(number, self.command(number))

    def _status(self, number: int) -> dict[str, object] | None:
        from coord.client import CoordError
        from coord.client.blocking import connect

        try:
            with connect([self.endpoints[number]], discover=False, session=False, deadline=2.0) as client:
                client.get("/")  # linearizable: a quorum answers
                return dict(client.status())
        except CoordError:
            return None

    def _serves(self, number: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.first_port + number), 1):
            return self._status(number) is not None
        return False

    def _leads(self, number: int) -> bool:
        status = self._status(number)
        return status is not None and status["role"] == "leader"


class ZooKeeper(Cluster):
    name = "zookeeper"
    durability = (
        "forceSync (its default): fsync of the transaction log before an acknowledgement, at a majority"
    )
    first_port = 12181

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if shutil.which("java") is None or not (JARS / "zookeeper.jar").exists():
            raise Unmet("no ZooKeeper here (Debian: zookeeper, default-jdk-headless)")

    @staticmethod
    def classpath() -> str:
        return ":".join(str(jar) for name in JAR_NAMES for jar in sorted(JARS.glob(f"{name}.jar")))

    def version(self) -> str:
        answer = self._ask(0, b"srvr")
        return f"ZooKeeper {answer.split('version: ')[1].split('-')[0] if 'version: ' in answer else '?'}"

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        data = self.folder / f"member-{number + 1}"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(str(number + 1))
        members = [f"server.{n + 1}=127.0.0.1:{12881 + n}:{13881 + n}" for n in range(MEMBERS)]
        settings = [
            *("tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={data}", "maxClientCnxns=0"),
            *(f"clientPort={self.first_port + number}", "clientPortAddress=127.0.0.1"),
            *("admin.enableServer=false", "4lw.commands.whitelist=srvr", *members),
        ]
        config = self.folder / f"member-{number + 1}.cfg"
        config.write_text("\n".join(settings) + "\n")
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        # 2 GB: a million znodes do not fit into one.
        return self._spawn(number, ["java", "-Xmx2g", "-cp", self.classpath(), main, str(config)])

    def _ask(self, number: int, word: bytes) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.first_port + number), 1) as connection:
                connection.settimeout(2)
                connection.sendall(word)
                return b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")
        except OSError:
            return ""

    def _serves(self, number: int) -> bool:
        return "Mode:" in self._ask(number, b"srvr")

    def _leads(self, number: int) -> bool:
        return "Mode: leader" in self._ask(number, b"srvr")


class Etcd(Cluster):
    name = "etcd"
    durability = "fdatasync of the log before an acknowledgement, at a majority (its default)"
    first_port = 12379

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
            raise Unmet("no etcd here (Debian: etcd-server, etcd-client)")

    def version(self) -> str:
        text = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout
        return f"etcd {text.split()[2]}"

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        client, peer = f"http://{self.endpoints[number]}", f"http://127.0.0.1:{13379 + number}"
        cluster = ",".join(f"e{n}=http://127.0.0.1:{13379 + n}" for n in range(MEMBERS))
        command = [
            *("etcd", "--name", f"e{number}", "--data-dir", str(self.folder / f"member-{number + 1}")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster, "--logger", "zap", "--log-level", "error"),
            *("--quota-backend-bytes", str(8 << 30)),
        ]
        return self._spawn(number, command)

    def _serves(self, number: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoints[number]}/health", timeout=1) as answer:
                return b'"true"' in answer.read()
        except OSError:
            return False

    def _leads(self, number: int) -> bool:
        command = ["etcdctl", "--endpoints", self.endpoints[number], "endpoint", "status", "-w", "simple"]
        answer = subprocess.run(
            command, env=os.environ | {"ETCDCTL_API": "3"}, capture_output=True, text=True, check=False
        ).stdout
        return answer.split(", ")[4] == "true" if answer.count(", ") >= 4 else False


CLUSTERS: dict[str, type[Cluster]] = {kind.name: kind for kind in (Coord, ZooKeeper, Etcd)}
