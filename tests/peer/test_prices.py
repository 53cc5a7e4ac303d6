"""Prices are whole nano-USD per token, rounded up, and the dearest of those that may apply."""

import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import data_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from xmesh_peer import prices
from xmesh_peer.prices import Price

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture
def table() -> Any:
    """Return a function that makes one model with the given prices the whole price table."""

    def use(listed: Any) -> None:
        model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=listed)
        provider = Provider(id="openai", name="x", api_pattern="x", models=[model])
        data_snapshot.set_custom_snapshot(
            data_snapshot.DataSnapshot(providers=[provider], from_auto_update=False)
        )

    yield use
    data_snapshot.set_custom_snapshot(None)


def usd(sent: Any, answered: Any) -> Any:
    return ModelPrice(input_mtok=Decimal(sent), output_mtok=Decimal(answered))


@pytest.mark.parametrize(
    ("usd_per_million", "nano"),
    [(1, 1000), (0.15, 150), (0.0001, 1), (0.001, 1), (0.0011, 2), (0, 0), (0.1 + 0.2, 301)],
)
def test_a_price_is_rounded_up_to_whole_nano_usd(usd_per_million: Any, nano: Any) -> None:
    assert prices.per_million(usd_per_million, 1) == Price(nano, 1000)
    assert prices.per_million(1, usd_per_million) == Price(1000, nano)


@pytest.mark.parametrize(
    ("vendor", "model", "price"),
    [
        ("anthropic", "claude-opus-4-7", Price(5000, 25000)),
        ("anthropic", "claude-sonnet-4-6", Price(3000, 15000)),
        ("openai", "gpt-4o-mini", Price(150, 600)),
        ("openai", "gpt-5-mini", Price(250, 2000)),
    ],
)
def test_known_models_cost_what_their_vendors_say(vendor: str, model: str, price: Any) -> None:
    assert prices.look_up(vendor, model) == price


def test_a_model_that_nobody_knows_or_that_has_no_token_price_is_unknown() -> None:
    assert prices.look_up("openai", "no-such-model") is None
    assert prices.look_up("openai", "whisper-1") is None
    assert prices.look_up("nobody", "gpt-5-mini") is None


def test_of_tiers_the_dearest_counts_wherever_it_stands(table: Any) -> None:
    for base, tier in ((1, 2), (2, 1)):
        sent = TieredPrices(base=Decimal(base), tiers=[Tier(start=9, price=Decimal(tier))])
        table(ModelPrice(input_mtok=sent, output_mtok=Decimal(3)))
        assert prices.look_up("openai", "m", NOW) == Price(2000, 3000)


def test_a_price_that_has_been_replaced_no_longer_counts(table: Any) -> None:
    first = ConditionalPrice(prices=usd(9, 9))
    today = ConditionalPrice(StartDateConstraint(NOW.date()), prices=usd(1, 2))
    table([first, today])
    assert prices.look_up("openai", "m", NOW) == Price(1000, 2000)


def test_a_price_that_starts_tomorrow_counts_already_if_it_is_dearer(table: Any) -> None:
    tomorrow = StartDateConstraint(date(2026, 6, 16))
    table([ConditionalPrice(prices=usd(1, 2)), ConditionalPrice(tomorrow, prices=usd(3, 1))])
    assert prices.look_up("openai", "m", NOW) == Price(3000, 2000)


def test_the_dear_hours_count_outside_of_them_too(table: Any) -> None:
    night = TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))
    table([ConditionalPrice(prices=usd(1, 2)), ConditionalPrice(night, prices=usd(4, 8))])
    assert prices.look_up("openai", "m", NOW) == Price(4000, 8000)


@pytest.mark.parametrize("half", [{"input_mtok": Decimal(1)}, {"output_mtok": Decimal(1)}, {}])
def test_half_a_price_is_none(table: Any, half: Any) -> None:
    table(ModelPrice(**half))
    assert prices.look_up("openai", "m", NOW) is None


def test_looking_up_opens_no_connection() -> None:
    code = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "from xmesh_peer import prices\n"
        "assert prices.look_up('openai', 'gpt-5-mini') and not prices.look_up('openai', 'nope')"
    )
    root = Path(prices.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
