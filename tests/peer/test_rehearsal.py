"""The rehearsal: what each role makes of real prompts, and conversations that come to rest."""

import inspect
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from helpers.nodes import GROUP, NOW, Author, node
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.introduction import introduce
from xmesh_mesh.node import Node
from xmesh_mesh.record import FIELDS, Record, encode
from xmesh_mesh.relevance import terms
from xmesh_peer import config
from xmesh_peer.context import GROUP as HEARD
from xmesh_peer.context import LINEAGE, OWN, WOKE, Heard, Remembrance, build, system_prompt
from xmesh_peer.decisions import rule
from xmesh_peer.models import rehearsal
from xmesh_peer.models.base import EMIT_CMB, Message, ModelAnswer, ModelRequest
from xmesh_peer.models.rehearsal import RehearsalModel
from xmesh_peer.recollect import recollect
from xmesh_peer.safety.cycle import thread_check
from xmesh_peer.safety.gates import Gates
from xmesh_peer.settings import Context

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TRIAD = {"writer-01": "writer", "reviewer-01": "reviewer", "test-writer-01": "test-writer"}


def request(system: str, user: str) -> ModelRequest:
    return ModelRequest(system, (Message("user", user),), EMIT_CMB, 1024, None, 60.0)


async def asked(
    role: str,
    woke: Heard,
    lineage: tuple[Heard, ...] = (),
    own: tuple[Heard, ...] = (),
    name: str = "",
) -> ModelAnswer:
    system = system_prompt(name=name or f"{role}-01", role=role, charter="", group="lab")
    prompt = build(system, Remembrance(woke, lineage, own, (), ()), 100_000)
    return await RehearsalModel("other").call(request(prompt.system, prompt.user))


def heard(author: str, **texts: str) -> Heard:
    return Heard("cmb-" + "0" * 64, author, texts)


TASK = heard("boss", focus="rate-limit /api/login", intent="draft a spec, review it; add tests")
DRAFT = heard("writer-01", focus="draft: rate-limit /api/login",
              commitment="1. rate-limit /api/login; 2. draft a spec")  # fmt: skip
REVIEW = heard("reviewer-01", focus="review: rate-limit /api/login",
               issue="the draft says nothing about add tests",
               commitment="I look again once writer-01 has answered")  # fmt: skip
REVISED = heard("writer-01", focus="revised draft: rate-limit /api/login",
                commitment="the draft now covers this: add tests")  # fmt: skip
TESTS = heard("test-writer-01", focus="tests: rate-limit /api/login",
              commitment="check that draft a spec holds; check that it limits")  # fmt: skip
ACCEPTED = heard("reviewer-01", focus="accepted: rate-limit /api/login",
                 commitment="reviewed and closed: add tests")  # fmt: skip


def test_it_is_short() -> None:
    assert len(inspect.getsource(rehearsal).splitlines()) < 250


# What each role makes of what it reads


async def test_a_writer_drafts_from_the_words_of_a_task() -> None:
    answer = await asked("writer", TASK)
    assert answer.arguments == {
        "focus": "draft: rate-limit /api/login",
        "intent": "let the others check a first version of rate-limit /api/login",
        "motivation": "boss asked for it",
        "commitment": "1. rate-limit /api/login",
        "perspective": "writer, a rehearsal without a model",
    }


async def test_a_reviewer_names_what_the_draft_leaves_out() -> None:
    task = heard("boss", focus="move the books and insure them")
    promise = heard("writer-01", focus="draft: x", commitment="1. move the books")
    answer = await asked("reviewer", promise, (task,))
    assert answer.arguments is not None
    assert answer.arguments["issue"] == "the draft says nothing about insure them"
    assert "writer-01" in answer.arguments["commitment"]


@pytest.mark.parametrize(
    ("task", "asks"),
    [
        ("rate-limit /api/login", "which case is the exception to “rate-limit /api/login”"),
        ("limit it so that nobody gets in", "how do we know that “nobody gets in” still holds"),
        ("move the books; open in May", "who notices when “open in May” is late or wrong"),
        ("translate the manual; keep it short", "what if “translate the manual” stops halfway"),
        ("find out why it leaks", "what would show that the answer to “find out why it leaks”"),
        ("bake bread with nuts", "who checks “nuts” before it is used"),
    ],
)
async def test_a_reviewer_asks_what_the_words_of_a_whole_draft_leave_open(
    task: str, asks: str
) -> None:
    promise = heard("writer-01", focus=f"draft: {task}", commitment=task)
    answer = await asked("reviewer", promise, (heard("boss", focus=task),))
    assert answer.arguments is not None
    assert answer.arguments["issue"].startswith(asks)


