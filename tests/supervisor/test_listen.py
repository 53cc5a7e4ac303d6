"""``xmesh-sup listen``: what is shown is verified, and nothing that happens to the bus ends it."""

import dataclasses
import os
import signal
from dataclasses import replace

import pytest
from helpers.bus import BusProcess, make_identity, wait_until
from helpers.mesh import Mesh
from helpers.people import NOW_MS, Listener, signed, speak

from xmesh_mesh.bus.inbox import Delivery
from xmesh_mesh.bus.query import status
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import BusUnavailable, SignatureError
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_mesh.pins import Pins
from xmesh_mesh.record import Record, encode
from xmesh_mesh.signing import assertion_id
from xmesh_supervisor.commands.listen import Checker, Printer

WRITER = make_identity("writer-01")
OTHER = make_identity("writer-01")


def delivery(said: Record, author: Identity = WRITER, **changes: object) -> Delivery:
    plain = Delivery("e", 7, author.node_id, assertion_id(said), encode(said), NOW_MS)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def checker(runtime_dir: RuntimeDir) -> Checker:
    checker = Checker("triad", runtime_dir.pins("triad") / "pins.json")
    checker.meet(introduce(WRITER, "triad", implementation="test", now_ms=NOW_MS))
    return checker


HELLO = signed(WRITER, {"focus": "hello"})
_REFUSED = {
    "bad-signature": delivery(signed(OTHER, {"focus": "forged"})),
    "unknown-author": delivery(signed(OTHER, {"focus": "x"}), OTHER),
    "wrong-author": delivery(signed(WRITER, {"focus": "x"}, created_by="reviewer-01")),
    "wrong-assertion": delivery(HELLO, assertion="0" * 64),
    "malformed": delivery(HELLO, record=b"\x00\x1b[2J"),
}


def test_an_honest_record_passes(checker: Checker) -> None:
    assert checker.check(delivery(HELLO)) == HELLO


