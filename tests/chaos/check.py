"""Count, in the stores of a stopped mesh, whether every emit that returned arrived exactly once.

    python tests/chaos/check.py RUNTIME_DIR

Reads ``returned.txt`` (an assertion id a line) and the peers' memories with SQLite alone; of the
product it uses only the format: what a stored record hashes to. An emit of a peer itself counts as
returned when the bus acknowledged it.
"""

import sqlite3
import sys
from collections import Counter
from pathlib import Path

from xmesh_mesh.record import decode
from xmesh_mesh.signing import assertion_id


def main(root: Path) -> int:
    stores = {path.parent.name: _read(path) for path in sorted(root.glob("nodes/*/memory.db"))}
    returned = [(line, "") for line in (root / "returned.txt").read_text().split()]
    for name, (_, own) in stores.items():
        returned += [(assertion, name) for assertion in own]
    faults = []
    for name, (received, _) in stores.items():
        expected = {assertion for assertion, author in returned if author != name}
        missing = expected - set(received)
        doubled = [assertion for assertion, count in received.items() if count != 1]
        faults += [f"{name} never got {assertion}" for assertion in sorted(missing)]
        faults += [f"{name} has {assertion} {received[assertion]} times" for assertion in doubled]
        print(f"{name}: {len(received)} received, {len(expected)} expected, {len(missing)} missing")
    from_peers = sum(len(own) for _, own in stores.values())
    print(f"{len(returned)} returned, {from_peers} of them by the peers; {len(faults)} faults")
    print("\n".join(faults[:20]))
    enough = len(stores) == 3 and returned
    return 0 if enough and not faults else 1


def _read(path: Path) -> tuple[Counter[str], list[str]]:
    """Return how often each foreign record is stored, and the own ones that the bus has taken."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise SystemExit(f"{path} is damaged")
        rows = db.execute("SELECT wire, own, seq FROM records").fetchall()
        open_wakes = db.execute("SELECT count(*) FROM wakes WHERE state = 'running'").fetchone()[0]
    db.close()
    if open_wakes:
        raise SystemExit(f"{path} has {open_wakes} wakes that nobody finished")
    hashed = [(assertion_id(decode(wire)), own, seq) for wire, own, seq in rows]
    received = Counter(assertion for assertion, own, _ in hashed if not own)
    return received, [assertion for assertion, own, seq in hashed if own and seq]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