async def test_what_a_reviewer_asks_becomes_one_check() -> None:
    issue = "who checks “nuts” before it is used"
    review = heard("reviewer-01", focus="review: bread", issue=issue)
    revised = heard("writer-01", focus="revised draft: bread", commitment=f"answers: {issue}")
    answer = await asked("test-writer", revised, (review, heard("boss", focus="bread")))
    assert answer.arguments is not None
    assert answer.arguments["commitment"] == f"check: {issue}"


async def test_a_writer_revises_its_draft_when_an_issue_is_found_with_it() -> None:
    answer = await asked("writer", REVIEW, (DRAFT, TASK), (DRAFT,))
    assert answer.arguments is not None
    assert answer.arguments["focus"] == "revised draft: rate-limit /api/login"
    assert answer.arguments["commitment"].endswith("says nothing about add tests")
    assert answer.arguments["intent"] == "settle what reviewer-01 found"


async def test_a_reviewer_accepts_a_revision_once() -> None:
    answer = await asked("reviewer", REVISED, (REVIEW, DRAFT, TASK), (REVIEW,))
    assert answer.arguments is not None
    assert answer.arguments["focus"] == "accepted: rate-limit /api/login"
    assert answer.arguments["commitment"].startswith("reviewed and closed: ")
    again = await asked("reviewer", REVISED, (REVIEW, DRAFT, TASK), (ACCEPTED, REVIEW))
    assert again.arguments is None


async def test_a_test_writer_turns_each_promise_into_a_check() -> None:
    answer = await asked("test-writer", DRAFT, (TASK,))
    assert answer.arguments is not None
    assert answer.arguments["commitment"] == ("check: rate-limit /api/login; check: draft a spec")
    again = await asked("test-writer", REVISED, (REVIEW, DRAFT, TASK), (TESTS,))
    assert again.arguments is not None
    assert "add tests" in again.arguments["commitment"]


async def test_any_other_role_says_once_what_it_looks_after() -> None:
    answer = await asked("auditress", TASK)
    assert answer.arguments is not None
    assert answer.arguments["commitment"] == "auditress looks after: rate-limit /api/login"
    said = heard("auditress-01", **{k: v for k, v in answer.arguments.items() if k in FIELDS})
    assert (await asked("auditress", TASK, (), (said,))).arguments is None
    assert (await asked("auditress", DRAFT, (TASK,))).arguments is None


@pytest.mark.parametrize(
    ("role", "woke", "lineage", "own"),
    [
        ("writer", DRAFT, (TASK,), ()),
        ("writer", TESTS, (DRAFT, TASK), (DRAFT,)),
        ("writer", ACCEPTED, (REVISED, REVIEW, DRAFT), (REVISED, DRAFT)),
        ("writer", REVIEW, (TASK,), ()),
        ("writer", TASK, (), (DRAFT,)),
        ("reviewer", TASK, (), ()),
        ("reviewer", heard("boss", focus="x", commitment="y"), (), ()),
        ("reviewer", heard("w", focus="draft: x"), (TASK,), ()),
        ("reviewer", REVIEW, (DRAFT, TASK), ()),
        ("reviewer", TESTS, (DRAFT, TASK), (REVIEW,)),
        ("test-writer", TASK, (), ()),
        ("test-writer", heard("boss", focus="x", commitment="y"), (), ()),
        ("test-writer", REVIEW, (DRAFT, TASK), ()),
        ("test-writer", heard("w", focus="draft: x"), (TASK,), ()),
        ("test-writer", ACCEPTED, (REVISED, REVIEW, DRAFT), ()),
        ("test-writer", DRAFT, (TASK,), (TESTS,)),
        ("test-writer", heard("w", focus="draft: rate-limit /api/login", commitment="something"),
         (TASK,), (TESTS,)),
    ],
)  # fmt: skip
async def test_a_role_declines_when_it_has_nothing_to_add(
    role: str, woke: Heard, lineage: tuple[Heard, ...], own: tuple[Heard, ...]
) -> None:
    answer = await asked(role, woke, lineage, own)
    assert answer.arguments is None
    assert answer.text
    assert not answer.refused


