"""The promise, under any interleaving: an accepted record reaches every living member, in order.

Members keep their own stores, lose connections, forget nothing but what a crash takes, and come
back with a position of their own, with none, or on a bus that was killed in between.
"""

from dataclasses import dataclass, field

from helpers.bus_service import Desk, node_id
from hypothesis import given, settings
from hypothesis import strategies as st

from xmesh_mesh.bus import frames

NAMES = ("a", "b", "c", "d")


@dataclass
class Receiver:
    """What one member has stored, in order of arrival, and how far it has acknowledged."""

    seqs: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    due: list[int] = field(default_factory=list)
    incoming: list[tuple[int, int]] = field(default_factory=list)


class World:
    """Drives a Desk and keeps the account of who is owed what."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.members: dict[str, Receiver] = {}
        self.connected: set[str] = set()
        self.mark = 0

    def collect(self) -> None:
        for name in self.connected:
            for each in self.desk.outlet.take(name.encode(), frames.Deliver):
                pair = (each.seq, int.from_bytes(each.record[:8]))
                self.members[name].incoming.append(pair)

    def connect(self, name: str, *, with_position: bool) -> None:
        receiver = self.members.setdefault(name, Receiver())
        receiver.incoming.clear()
        newest = receiver.seqs[-1] if receiver.seqs else None
        known = with_position and newest is not None
        position = (self.desk.journal.epoch, newest) if known else None
        self.desk.outlet.gone.discard(name.encode())
        for each in self.desk.hello(name, window=3, position=position):
            if isinstance(each, frames.Deliver):
                receiver.incoming.append((each.seq, int.from_bytes(each.record[:8])))
        self.connected.add(name)

    def disconnect(self, name: str) -> None:
        self.connected.discard(name)
        self.desk.outlet.gone.add(name.encode())
        self.desk.outlet.take(name.encode())

    def publish(self, author: str, to: str | None) -> None:
        if author not in self.connected or (to is not None and to not in self.members):
            return
        self.collect()
        self.mark += 1
        record, recipient = self.mark.to_bytes(8), to and node_id(to)
        request = frames.Publish(self.mark, f"{self.mark:064x}", record, recipient)
        self.desk.raw((author.encode(), frames.encode(request)))
        for name, receiver in self.members.items():
            if name != author and to in {None, name}:
                receiver.due.append(self.mark)

    def store(self, name: str, count: int, *, acknowledge: bool) -> None:
        self.collect()
        receiver = self.members.get(name)
        if receiver is None:
            return
        taken, receiver.incoming[:count] = receiver.incoming[:count], []
        for seq, mark in taken:
            if mark not in receiver.marks:
                receiver.seqs.append(seq)
                receiver.marks.append(mark)
        if acknowledge and receiver.seqs and name in self.connected:
            ack = frames.encode(frames.Ack(receiver.seqs[-1]))
            self.desk.raw((name.encode(), ack))

    def restart(self) -> None:
        self.collect()
        for name in list(self.connected):
            self.disconnect(name)
        self.desk.restart()

    def settle(self) -> None:
        """Everybody comes back and reads until nothing more arrives."""
        for name in self.members:
            self.connect(name, with_position=name in {"a", "b"})
        for _ in range(2 * self.mark + 2):
            for name in self.members:
                self.store(name, 100, acknowledge=True)
            self.desk.advance(10)


STEPS = st.one_of(
    st.tuples(st.just("connect"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("disconnect"), st.sampled_from(NAMES)),
    st.tuples(st.just("publish"), st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES)),
    st.tuples(st.just("publish"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("store"), st.sampled_from(NAMES), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("advance"), st.sampled_from([1, 300, 600])),
    st.tuples(st.just("restart")),
)


def run(world: World, step: tuple[object, ...]) -> None:
    match step:
        case ("connect", str(name), bool(flag)):
            world.connect(name, with_position=flag)
        case ("disconnect", str(name)):
            world.disconnect(name)
        case ("publish", str(name), to):
            world.publish(name, to)  # type: ignore[arg-type]
        case ("store", str(name), int(count), bool(flag)):
            world.store(name, count, acknowledge=flag)
        case ("advance", int(ms)):
            world.collect()
            world.desk.advance(ms)
        case _:
            world.restart()


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_every_accepted_record_reaches_every_living_member_once_and_in_order(
    steps: list[tuple[object, ...]],
) -> None:
    world = World()
    for name in NAMES[:2]:
        world.connect(name, with_position=False)
    for step in steps:
        run(world, step)
    world.settle()
    for receiver in world.members.values():
        assert receiver.marks == receiver.due
        assert receiver.seqs == sorted(receiver.seqs)
    assert all(each.pending == 0 for each in world.desk.say(b"s", frames.Status())[0].members)
