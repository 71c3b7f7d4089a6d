"""What a member is told by its operator: a TOML file, flags, or nothing at all.

Checked whole before anything is opened; every fault is one sentence that names the setting.
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError, model_validator

from coord.disk.settings import StorageSettings
from coord.limits import (
    CHANGES_MAX,
    CLIENT_FRAME_MAX_BYTES,
    GRANTS_MAX,
    LABEL_BYTES_MAX,
    LIST_PAGE_BYTES_MAX,
    LIST_PAGE_MAX,
    MIB,
    MULTI_REPLY_BYTES_MAX,
    OUTBOX_MIN_BYTES,
    MemberLimits,
    StoreLimits,
)
from coord.raft.settings import RaftSettings
from coord.replica.settings import ReplicaSettings
from coord.wire.op_rows import INT_MAX

DEFAULT_CLIENT_PORT = 4711
PEER_PORT_OFFSET = 10
"""The members' own port, where none is given: the client port and this."""

LIMIT_MINIMA: Final = {"outbox_bytes": OUTBOX_MIN_BYTES}
LIMIT_MAXIMA: Final = {
    "changes_per_request": CHANGES_MAX,
    "label_bytes": LABEL_BYTES_MAX,
    "list_page": LIST_PAGE_MAX,
    "list_page_bytes": LIST_PAGE_BYTES_MAX,
    "multi_reply_bytes": MULTI_REPLY_BYTES_MAX,
    "value_bytes": CLIENT_FRAME_MAX_BYTES,
}
"""Others end where the numbers of the log do: one beyond that could be written there, and not be read again."""


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


def _address(value: Any, name: str) -> Address | None:
    """What ``value`` says; ``None`` if it says nothing. Raises :class:`ValueError`."""
    if value is None or isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{name} = {value!r}: an address is text, such as "127.0.0.1:4711"')
    return Address.parse(value)


def _peer_of(client: Address) -> Address:
    """Where the other members connect, if nothing is said of it."""
    port = client.port + PEER_PORT_OFFSET if client.port else 0
    if port > 65535:
        raise ValueError(
            f"the members' own port, where none is given, is the client port and {PEER_PORT_OFFSET}: {port} is none; "
            "say `peer` (or `peer_listen`)"
        )
    return Address(host=client.host, port=port)


class MemberConfig(BaseModel):
    """One member of the cluster, as the others and the clients reach it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: StrictInt = Field(ge=1, le=2**31 - 1)
    client: Address
    peer: Address

    @model_validator(mode="before")
    @classmethod
    def _addresses(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        client, peer = (_address(data.get(name), name) for name in ("client", "peer"))
        if client is None:
            raise ValueError("it has no `client`, the address where clients connect")
        return {**data, "client": client, "peer": peer or _peer_of(client)}


class TimingConfig(BaseModel):
    """The same on all members."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tick_ms: StrictInt = Field(default=20, ge=1, le=1000)
    heartbeat_ms: StrictInt = Field(default=60, ge=1)
    election_ms: StrictInt = Field(default=300, ge=2)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.tick_ms <= self.heartbeat_ms < self.election_ms:
            raise ValueError("tick_ms <= heartbeat_ms < election_ms must hold")
        return self


class StorageConfig(BaseModel):
    """How much of the log there is between snapshots, and behind them; each member's own business."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    segment_bytes: StrictInt = Field(default=StorageSettings().segment_bytes, ge=1, le=1024 * MIB)
    snapshot_log_bytes: StrictInt = Field(default=ReplicaSettings().snapshot_log_bytes, ge=1)
    snapshot_entries: StrictInt = Field(default=ReplicaSettings().snapshot_entries, ge=1)
    snapshot_requests: StrictInt = Field(default=ReplicaSettings().snapshot_requests, ge=1)
    catch_up_bytes: StrictInt = Field(default=ReplicaSettings().catch_up_bytes, ge=1)


class Config(BaseModel):
    """One member's configuration. The defaults are a cluster of one on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    member: StrictInt = Field(default=1, ge=1, le=2**31 - 1)
    data: Path = Path("coord-data")
    listen: Address
    peer_listen: Address
    members: tuple[MemberConfig, ...]
    insecure: StrictBool = False
    timing: TimingConfig = TimingConfig()
    storage: StorageConfig = StorageConfig()
    limits: dict[str, StrictInt] = Field(default_factory=dict)
    store_limits: dict[str, StrictInt] = Field(default_factory=dict)

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
            for each in members:
                if not isinstance(each, Mapping) or type(each.get("id")) is not int:
                    raise ValueError(f"members: {each!r} is not a table with a whole number as its id")
            mine = next((each for each in members if each["id"] == own), None)
            if mine is None:
                raise ValueError(f"member {own!r} is not in the list of members")
        client, peer = (_address(mine.get(name), name) if mine else None for name in ("client", "peer"))
        listen = values["listen"] = (
            _address(values.get("listen"), "listen")
            or client
            or Address(host="127.0.0.1", port=DEFAULT_CLIENT_PORT)
        )
        values["peer_listen"] = _address(values.get("peer_listen"), "peer_listen") or peer or _peer_of(listen)
        if members is None:
            values["members"] = [{"id": own, "client": listen, "peer": values["peer_listen"]}]
        if values.get("data") == "":
            raise ValueError("data is empty: it is the folder for this member's data")
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
        minimum, maximum = LIMIT_MINIMA.get(name, 1), LIMIT_MAXIMA.get(name, INT_MAX)
        if value < minimum:
            raise ValueError(f"{table}.{name} = {value}: at least {minimum}")
        if value > maximum:
            raise ValueError(f"{table}.{name} = {value}: at most {maximum}")
    if kind is StoreLimits:
        limits = StoreLimits(**values)
        if limits.session_timeout_min_ms > limits.session_timeout_max_ms:
            raise ValueError(
                f"{table}.session_timeout_min_ms = {limits.session_timeout_min_ms}: at most session_timeout_max_ms, "
                f"which is {limits.session_timeout_max_ms}"
            )
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