@pytest.mark.parametrize(
    ("role", "like"), [("spec", "writer"), ("generator", "writer"), ("auditor", "reviewer")]
)
async def test_the_other_usual_roles_act_like_one_of_the_triad(role: str, like: str) -> None:
    for woke, lineage in ((TASK, ()), (DRAFT, (TASK,))):
        answer, model = await asked(role, woke, lineage), await asked(like, woke, lineage)
        assert (answer.arguments or {}).get("focus") == (model.arguments or {}).get("focus")


async def test_a_test_writer_does_not_check_what_it_has_said_word_for_word() -> None:
    promise = heard("writer-01", focus="revised draft: x", commitment="alpha beta")
    said = heard("test-writer-01", focus="tests: x", commitment="alpha beta")
    less = heard("test-writer-01", focus="tests: x", commitment="alpha")
    assert (await asked("test-writer", promise, (REVIEW, TASK), (said,))).arguments is None
    assert (await asked("test-writer", promise, (REVIEW, TASK), (less,))).arguments is not None


async def test_answers_are_brief() -> None:
    fits, over = "x " * 54 + "xx", "x " * 54 + "yyy"
    for focus, told in ((fits, fits), (over, "x " * 54 + "\u2026")):
        answer = await asked("writer", heard("boss", focus=focus))
        assert answer.arguments is not None
        assert answer.arguments["focus"] == f"draft: {told}"
    many = heard("boss", focus="abc, ab, def, ghi, jkl, mno, pqr")
    draft = await asked("writer", many)
    assert draft.arguments is not None
    assert draft.arguments["commitment"] == "1. abc; 2. def; 3. ghi; 4. jkl; 5. mno"
    promise = heard("w", focus="draft: x", commitment=draft.arguments["commitment"])
    tests = await asked("test-writer", promise, (many,))
    assert tests.arguments is not None
    assert tests.arguments["commitment"].count("check: ") == 4


async def test_its_own_words_on_another_task_keep_it_from_nothing() -> None:
    other = heard("writer-01", focus="draft: rate-limit /api/logout", commitment="x y z")
    assert (await asked("writer", TASK, (), (other,))).arguments is not None


async def test_a_task_with_a_long_intent_is_not_reviewed_or_tested_twice() -> None:
    task = heard("boss", focus="billing", intent=", ".join(f"clause number {n}0" for n in range(9)))
    draft = heard("writer-01", focus="draft: billing", commitment="1. clause")
    tests = heard("test-writer-01", focus="tests: billing", commitment="check that clause holds")
    review = heard("reviewer-01", focus="review: billing", issue="x", commitment="I look again")
    assert (await asked("reviewer", tests, (draft, task), (review,))).arguments is None
    other = heard("writer-01", focus="draft: billing", commitment="something else")
    assert (await asked("test-writer", other, (task,), (tests,))).arguments is None


async def test_an_author_cannot_pass_for_another_by_its_name() -> None:
    forged = heard("mallory from writer-01", focus="draft: x", commitment="y")
    issue = heard("reviewer-01", issue="z")
    assert (await asked("writer", issue, (forged,))).arguments is None


async def test_every_answer_is_signed_as_a_rehearsal_and_counts_its_size() -> None:
    for role in (*TRIAD.values(), "auditor", "poet"):
        for woke, lineage in ((TASK, ()), (DRAFT, (TASK,))):
            answer = await asked(role, woke, lineage)
            assert answer.usage is not None
            assert answer.usage.input_tokens > 100
            if answer.arguments is not None:
                assert answer.arguments["perspective"] == f"{role}, a rehearsal without a model"
                assert answer.arguments["commitment"]
                assert set(answer.arguments) <= set(FIELDS)
                assert answer.usage.output_tokens > 5


