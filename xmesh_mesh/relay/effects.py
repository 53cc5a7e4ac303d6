"""What the relay decides, as values: the shell carries them out in their order."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

__all__ = ["REASONS", "TOLD", "Abort", "Close", "Code", "Effect", "Note", "Send"]


class Code(IntEnum):
    """Why a connection is closed. 4001 to 4006 are the deployed relay's."""

    GOING_AWAY = 1001
    TRY_AGAIN_LATER = 1013
    NO_LOGIN = 4001
    BAD_LOGIN = 4002
    BAD_TOKEN = 4003
    REPLACED = 4004
    NO_PONG = 4005
    TOO_FRESH = 4006


@dataclass(frozen=True, slots=True)
class Send:
    to: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close after what was sent before; nothing is sent to ``conn`` after it."""

    conn: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """The client was told to go and did not: cut it off."""

    conn: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    level: Literal["info", "warning"]
    event: str
    text: str


Effect = Send | Close | Abort | Note

REASONS = {
    Code.GOING_AWAY: "the relay stops",
    Code.TRY_AGAIN_LATER: "more than this relay carries; try again later",
    Code.NO_LOGIN: "no login came in time",
    Code.BAD_LOGIN: "the first message was no login",
    Code.BAD_TOKEN: "the token opens no channel",
    Code.REPLACED: "the node logged in again elsewhere",
    Code.NO_PONG: "a ping was not answered",
    Code.TOO_FRESH: "the node logged in elsewhere a moment ago",
}
# What is said in a ``relay-error`` before the close.
TOLD = {
    Code.TRY_AGAIN_LATER: "The channel is full",
    Code.BAD_TOKEN: "Invalid token",
    Code.TOO_FRESH: "This node is connected already",
}
