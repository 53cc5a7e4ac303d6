"""Everything that can go wrong, on one screen.

    XmeshError
    ├── UsageError            the command line makes no sense
    ├── ConfigError           an agent.toml, a path or an environment variable is wrong
    ├── CollisionError        this node already runs somewhere else
    ├── BudgetError           the run's money is spent
    ├── KilledError           a tombstone forbids this peer to run
    ├── RecordError           bytes or values that are no record of ours
    │   └── SignatureError    a record that is not what its author signed
    ├── BusError
    │   ├── BusUnavailable    nobody answers on the bus socket; try again
    │   └── PublishRefused    the bus will not take this record; trying again is pointless
    ├── StoreError            a node's own store cannot be read or written
    ├── LedgerBusy            the spend ledger could not be written in bounded time
    ├── WireError             what a node beyond this host sent, or would be sent (wire/errors.py)
    └── SupervisorError       the supervisor is away, or refuses

A message says what is wrong, where, and what to type next. ``exit_code`` is what a process that
ends on the error exits with; the supervisor reads it (see ``ExitCode``).
"""

from enum import IntEnum

__all__ = [
    "BudgetError",
    "BusError",
    "BusUnavailable",
    "CollisionError",
    "ConfigError",
    "ExitCode",
    "KilledError",
    "LedgerBusy",
    "ProofRefused",
    "PublishRefused",
    "RecordError",
    "SignatureError",
    "StoreError",
    "SupervisorError",
    "UsageError",
    "XmeshError",
]


class ExitCode(IntEnum):
    """How a process of ours says why it ended. The last four are final: nothing revives them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIG = 78
    COLLISION = 80
    BUDGET = 81
    KILLED = 82


FINAL_EXITS = frozenset(
    {ExitCode.CONFIG, ExitCode.COLLISION, ExitCode.BUDGET, ExitCode.KILLED},
)


class XmeshError(Exception):
    """The root. ``what`` went wrong, ``where`` (file and key, or peer), and how to ``fix`` it."""

    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  fix: {self.fix}" if self.fix else head


class UsageError(XmeshError):
    exit_code = ExitCode.USAGE


class ConfigError(XmeshError):
    exit_code = ExitCode.CONFIG


class CollisionError(XmeshError):
    exit_code = ExitCode.COLLISION


class BudgetError(XmeshError):
    exit_code = ExitCode.BUDGET


class KilledError(XmeshError):
    exit_code = ExitCode.KILLED


class RecordError(XmeshError):
    """``code`` is a short, stable word for logs and tests."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(what or code)
        self.code = code


class SignatureError(RecordError):
    pass


class BusError(XmeshError):
    pass


class BusUnavailable(BusError):  # noqa: N818 - a state of the world, named as one
    pass


class PublishRefused(BusError):  # noqa: N818 - the bus's answer, named as one
    """``code`` is the bus's short, stable reason."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(what or code)
        self.code = code


class ProofRefused(BusError):  # noqa: N818 - the bus's answer, named as one
    """A member gave no proof. ``code``: not-connected, declined, timeout, busy or too-large."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(what or code)
        self.code = code


class StoreError(XmeshError):
    pass


class LedgerBusy(XmeshError):  # noqa: N818 - a state of the world, named as one
    """``holder`` names the process that holds the ledger, where it can be told."""

    def __init__(self, what: str, *, holder: str = "unknown") -> None:
        super().__init__(what)
        self.holder = holder


class SupervisorError(XmeshError):
    pass