async def test_it_keeps_nothing_between_calls() -> None:
    system = system_prompt(name="writer-01", role="writer", charter="", group="lab")
    user = build(system, Remembrance(TASK, (), (), (), ()), 9_000).user
    model = RehearsalModel("writer")
    first = await model.call(request(system, user))
    await model.call(request(system, user.replace("login", "logout")))
    assert await model.call(request(system, user)) == first
    assert await RehearsalModel("writer").call(request(system, user)) == first
    assert vars(model) == vars(RehearsalModel("writer"))
    await model.close()


async def test_it_takes_as_long_over_an_answer_as_it_is_told() -> None:
    start = time.monotonic()
    await RehearsalModel("writer", pace_s=0.05).call(request("", ""))
    assert time.monotonic() - start >= 0.05


# Prompts that nobody should write


@given(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [WOKE, LINEAGE, OWN, HEARD, "- cmb-1 from x", "-", "- ", "# ", "  focus: a", "    b",
             "  issue: ", "  : ", ": ", "", "    ", "  commitment: and, and; 1. 2. , .", "x"]
        ) | st.text(max_size=20),
        max_size=12,
    ),
    st.sampled_from([*TRIAD.values(), "poet", ""]),
)  # fmt: skip
async def test_no_prompt_makes_it_raise(system: str, lines: list[str], role: str) -> None:
    answer = await RehearsalModel(role).call(request(system, "\n".join(lines)))
    assert answer.arguments is None or set(answer.arguments) <= set(FIELDS)


async def test_a_prompt_without_any_message_is_answered() -> None:
    bare = ModelRequest("", (), EMIT_CMB, 1, None, 1.0)
    for role in (*TRIAD.values(), "poet", ""):
        await RehearsalModel(role).call(bare)


@pytest.mark.parametrize(
    "text",
    ["x" * 65_536, " " * 65_536 + "x", "x" + " " * 65_000 + "and", ", " * 32_768, "a\n" * 32_768,
     "and " * 16_384, "; and, " * 9_000, "1. " * 21_000, "\u8a2d" * 21_000, ". \t" * 20_000],
)  # fmt: skip
async def test_a_text_of_64_kb_is_read_in_linear_time(text: str) -> None:
    start = time.process_time()
    long = heard("w", focus=text, issue=text, commitment=text)
    for role in (*TRIAD.values(), "poet"):
        for woke, lineage in ((long, ()), (TASK, (long,)), (long, (DRAFT, long)), (DRAFT, (long,))):
            answer = await asked(role, woke, lineage, (long,), name="w")
            size = sum(map(len, (answer.arguments or {}).values()))
            assert size < 3_000
    assert time.process_time() - start < 8


# Whole conversations


class Triad:
    """Three nodes with real memories, a bus that is a list, and no clock."""

    def __init__(self, nodes: dict[str, Node], boss: Author) -> None:
        self.nodes = nodes
        self.boss = boss
        self.said: list[Record] = []
        self.calls = 0
        self.outcomes: list[str] = []

    def publish(self, record: Record, author: str) -> None:
        self.said.append(record)
        for made in self.nodes.values():
            if made.identity.node_id != author:
                with made.memory.transaction():
                    found = made.receive(author, encode(record), seq=1, now_ms=NOW)
                assert found.refused == ""

    async def rest(self) -> None:
        """Let everybody act, in turn, until nobody wakes any more."""
        before = self.calls
        while pending := [name for name in self.nodes if self._pending(name)]:
            for name in pending:
                await self._act(name)
            assert self.calls - before <= 20, "it never comes to rest"

    def _pending(self, name: str) -> bool:
        return self.nodes[name].memory.next_wake() is not None

    async def _act(self, name: str) -> None:
        me = self.nodes[name]
        wake = me.memory.next_wake()
        assert wake is not None
        if thread_check(me.memory.used_in_thread(wake.thread), 3).suppress:
            me.memory.finish_wake(wake.assertion, "limited", "", now_ms=NOW)
            self.outcomes.append("limited")
            return
        seen = recollect(me.memory, wake, Context(), 5)
        assert seen is not None
        system = system_prompt(name=name, role=TRIAD[name], charter=me.charter, group=GROUP)
        prompt = build(system, seen.remembrance, 8_000)
        self.calls += 1
        answer = await RehearsalModel("").call(request(prompt.system, prompt.user))
        ruling = rule(answer, seen.thread, 5, Gates.from_setting("default"))
        self.outcomes.append(ruling.outcome)
        with me.memory.transaction():
            me.memory.finish_wake(wake.assertion, ruling.outcome, "", now_ms=NOW)
            if ruling.outcome == "emitted":
                now_ms = NOW + self.calls
                record, assertion = me.compose(
                    ruling.texts, now_ms=now_ms, parents=(seen.woke.key,)
                )
                me.memory.remember_own(record, assertion, me.identity.node_id, now_ms=now_ms)
        if ruling.outcome == "emitted":
            self.publish(record, me.identity.node_id)