@pytest.mark.parametrize("code", _REFUSED)
def test_what_its_author_did_not_sign_is_refused_and_not_shown(
    checker: Checker, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Printer(None, as_json=False).show("triad", _REFUSED[code], checker)
    printed = capsys.readouterr().out
    assert f"REFUSED, not shown: {code}" in printed
    assert "forged" not in printed
    assert "\x1b" not in printed


def test_a_record_of_another_group_is_refused(checker: Checker) -> None:
    with pytest.raises(SignatureError, match="group"):
        checker.check(delivery(signed(WRITER, {"focus": "x"}, group="elsewhere")))


def test_an_author_whose_key_is_not_the_pinned_one_is_refused(
    checker: Checker, runtime_dir: RuntimeDir
) -> None:
    Pins(checker.pins_path).pin(WRITER.node_id, OTHER.public_key, "writer-01")
    with pytest.raises(SignatureError, match="pinned"):
        checker.check(delivery(HELLO))


def test_an_operator_of_another_host_is_told_from_the_own_one(
    checker: Checker, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = make_identity("operator"), make_identity("operator")
    checker.meet(introduce(own, "triad", implementation="xmesh", now_ms=NOW_MS))
    afar = b64u(other.public_key)
    checker.meet(
        Introduction(other.node_id, "operator", "triad", afar, "xmesh", "remote", NOW_MS, "")
    )
    for who in (own, other):
        said = delivery(signed(who, {"focus": "a task"}), who)
        Printer(None, as_json=False).show("triad", said, checker)
    printed = capsys.readouterr().out
    assert "#7  operator  cmb-" in printed
    assert f"#7  operator ({other.node_id[:13]})  cmb-" in printed


def test_an_introduction_that_nobody_signed_introduces_nobody(runtime_dir: RuntimeDir) -> None:
    import msgspec

    forged = msgspec.structs.replace(
        introduce(OTHER, "triad", implementation="test", now_ms=NOW_MS), node_id=WRITER.node_id
    )
    checker = Checker("triad", runtime_dir.pins("triad") / "pins.json")
    checker.meet(forged)
    with pytest.raises(SignatureError, match="introduced"):
        checker.check(delivery(HELLO))


def from_afar(public_key: str = b64u(OTHER.public_key)) -> Introduction:
    who = (OTHER.node_id, OTHER.name, "triad", public_key)
    return Introduction(*who, "mmp", "remote", NOW_MS, "")


def test_a_node_of_another_host_is_verified_with_the_key_that_it_came_with(
    checker: Checker,
) -> None:
    checker.meet(from_afar())
    honest = signed(OTHER, {"focus": "hello from afar"})
    assert checker.check(delivery(honest, OTHER)) == honest
    forged = replace(honest, sig=HELLO.sig)
    with pytest.raises(SignatureError, match="not this author's"):
        checker.check(delivery(forged, OTHER))


def test_what_another_host_says_unsigned_is_marked_until_it_has_signed_once(
    checker: Checker, capsys: pytest.CaptureFixture[str]
) -> None:
    unsigned = replace(signed(OTHER, {"focus": "hello"}), sig=None)
    for introduction in (from_afar(), from_afar("")):
        checker.meet(introduction)
        Printer(None, as_json=False).show("triad", delivery(unsigned, OTHER), checker)
        assert "UNSIGNED" in capsys.readouterr().out.splitlines()[0]
    pins = Pins(checker.pins_path)
    pins.pin(OTHER.node_id, OTHER.public_key, OTHER.name)
    pins.note_signed(OTHER.node_id)
    with pytest.raises(SignatureError, match="no signature"):
        checker.check(delivery(unsigned, OTHER))
    with pytest.raises(SignatureError, match="no signature"):
        checker.check(delivery(replace(HELLO, sig=None)))


def test_the_words_of_others_cannot_steer_the_terminal(
    checker: Checker, capsys: pytest.CaptureFixture[str]
) -> None:
    record = signed(WRITER, {"focus": "a\x1b]0;owned\x07b", "mood": "fine\nREFUSED"})
    Printer(None, as_json=False).show("triad", delivery(record), checker)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [r"    focus       a\x1b]0;owned\x07b", "    mood        fine REFUSED"]


def test_the_nth_record_is_the_last_one(checker: Checker) -> None:
    printer = Printer(2, as_json=True)
    assert [printer.show("triad", delivery(HELLO), checker) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("arguments", [("--since", "-1"), ("-n", "0")])
def test_numbers_that_make_no_sense_are_refused(
    runtime_dir: RuntimeDir, arguments: tuple[str, ...]
) -> None:
    assert Mesh(runtime_dir).sup("listen", *arguments, check=False).returncode == 2


def test_it_hears_what_was_said_before_and_ends_after_n(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        speak(runtime_dir, WRITER, *(signed(WRITER, {"focus": f"no {n}"}) for n in range(4)))
        with Listener(runtime_dir, "--group", "triad", "--since", "1", "-n", "2") as listener:
            assert listener.process.wait(10) == 0
            heard = [line["fields"]["focus"] for line in listener.hears(2)]
    assert heard == ["no 1", "no 2"]


def test_it_hears_several_groups_and_keeps_them_apart(runtime_dir: RuntimeDir) -> None:
    both = ("--group", "one", "--group", "two", "--since", "0")
    with BusProcess(runtime_dir), Listener(runtime_dir, *both) as listener:
        for group in ("one", "two", "three"):
            record = signed(WRITER, {"focus": group}, group=group)
            speak(runtime_dir, WRITER, record, group=group)
        heard = {line["group"]: line["fields"]["focus"] for line in listener.hears(2)}
        assert listener.end() == 0
    assert heard == {"one": "one", "two": "two"}


def test_it_survives_the_death_of_the_bus_and_ends_quietly(runtime_dir: RuntimeDir) -> None:
    all_of_it = ("--group", "triad", "--since", "0")
    with BusProcess(runtime_dir) as bus, Listener(runtime_dir, *all_of_it) as listener:
        speak(runtime_dir, WRITER, signed(WRITER, {"focus": "before"}))
        listener.hears(1)
        bus.kill()
        bus.start()
        after = [signed(WRITER, {"focus": f"after {n}"}) for n in range(2)]
        speak(runtime_dir, WRITER, *after)
        heard = listener.hears(3)
        assert listener.end() == 0
    assert [line["fields"]["focus"] for line in heard] == ["before", "after 0", "after 1"]
    assert not any("Traceback" in line for line in listener.told)


def test_where_no_bus_runs_it_brings_one_that_ends_with_it(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with Listener(runtime_dir, "--since", "0") as listener:
        wait_until(lambda: answers(runtime_dir), "the bus answers")
        mesh.sup("observe", "two terminals are enough")
        assert listener.hears(1)[0]["fields"] == {"focus": "two terminals are enough"}
        assert listener.end() == 0
    assert any("listen brings one" in line for line in listener.told)
    assert is_free(runtime_dir)


def test_the_bus_that_it_brought_dies_with_it_even_when_it_is_killed(
    runtime_dir: RuntimeDir,
) -> None:
    with Listener(runtime_dir) as listener:
        wait_until(lambda: answers(runtime_dir), "the bus answers")
        listener.end(signal.SIGKILL)
        wait_until(lambda: is_free(runtime_dir), "the bus is gone")


def test_a_supervisor_that_comes_later_takes_the_bus_over(runtime_dir: RuntimeDir) -> None:
    from helpers.mesh import triad

    mesh = Mesh(runtime_dir)
    files = triad(runtime_dir, {"adapter": "rehearsal"}, group="default")
    with Listener(runtime_dir, "--since", "0") as listener:
        wait_until(lambda: answers(runtime_dir), "the bus answers")
        try:
            mesh.up(files[0])
            mesh.observe("said over the supervisor's bus")
            assert listener.hears(1)[0]["fields"]["focus"] == "said over the supervisor's bus"
        finally:
            mesh.end()
        assert listener.end() == 0


def answers(root: RuntimeDir) -> bool:
    try:
        return status(root.bus_socket, 0.2).pid != os.getpid()
    except BusUnavailable:
        return False


def is_free(root: RuntimeDir) -> bool:
    lock = FileLock(root.bus_lock)
    free = lock.acquire()
    lock.release()
    return free
