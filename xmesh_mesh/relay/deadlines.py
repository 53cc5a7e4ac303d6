"""Deadlines of many connections that all wait equally long. Pure: time is an argument."""

__all__ = ["Deadlines"]


class Deadlines:
    """Each started deadline falls due ``wait_ms`` later, so the oldest is always the next."""

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._due: dict[int, int] = {}

    @property
    def next_ms(self) -> int | None:
        return next(iter(self._due.values()), None)

    def start(self, conn: int, now_ms: int) -> None:
        """Begin, or begin anew, to wait for ``conn``."""
        self._due.pop(conn, None)
        self._due[conn] = now_ms + self._wait_ms

    def stop(self, conn: int) -> None:
        self._due.pop(conn, None)

    def take(self, now_ms: int) -> list[int]:
        """Return whose deadline has come, oldest first; they are not waited for any longer."""
        due = []
        for conn, due_ms in self._due.items():
            if due_ms > now_ms:
                break
            due.append(conn)
        for conn in due:
            del self._due[conn]
        return due
