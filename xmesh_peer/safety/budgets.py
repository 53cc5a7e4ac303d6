"""The arithmetic of caps: what counts, what fits, when to warn, when to come back.

Pure: amounts are integers (wakes, or nano-USD), times milliseconds of the ledger's own clock.
A window of length w at time t holds what happened after t - w: an item leaves it exactly w after
it came in. A cap may be reached, never passed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Literal

from xmesh_peer.settings import Budget

__all__ = [
    "DAY_MS",
    "HOUR_MS",
    "MINUTE_MS",
    "Caps",
    "Denial",
    "Gauge",
    "Span",
    "Unit",
    "caps_of",
    "denial",
    "fits",
    "is_near",
    "longest",
    "retry_after_ms",
    "usd",
    "usd_to_nano",
    "warning",
    "warning_due",
]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WARN_PERCENT = 80
NANO = 1_000_000_000

Unit = Literal["wakes", "nano"]
Span = Literal["run", "minute", "hour", "day"]

_SPAN_MS: dict[Span, int | None] = {
    "run": None,
    "minute": MINUTE_MS,
    "hour": HOUR_MS,
    "day": DAY_MS,
}
_KEYS: dict[Unit, str] = {"wakes": "max_wakes_per_{}", "nano": "max_cost_usd_per_{}"}


@dataclass(frozen=True, slots=True)
class Caps:
    """What one peer may use; money in nano-USD."""

    wakes_minute: int
    wakes_hour: int
    wakes_day: int
    run_nano: int
    hour_nano: int
    day_nano: int


@dataclass(frozen=True, slots=True)
class Denial:
    """Why not: the cap that stands in the way longest, a sentence, and when to ask again.

    ``retry_after_s`` is None where waiting does not help.
    """

    limit: Span
    text: str
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cap and how much of it is used."""

    unit: Unit
    span: Span
    cap: int
    used: int

    @property
    def window_ms(self) -> int | None:
        """The length of the window; None for a run, which ends only with the run."""
        return _SPAN_MS[self.span]

    @property
    def key(self) -> str:
        """The key in ``[budget]`` that sets this cap."""
        return _KEYS[self.unit].format(self.span)

    def show(self, amount: int) -> str:
        """Write an amount for people."""
        if self.unit == "nano":
            return usd(amount)
        return "1 wake" if amount == 1 else f"{amount} wakes"


def fits(gauge: Gauge, new: int) -> bool:
    """Tell whether ``new`` may be added; reaching the cap exactly is allowed."""
    return gauge.used + new <= gauge.cap


def is_near(gauge: Gauge) -> bool:
    """Tell whether 80 % of the cap, or more, are used."""
    return gauge.cap > 0 and 100 * gauge.used >= WARN_PERCENT * gauge.cap


def warning_due(gauge: Gauge, warned_ms: int | None, now_ms: int) -> bool:
    """Tell whether to warn now, once a window; ``warned_ms`` is when that was done last."""
    if not is_near(gauge):
        return False
    if warned_ms is None:
        return True
    return gauge.window_ms is not None and now_ms - warned_ms >= gauge.window_ms


def retry_after_ms(
    items: Sequence[tuple[int, int]], gauge: Gauge, new: int, now_ms: int
) -> int | None:
    """Return in how many ms ``new`` fits, if nothing else is added; None for never.

    ``items`` are (when, amount) of what is in the window, oldest first.
    """
    if gauge.window_ms is None or new > gauge.cap:
        return None
    excess = gauge.used + new - gauge.cap
    for at_ms, amount in items:
        excess -= amount
        if excess <= 0:
            return at_ms + gauge.window_ms - now_ms
    return None


def denial(peer: str, gauge: Gauge, new: int, wait_ms: int | None) -> Denial:
    """Put a refusal into words."""
    text = (
        f"{peer} has used {gauge.show(gauge.used)} of {gauge.show(gauge.cap)} per "
        f"{gauge.span}, and this needs {'up to ' if gauge.unit == 'nano' else ''}{gauge.show(new)}"
        f" ([budget] {gauge.key})"
    )
    return Denial(gauge.span, text, None if wait_ms is None else wait_ms / 1000)


def warning(peer: str, gauge: Gauge) -> str:
    """Put a warning into words."""
    return (
        f"{peer} has used {gauge.show(gauge.used)} of {gauge.show(gauge.cap)} per {gauge.span} "
        f"({100 * gauge.used // gauge.cap} %, [budget] {gauge.key})"
    )


def longest(denials: Iterable[Denial]) -> Denial | None:
    """Return the denial that lasts longest, so that who waits for it is not denied again."""
    return max(denials, key=_lasts, default=None)


def _lasts(found: Denial) -> float:
    return float("inf") if found.retry_after_s is None else found.retry_after_s


def caps_of(budget: Budget) -> Caps:
    """Return the caps that ``[budget]`` sets."""
    return Caps(
        wakes_minute=budget.max_wakes_per_minute,
        wakes_hour=budget.max_wakes_per_hour,
        wakes_day=budget.max_wakes_per_day,
        run_nano=usd_to_nano(budget.max_cost_usd_per_run),
        hour_nano=usd_to_nano(budget.max_cost_usd_per_hour),
        day_nano=usd_to_nano(budget.max_cost_usd_per_day),
    )


def usd(nano: int) -> str:
    """Write money with four digits after the point, more where a smaller amount needs them."""
    whole, rest = divmod(nano, NANO)
    digits = f"{rest:09d}".rstrip("0")
    return f"${whole}.{digits:0<4}"


def usd_to_nano(amount: float) -> int:
    """Return a cap given in USD as nano-USD, rounded down: a cap is never made larger."""
    return int((Decimal(str(amount)) * NANO).to_integral_value(rounding=ROUND_FLOOR))
