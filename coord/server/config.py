"""What a member is told by its operator: a TOML file, flags, or nothing at all.

Checked whole before anything is opened; every fault is one sentence that names the setting.
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from coord.disk.settings import StorageSettings
from coord.limits import (
    CHANGES_MAX,
    GRANTS_MAX,
    LABEL_BYTES_MAX,
    MIB,
    OUTBOX_MIN_BYTES,
    MemberLimits,
    StoreLimits,
)
from coord.raft.settings import RaftSettings
from coord.replica.settings import ReplicaSettings

DEFAULT_CLIENT_PORT = 4711
PEER_PORT_OFFSET = 10
"""The members' own port, where none is given: the client port and this."""


class ConfigError(Exception):
    """The configuration cannot be used; the text says what is wrong and what would be right."""


class Address(BaseModel):
    """``host:port``, ``[v6 host]:port``."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: int = Field(ge=0, le=65535)

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, colon, port = text.strip().rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not host:port (such as 127.0.0.1:4711 or [::1]:4711)")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r}: an IPv6 host stands in brackets, [::1]:4711")
        return cls(host=host, port=int(port))

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: it may be anything

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: Any) -> Any:
    return Address.parse(value) if isinstance(value, str) else value


class MemberConfig(BaseModel):
    """One member of the cluster, as the others and the clients reach it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: int = Field(ge=1, le=2**31 - 1)
    client: Address
    peer: Address

    @model_validator(mode="before")
    @classmethod
    def _addresses(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        row = dict(data)
        for name in ("client", "peer"):
            row[name] = _address(row.get(name))
        client = row["client"]
        if row["peer"] is None and isinstance(client, Address):
            row["peer"] = Address(host=client.host, port=client.port + PEER_PORT_OFFSET)
        return row


class TimingConfig(BaseModel):
    """The same on all members."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tick_ms: int = Field(default=20, ge=1, le=1000)
    heartbeat_ms: int = Field(default=60, ge=1)
    election_ms: int = Field(default=300, ge=2)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.tick_ms <= self.heartbeat_ms < self.election_ms:
            raise ValueError("tick_ms <= heartbeat_ms < election_ms must hold")
        return self


class StorageConfig(BaseModel):
    """How much of the log there is between snapshots, and behind them; each member's own business."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    segment_bytes: int = Field(default=StorageSettings().segment_bytes, ge=1, le=1024 * MIB)
    snapshot_log_bytes: int = Field(default=ReplicaSettings().snapshot_log_bytes, ge=1)
    snapshot_entries: int = Field(default=ReplicaSettings().snapshot_entries, ge=1)
    snapshot_requests: int = Field(default=ReplicaSettings().snapshot_requests, ge=1)
    catch_up_bytes: int = Field(default=ReplicaSettings().catch_up_bytes, ge=1)


class Config(BaseModel):
    """One member's configuration. The defaults are a cluster of one on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    member: int = Field(default=1, ge=1, le=2**31 - 1)
    data: Path = Path("coord-data")
    listen: Address
    peer_listen: Address
    members: tuple[MemberConfig, ...]
    insecure: bool = False
    timing: TimingConfig = TimingConfig()
    storage: StorageConfig = StorageConfig()
    limits: dict[str, int] = Field(default_factory=dict)
    store_limits: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        values = dict(data)
        own = values.get("member", 1)
        members = values.get("members")
        mine: Any = None
        if members is not None:
            if not isinstance(members, list | tuple):
                raise ValueError("members is a list of tables: [[members]]")
            mine = next(
                (each for each in members if isinstance(each, Mapping) and each.get("id") == own), None
            )
            if mine is None:
                raise ValueError(f"member {own} is not in the list of members")
        client = _address(mine["client"]) if mine and "client" in mine else None
        peer = _address(mine["peer"]) if mine and mine.get("peer") else None
        listen = values["listen"] = (
            _address(values.get("listen")) or client or Address(host="127.0.0.1", port=DEFAULT_CLIENT_PORT)
        )
        if isinstance(listen, Address):
            values["peer_listen"] = (
                _address(values.get("peer_listen"))
                or peer
                or Address(host=listen.host, port=listen.port + PEER_PORT_OFFSET if listen.port else 0)
            )
        if members is None:
            values["members"] = [{"id": own, "client": listen, "peer": values.get("peer_listen")}]
        return values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        ids = [each.id for each in self.members]
        if len(set(ids)) != len(ids):
            raise ValueError("two members have the same id")
        addresses = [str(address) for each in self.members for address in (each.client, each.peer)]
        doubled = sorted({address for address in addresses if addresses.count(address) > 1})
        if doubled and not any(address.endswith(":0") for address in doubled):
            raise ValueError(
                f"{doubled[0]} is given twice: each member has a client and a peer address of its own"
            )
        if len(ids) > 9:
            raise ValueError("at most 9 members: more voters make a cluster slower, not safer")
        for what, address in (("listen", self.listen), ("peer_listen", self.peer_listen)):
            if not address.is_loopback and not self.insecure:
                raise ValueError(
                    f"{what} = {address} is open to the network, and there is no TLS yet: anybody who reaches it can "
                    "read and write everything. On a network that you trust say --insecure (insecure = true)"
                )
        for name, limits in (("limits", MemberLimits), ("store_limits", StoreLimits)):
            _check_limits(name, getattr(self, name), limits)
        return self

    @property
    def others(self) -> tuple[MemberConfig, ...]:
        return tuple(each for each in self.members if each.id != self.member)

    def replica_settings(self) -> ReplicaSettings:
        timing = self.timing
        return ReplicaSettings(
            tick_ms=timing.tick_ms,
            raft=RaftSettings(
                election_ticks=max(timing.election_ms // timing.tick_ms, 2),
                heartbeat_ticks=max(timing.heartbeat_ms // timing.tick_ms, 1),
            ),
            limits=MemberLimits(**self.limits),
            store_limits=StoreLimits(**self.store_limits),
            snapshot_log_bytes=self.storage.snapshot_log_bytes,
            snapshot_entries=self.storage.snapshot_entries,
            snapshot_requests=self.storage.snapshot_requests,
            catch_up_bytes=self.storage.catch_up_bytes,
        )

    def storage_settings(self) -> StorageSettings:
        return StorageSettings(segment_bytes=self.storage.segment_bytes)


def _check_limits(table: str, values: dict[str, int], kind: type[MemberLimits] | type[StoreLimits]) -> None:
    known = [field.name for field in fields(kind)]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no limit {name!r} in [{table}]; there are: {', '.join(known)}")
        if value < 1:
            raise ValueError(f"{table}.{name} = {value}: at least 1")
        if name == "outbox_bytes" and value < OUTBOX_MIN_BYTES:
            raise ValueError(f"{table}.{name} = {value}: at least {OUTBOX_MIN_BYTES}")
        if name == "changes_per_request" and value > CHANGES_MAX:
            raise ValueError(f"{table}.{name} = {value}: at most {CHANGES_MAX}")
        if name == "label_bytes" and value > LABEL_BYTES_MAX:
            raise ValueError(f"{table}.{name} = {value}: at most {LABEL_BYTES_MAX}")
    if kind is StoreLimits:
        limits = StoreLimits(**values)
        changes, maximum = (
            limits.ephemerals_per_session + 2 * limits.claims_per_session,
            CHANGES_MAX - GRANTS_MAX,
        )
        if changes > maximum:
            raise ValueError(
                f"{table}.ephemerals_per_session + 2 * {table}.claims_per_session = {changes}: at most {maximum}, for "
                "they all end in one revision"
            )


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> Config:
    """The configuration in the file at ``path`` (if any), with ``overrides`` (flags) on top.

    Raises :class:`ConfigError`.
    """
    values: dict[str, Any] = {}
    source = "the flags"
    if path is not None:
        source = str(path)
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"the configuration in {source} cannot be used: {_sentences(error)}") from error


def parse_members(text: str) -> list[dict[str, Any]]:
    """``1=host:port,2=host:port/peerhost:port``: the form that a flag can take. Raises :class:`ConfigError`."""
    members = []
    for part in text.split(","):
        number, equals, addresses = part.strip().partition("=")
        client, slash, peer = addresses.partition("/")
        if not equals or not number.isdigit() or not client or (slash and not peer):
            raise ConfigError(f"{part!r} is not ID=CLIENT_HOST:PORT or ID=CLIENT_HOST:PORT/PEER_HOST:PORT")
        members.append({"id": int(number), "client": client, "peer": peer or None})
    return members


def _sentences(error: ValidationError) -> str:
    found = []
    for each in error.errors():
        where = ".".join(str(part) for part in each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            message = "there is no such setting (a typo?)"
        found.append(f"{where}: {message}" if where else message)
    return "; ".join(found)
