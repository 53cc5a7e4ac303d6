"""What a token costs, as whole nano-USD (1e-9 $), rounded up; looked up before a peer starts.

The table is the snapshot inside the genai-prices package: no network. Where it knows several
prices for one model (long prompts, times of day) the dearest counts, for caps must hold at worst.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

_NANO_PER_TOKEN = 1000  # 1 USD per million tokens = 1e9 nano-USD / 1e6 tokens


class Price(msgspec.Struct, frozen=True):
    """Nano-USD per token sent and per token answered."""

    input_nano: int
    output_nano: int


FREE = Price(0, 0)


def per_million(input_usd: float | Decimal, output_usd: float | Decimal) -> Price:
    """Return the price for USD per million tokens."""
    return Price(_nano(Decimal(str(input_usd))), _nano(Decimal(str(output_usd))))


def look_up(vendor: str, model_name: str, now: datetime | None = None) -> Price | None:
    """Return the dearest price of the vendor's model from ``now`` on, or None if it is unknown."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(model_name, None, vendor, None)
    except LookupError:
        return None
    pairs = [_pair(price) for price in _applicable(model, now or datetime.now(UTC))]
    if not pairs or None in pairs:
        return None
    known = [pair for pair in pairs if pair is not None]
    return per_million(max(pair[0] for pair in known), max(pair[1] for pair in known))


def _nano(usd_per_million: Decimal) -> int:
    return math.ceil(usd_per_million * _NANO_PER_TOKEN)


def _applicable(model: "ModelInfo", now: datetime) -> Iterator["ModelPrice"]:
    """Yield the standard price of ``now`` and every price that may come into force by itself."""
    yield model.get_prices(now)
    if isinstance(model.prices, list):
        from genai_prices.types import StartDateConstraint

        for one in model.prices:
            constraint = one.constraint
            past = isinstance(constraint, StartDateConstraint) and constraint.active(now)
            if constraint is not None and not past:
                yield one.prices


def _pair(price: "ModelPrice") -> tuple[Decimal, Decimal] | None:
    sent, answered = getattr(price, "input_mtok", None), getattr(price, "output_mtok", None)
    if sent is None or answered is None:
        return None
    return _dearest(sent), _dearest(answered)


def _dearest(price: "Decimal | TieredPrices") -> Decimal:
    if isinstance(price, Decimal):
        return price
    return max(price.base, *(tier.price for tier in price.tiers))
