"""What the interop tests need of this machine, and the reason for a skip where it is missing."""

from collections.abc import Iterator

import pytest
from helpers import netns, stock
from helpers.netns import Lan


@pytest.fixture
def stock_sym() -> None:
    _need(stock.unavailable(stock.SYM))


@pytest.fixture
def stock_relay() -> None:
    _need(stock.unavailable(stock.RELAY))


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Three hosts on one LAN."""
    _need(netns.unavailable())
    with netns.lan("one", "two", "three") as made:
        yield made


def _need(reason: str | None) -> None:
    if reason:
        pytest.skip(reason)