@pytest.fixture
def triad(tmp_path: Path) -> Iterator[Triad]:
    with assembled(tmp_path) as triad:
        yield triad


@contextmanager
def assembled(path: Path) -> Iterator[Triad]:
    boss = Author("boss")
    with ExitStack() as stack:
        nodes = {}
        for name, role in TRIAD.items():
            settings = config.load(CONFIGS / f"{name}.toml")
            assert settings.identity.role == role
            place = path / name
            place.mkdir(parents=True)
            nodes[name] = stack.enter_context(
                node(
                    place,
                    boss,
                    name=name,
                    charter=settings.identity.charter,
                    weights=settings.role_weights,
                )
            )
        for one in nodes.values():
            for other in nodes.values():
                one.meet(introduce(other.identity, GROUP, implementation="test", now_ms=NOW))
        yield Triad(nodes, boss)


TASKS = {
    "code": {"focus": "rate-limit /api/login", "intent": "draft a spec, review it, add tests"},
    "law": {"focus": "draft a lease for the workshop in Elm Street, with rent and repairs"},
    "kitchen": {
        "focus": "draft the autumn menu",
        "intent": "three courses with pumpkin; one course without nuts; a price for each course",
    },
    "school": {"focus": "Write a draft of a lesson on fractions for ten-year-olds. Include a game,"
               " and a short test at the end."},
    "garden": {"focus": "draft the design of a bed of roses that flowers from May to October",
               "motivation": "the park opens in spring"},
}  # fmt: skip


@pytest.mark.parametrize("trade", TASKS)
async def test_a_task_of_any_trade_is_drafted_reviewed_tested_and_closed_in_few_steps(
    triad: Triad, trade: str
) -> None:
    triad.publish(triad.boss.says(TASKS[trade]), triad.boss.node_id)
    await triad.rest()
    assert 5 <= len(triad.said) <= 9
    kinds = [
        re.match(r"[a-z ]+(?=:)", record.text("focus")).group()  # type: ignore[union-attr]
        for record in triad.said[1:]
    ]
    assert {"draft", "review", "revised draft", "accepted", "tests"} <= set(kinds)
    assert kinds.count("accepted") == kinds.count("draft") == kinds.count("review") == 1
    assert set(triad.outcomes) <= {"emitted", "declined"}
    by = {record.created_by for record in triad.said}
    assert by == {"boss", *TRIAD}
    for record in triad.said[1:]:
        assert record.parents
        assert "rehearsal" in record.text("perspective")
    for made in triad.nodes.values():
        assert len(made.memory.in_thread(triad.said[0].key)) == len(triad.said)


async def test_conversations_are_made_of_the_words_of_their_tasks(tmp_path: Path) -> None:
    own_words: dict[str, set[str]] = {}
    for trade, texts in TASKS.items():
        with assembled(tmp_path / trade) as triad:
            triad.publish(triad.boss.says(texts), triad.boss.node_id)
            await triad.rest()
        task = terms(" ".join(texts.values()))
        answers = triad.said[1:]
        assert len(answers) >= 4, trade
        for record in answers:
            assert terms(" ".join(record.spoken().values())) & task
        own_words[trade] = {record.text("commitment") for record in answers}
    for trade, said in own_words.items():
        for other, others in own_words.items():
            shared = said & others if other != trade else set()
            assert not {text for text in shared if not text.startswith("I look again")}


async def test_a_foreign_message_costs_no_call(triad: Triad) -> None:
    triad.publish(triad.boss.says("sunshine over Lisbon this weekend"), triad.boss.node_id)
    await triad.rest()
    assert triad.calls == 0
