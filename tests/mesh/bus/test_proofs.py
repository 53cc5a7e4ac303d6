"""Proofs under way: bounded in number and time, and answered by whoever was asked only."""

from xmesh_mesh.bus.proofs import MAX_PROOFS, PROOF_MS, Asked, Proofs


def everybody_lives(route: bytes) -> bool:
    return True


def test_the_member_that_was_asked_answers_once() -> None:
    proofs = Proofs()
    token = proofs.ask(b"gateway", 7, b"member", 100)
    assert token is not None
    assert proofs.answered(token, b"somebody else") is None
    assert proofs.answered("another token", b"member") is None
    assert proofs.answered(token, b"member") == Asked(b"gateway", 7, b"member", 100 + PROOF_MS)
    assert proofs.answered(token, b"member") is None


def test_a_silent_member_is_given_up_after_five_seconds() -> None:
    proofs = Proofs()
    token = proofs.ask(b"gateway", 7, b"member", 100)
    assert PROOF_MS == 5_000
    assert proofs.wait_ms(200) == PROOF_MS - 100
    assert proofs.overdue(99 + PROOF_MS, everybody_lives) == []
    ((asked, code),) = proofs.overdue(100 + PROOF_MS, everybody_lives)
    assert (asked.proof, code) == (7, "timeout")
    assert proofs.wait_ms(0) is None
    assert proofs.answered(token or "", b"member") is None


def test_a_member_that_is_gone_is_not_waited_for() -> None:
    proofs = Proofs()
    proofs.ask(b"gateway", 1, b"gone", 0)
    proofs.ask(b"gateway", 2, b"here", 0)
    found = proofs.overdue(1, lambda route: route == b"here")
    assert [(asked.proof, code) for asked, code in found] == [(1, "not-connected")]


def test_only_so_many_are_under_way_and_the_next_is_free_again() -> None:
    proofs = Proofs()
    tokens = [proofs.ask(b"gateway", number, b"member", 0) for number in range(MAX_PROOFS)]
    assert len(set(tokens)) == MAX_PROOFS == 256
    assert proofs.ask(b"gateway", 0, b"member", 0) is None
    assert proofs.answered(tokens[0] or "", b"member")
    assert proofs.ask(b"gateway", 0, b"member", 0) is not None
