"""A configuration is checked whole, and each fault is one sentence that names the setting."""

from pathlib import Path

import pytest

from coord.replica.settings import ReplicaSettings
from coord.server.config import Address, ConfigError, load_config, parse_members


def load(tmp_path: Path, text: str, **overrides: object):
    path = tmp_path / "coord.toml"
    path.write_text(text)
    return load_config(path, overrides)


def test_the_default_is_one_member_on_loopback() -> None:
    config = load_config(None, {})
    assert str(config.listen) == "127.0.0.1:4711"
    assert config.others == ()
    assert config.data == Path("coord-data")


def test_the_readme_file(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    text = readme.split("```toml\n")[1].split("```")[0]
    config = load(tmp_path, text)
    assert config.member == 1
    assert str(config.listen) == "10.0.0.1:4711"
    assert [str(each.peer) for each in config.members] == ["10.0.0.1:4721", "10.0.0.2:4721", "10.0.0.3:4721"]


def test_flags_override_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, 'data = "a"\n', data=Path("b"))
    assert config.data == Path("b")


MEMBERS = '[[members]]\nid = 1\nclient = "127.0.0.1:1"\n[[members]]\nid = 2\nclient = "127.0.0.1:2"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('dta = "x"', "dta: there is no such setting"),
        ("member = 0", "member"),
        ('member = "x"', "member"),
        ("member = [", "is not TOML"),
        ('listen = "127.0.0.1"', "not host:port"),
        ('listen = "127.0.0.1:99999"', "not host:port"),
        ('listen = "::1:4711"', "brackets"),
        ('listen = "0.0.0.0:4711"', "--insecure"),
        ('listen = "example.org:4711"', "--insecure"),
        ("[limits]\nvalue_byte = 5", "no limit 'value_byte'"),
        ("[limits]\nlist_page = 0", "at least 1"),
        ("[store_limits]\nchanges_per_request = 30000", "at most 20000"),
        ("[store_limits]\nlabel_bytes = 5000", "at most 4096"),
        ("[store_limits]\nclaims_per_session = 5000", "at most 19000"),
        ("[limits]\noutbox_bytes = 5", "at least 4194304"),
        ("[store_limits]\nznode = 5", "no limit 'znode'"),
        ("[timing]\nelection_ms = 10", "heartbeat_ms < election_ms"),
        (f"member = 3\n{MEMBERS}", "member 3 is not in the list"),
        (MEMBERS.replace("id = 2", "id = 1"), "same id"),
        (MEMBERS.replace("127.0.0.1:2", "127.0.0.1:1"), "given twice"),
        (MEMBERS + 'port = "x"', "no such setting"),
        ("members = 5", "members"),
        ("members = [5]", "members: 5 is not a table"),
        ('[[members]]\nid = "1"\nclient = "127.0.0.1:1"', "a whole number as its id"),
        ("[[members]]\nid = 1", "it has no `client`"),
        ("[[members]]\nid = 1\nclient = 4711", "client = 4711: an address is text"),
        ('[[members]]\nid = 1\nclient = "127.0.0.1:65530"', "65540 is none"),
        ("listen = 4711", "listen = 4711: an address is text"),
        # A number is a number: what else could be taken for one is a mistake somewhere.
        ('member = "1"', "member: Input should be a valid integer"),
        ("member = true", "member: Input should be a valid integer"),
        ('insecure = "yes"', "insecure: Input should be a valid boolean"),
        ("[limits]\nconnections = true", "limits.connections: Input should be a valid integer"),
        ('[timing]\ntick_ms = "20"', "timing.tick_ms: Input should be a valid integer"),
        ('data = ""', "data is empty"),
        ("[store_limits]\nznodes = 9223372036854775808", "at most 9223372036854775807"),
        ("[store_limits]\nvalue_bytes = 5000000", "at most 4194304"),
        ("[limits]\nlist_page = 100000", "at most 16384"),
        (
            "[store_limits]\nsession_timeout_min_ms = 5000\nsession_timeout_max_ms = 1000",
            "at most session_timeout_max_ms",
        ),
    ],
)
def test_faults(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml", {})


def test_members_on_the_command_line() -> None:
    assert parse_members("1=a:1,2=[::1]:2/b:3") == [
        {"id": 1, "client": "a:1", "peer": None},
        {"id": 2, "client": "[::1]:2", "peer": "b:3"},
    ]
    for bad in ("x", "1=", "=a:1", "1=a:1/", ""):
        with pytest.raises(ConfigError):
            parse_members(bad)


def test_addresses() -> None:
    assert str(Address.parse("[::1]:5")) == "[::1]:5"
    assert Address.parse("localhost:5").is_loopback
    assert Address.parse("127.8.8.8:5").is_loopback
    assert not Address.parse("10.0.0.1:5").is_loopback


def test_storage(tmp_path: Path) -> None:
    file = tmp_path / "coord.toml"
    file.write_text("[storage]\nsegment_bytes = 4096\nsnapshot_entries = 50\ncatch_up_bytes = 2000\n")
    config = load_config(file, {})
    assert config.storage_settings().segment_bytes == 4096
    settings = config.replica_settings()
    assert (settings.snapshot_entries, settings.catch_up_bytes) == (50, 2000)
    assert settings.snapshot_log_bytes == ReplicaSettings().snapshot_log_bytes
    file.write_text("[storage]\nsnapshot_entries = 0\n")
    with pytest.raises(ConfigError, match=r"storage\.snapshot_entries: .*greater than or equal to 1"):
        load_config(file, {})
