"""What a person's verbs share: groups, memories, and words of others made harmless."""

import json

import msgspec
import pytest
from helpers.bus import make_identity
from helpers.mesh import triad
from helpers.people import signed

from xmesh_mesh.bus.frames import MemberStatus, StatusReply
from xmesh_mesh.errors import ConfigError, StoreError, UsageError
from xmesh_mesh.identity import load_or_create
from xmesh_mesh.memory import Memory
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.signing import assertion_id
from xmesh_supervisor import operator
from xmesh_supervisor.ledger import Ledger, Row
from xmesh_supervisor.lifecycle import Desired, State
from xmesh_supervisor.resolution import resolve_files


def member(name: str, group: str, *, connected: bool = True) -> MemberStatus:
    return MemberStatus(f"id-of-{name}", name, group, 0, 0, connected, 0)


def bus(*members: MemberStatus) -> StatusReply:
    return StatusReply("epoch", 0, 1, list(members), 0)


def remember(root: RuntimeDir, peer: str, *texts: str, received_ms: int = 1) -> list[str]:
    """Store records of ``peer``'s own in its memory; return their keys."""
    identity = make_identity(peer)
    records = [signed(identity, {"focus": text}) for text in texts]
    memory = Memory.open(root.memory(peer))
    with memory.transaction():
        for record in records:
            memory.remember_own(
                record, assertion_id(record), identity.node_id, now_ms=received_ms, send=False
            )
    memory.close()
    return [record.key for record in records]


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("\r", r"\r"),
        ("\x07\x00\x7f", r"\x07\x00\x7f"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("two\nlines\tand\u00a0more", "two lines and more"),
        ("Grüße, 世界 🌍", "Grüße, 世界 🌍"),
    ],
)
def test_nothing_that_steers_a_terminal_survives(hostile: str, harmless: str) -> None:
    assert operator.visible(hostile) == harmless


def test_an_operator_of_another_host_is_shown_with_its_node_id(runtime_dir: RuntimeDir) -> None:
    assert operator.own_operator(runtime_dir) == ""
    own = load_or_create(runtime_dir.identity("operator"), "operator").node_id
    other = make_identity("operator").node_id
    assert operator.own_operator(runtime_dir) == own
    assert operator.author_shown("operator", own, own) == "operator"
    assert operator.author_shown("operator", other, own) == f"operator ({other[:13]})"
    assert operator.author_shown("writer-01\x1b", other, own) == "writer-01\\x1b"


def test_brief_keeps_what_fits_exactly_and_marks_what_does_not() -> None:
    assert operator.brief("x" * 10, 10) == "x" * 10
    assert operator.brief("x" * 11, 10) == "x" * 9 + "…"


