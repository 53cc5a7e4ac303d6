"""Who is counted together, and how many may come."""

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.relay.door import Door, party, proxy_address


def test_no_more_connections_than_allowed_are_open_at_once() -> None:
    door = Door(2, 9, frozenset())
    assert [door.open(), door.open(), door.open()] == [True, True, False]
    door.shut()
    door.shut()
    assert door.open()
    assert not door.open()


def test_one_party_does_not_take_anothers_places() -> None:
    door = Door(9, 2, frozenset())
    assert [door.enter("a"), door.enter("a"), door.enter("a"), door.enter("b")] == [
        *(True, True, False),
        True,
    ]
    door.leave("a")
    assert [door.enter("a"), door.enter("a")] == [True, False]


@pytest.mark.parametrize(
    ("address", "forwarded", "counted"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "203.0.113.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7,", "127.0.0.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", "", ""),
    ],
)
def test_a_party_is_an_address_or_what_the_proxy_names_last(
    address: str, forwarded: str, counted: str
) -> None:
    assert party(address, forwarded) == counted


def test_loopback_and_named_addresses_are_proxies() -> None:
    door = Door(9, 9, frozenset({"10.0.0.1"}))
    for address in ("127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "::ffff:10.0.0.1"):
        assert door.is_proxy(address)
    for address in ("10.0.0.2", "2001:db8::1", "", "localhost"):
        assert not door.is_proxy(address)


def test_a_proxy_is_named_by_its_address() -> None:
    assert proxy_address("::ffff:10.0.0.1") == "10.0.0.1"
    with pytest.raises(ConfigError, match="--proxy"):
        proxy_address("proxy.example")
