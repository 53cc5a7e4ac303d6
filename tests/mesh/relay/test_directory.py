"""The wake-channel directory: whose word counts, how long, and how much of it."""

from xmesh_mesh.relay.directory import Directory
from xmesh_mesh.relay.frames import Listed, WakeChannel

APNS = WakeChannel("apns", "a")
FCM = WakeChannel("fcm", "f")


def ids(directory: Directory, now_ms: int = 0) -> list[str]:
    return [entry.node_id for entry in directory.offline((), now_ms)]


def test_a_declaration_is_listed_while_its_node_is_away() -> None:
    directory = Directory(8, 100)
    directory.declare("n1", "one", APNS, 0)
    assert directory.offline({"n1"}, 0) == []
    assert directory.offline({"n2"}, 0) == [Listed("n1", "one", APNS, offline=True)]
    assert directory.own("n1") == APNS
    assert directory.own("n2") is None


def test_an_entry_is_kept_for_its_time_after_the_node_left_and_not_longer() -> None:
    directory = Directory(8, 100)
    directory.declare("n1", "one", APNS, 0)
    directory.left("n1", 50)
    directory.left("stranger", 50)
    assert ids(directory, 150) == ["n1"]
    assert ids(directory, 151) == []
    assert directory.own("n1") is None


def test_a_node_that_is_there_is_not_forgotten_however_long() -> None:
    directory = Directory(8, 100)
    directory.declare("n1", "one", APNS, 0)
    assert directory.offline({"n1"}, 10_000) == []
    assert directory.own("n1") == APNS


def test_gossip_is_believed_only_where_the_node_said_nothing_itself() -> None:
    directory = Directory(8, 100)
    directory.hear("n1", "one", FCM, 0)
    assert directory.own("n1") is None
    assert directory.offline((), 0) == [Listed("n1", "one", FCM, offline=True)]
    directory.declare("n1", "uno", APNS, 10)
    directory.hear("n1", "eins", FCM, 20)
    assert directory.offline((), 110) == [Listed("n1", "uno", APNS, offline=True)]
    assert ids(directory, 111) == []


def test_gossip_counts_from_when_it_was_last_heard_not_from_a_leave() -> None:
    directory = Directory(8, 100)
    directory.hear("n1", "one", FCM, 0)
    directory.hear("n1", "one", APNS, 30)
    directory.left("n1", 90)
    assert directory.offline((), 130) == [Listed("n1", "one", APNS, offline=True)]
    assert ids(directory, 131) == []


def test_a_full_directory_gives_up_the_oldest_gossip_first() -> None:
    directory = Directory(3, 100)
    directory.declare("own", "own", APNS, 0)
    directory.hear("g1", "g1", FCM, 1)
    directory.hear("g2", "g2", FCM, 2)
    directory.hear("g3", "g3", FCM, 3)
    assert ids(directory) == ["own", "g2", "g3"]
    directory.declare("late", "late", APNS, 4)
    assert ids(directory) == ["own", "g3", "late"]


def test_gossip_cannot_push_out_declarations_but_a_declaration_can() -> None:
    directory = Directory(2, 100)
    directory.declare("a", "a", APNS, 0)
    directory.declare("b", "b", APNS, 1)
    directory.hear("g", "g", FCM, 2)
    assert ids(directory) == ["a", "b"]
    directory.declare("a", "a", APNS, 3)
    directory.declare("c", "c", APNS, 4)
    assert ids(directory) == ["a", "c"]