def test_json_is_ascii_so_that_it_cannot_steer_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    operator.write_json({"text": "\x1b\x9b\u202e"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == {"text": "\x1b\x9b\u202e"}


def test_any_time_can_be_shown() -> None:
    assert operator.clock(2**53 - 1) == "--:--:--"
    assert operator.clock(-(2**63)) == "--:--:--"
    assert len(operator.clock(1_790_000_000_000)) == 8


def test_the_group_is_that_of_connected_members_before_those_of_the_past(
    runtime_dir: RuntimeDir,
) -> None:
    here, gone = member("a", "now"), member("b", "past", connected=False)
    assert operator.groups_here(runtime_dir, bus(here, gone)) == ["now"]
    assert operator.groups_here(runtime_dir, bus(gone)) == ["past"]


def test_the_operators_own_membership_says_nothing_about_groups(runtime_dir: RuntimeDir) -> None:
    assert operator.groups_here(runtime_dir, bus(member("operator", "old"))) == ["default"]


def test_without_anybody_the_group_is_the_default_one(runtime_dir: RuntimeDir) -> None:
    assert operator.groups_here(runtime_dir, None) == ["default"]
    assert operator.one_group(runtime_dir, None, None) == "default"


def test_several_groups_are_a_question_and_naming_one_is_the_answer(
    runtime_dir: RuntimeDir,
) -> None:
    there = bus(member("a", "one"), member("b", "two"))
    with pytest.raises(UsageError, match=r"(?s)one, two.*--group one"):
        operator.one_group(runtime_dir, None, there)
    assert operator.one_group(runtime_dir, "two", there) == "two"


def test_a_group_that_cannot_be_one_is_refused(runtime_dir: RuntimeDir) -> None:
    with pytest.raises(ConfigError, match="--group"):
        operator.one_group(runtime_dir, "No Group", None)


@pytest.mark.parametrize("name", ["../../etc", "bus", "", "/etc/passwd"])
def test_no_name_leads_out_of_the_root(runtime_dir: RuntimeDir, name: str) -> None:
    with pytest.raises(UsageError, match="there is no peer"):
        operator.memory_of(runtime_dir, name)


def test_a_mistyped_peer_is_told_the_near_ones(runtime_dir: RuntimeDir) -> None:
    remember(runtime_dir, "writer-01", "x")
    with pytest.raises(UsageError, match="did you mean writer-01"):
        operator.memory_of(runtime_dir, "writr-01")


def test_files_that_name_no_peer_are_none(runtime_dir: RuntimeDir) -> None:
    remember(runtime_dir, "writer-01", "x")
    (runtime_dir.node("x").parent / "operator").mkdir()
    (runtime_dir.node("x").parent / "a file").write_text("")
    assert operator.peer_names(runtime_dir) == ["writer-01"]


def test_a_record_is_taken_from_the_memory_that_knows_most_of_its_conversation(
    runtime_dir: RuntimeDir,
) -> None:
    (key,) = remember(runtime_dir, "alone", "shared words")
    identity = make_identity("more")
    first = signed(identity, {"focus": "shared words"})
    second = signed(identity, {"focus": "an answer"}, parents=[first.key])
    memory = Memory.open(runtime_dir.memory("more"))
    with memory.transaction():
        for record in (first, second):
            memory.remember_own(
                record, assertion_id(record), identity.node_id, now_ms=1, send=False
            )
    memory.close()
    with operator.memories(runtime_dir) as opened:
        assert list(opened) == ["alone", "more"]
        assert operator.find(opened, key).owner == "more"
        assert operator.find(opened, f"{key[:12]}…").entry.key == key


def test_an_unknown_record_is_refused_and_says_who_was_asked(runtime_dir: RuntimeDir) -> None:
    remember(runtime_dir, "writer-01", "x")
    with operator.memories(runtime_dir) as opened, pytest.raises(UsageError, match="writer-01"):
        operator.find(opened, "00000000")


def test_one_broken_memory_hides_no_other(
    runtime_dir: RuntimeDir, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(runtime_dir, "writer-01", "x")
    broken = runtime_dir.memory("broken")
    broken.parent.mkdir(parents=True)
    broken.write_text("no database at all, and long enough to be looked at" * 100)
    with operator.memories(runtime_dir) as opened:
        assert list(opened) == ["writer-01"]
    assert "broken is left out" in capsys.readouterr().err
    with pytest.raises(StoreError), operator.memories(runtime_dir, "broken"):
        pass


def test_a_memory_is_never_written_by_looking(runtime_dir: RuntimeDir) -> None:
    remember(runtime_dir, "writer-01", "x")
    with operator.memories(runtime_dir) as opened, pytest.raises(StoreError):
        opened["writer-01"].set_meta("a", "b")


def test_plans_that_do_not_read_are_left_out(runtime_dir: RuntimeDir) -> None:
    ledger = Ledger(runtime_dir.supervisor_db)
    ledger.save(Row("old", "{}", Desired.RUN, "run", State.RUNNING))
    ledger.close()
    assert operator.plans(runtime_dir) == {}
    assert operator.peer_names(runtime_dir) == ["old"]


def test_without_a_bus_the_group_is_that_of_the_recorded_peers(runtime_dir: RuntimeDir) -> None:
    files = triad(runtime_dir, {"adapter": "rehearsal"}, group="lab")
    ledger = Ledger(runtime_dir.supervisor_db)
    for spec in resolve_files(files, runtime_dir, {}).specs:
        plan = msgspec.json.encode(spec).decode()
        ledger.save(Row(spec.name, plan, Desired.STOP, "run", State.STOPPED))
    ledger.close()
    assert operator.groups_here(runtime_dir, bus()) == ["lab"]
    assert list(operator.plans(runtime_dir)) == [file.stem for file in files]
