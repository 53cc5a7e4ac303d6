"""What people see: tables, figures, log lines."""

import json
from pathlib import Path

import pytest

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import systemd
from xmesh_supervisor.console import LogLine, Tail, parse, render, safe
from xmesh_supervisor.output import ago, duration, money, short, table


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.0000"),
        (1, "$0.0001"),
        (100_000, "$0.0001"),
        (100_001, "$0.0002"),
        (1_234_500_000, "$1.2345"),
        (12_000_000_000, "$12.0000"),
    ],
)
def test_money_is_never_shown_as_less(nano: int, text: str) -> None:
    assert money(nano) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.00 s"),
        (0.214, "0.21 s"),
        (9.99, "9.99 s"),
        (10, "10 s"),
        (59.9, "59 s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (3660, "1h 01m"),
        (86_399, "23h 59m"),
        (86_400, "1d 0h"),
        (180_000, "2d 2h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ago_and_short() -> None:
    assert ago(1_000, 61_000) == "1m 00s ago"
    assert short("cmb-" + "ab" * 32) == "cmb-abababab…"
    assert short("ab" * 32) == "abababab…"
    assert short("abcdefgh") == "abcdefgh"
    assert short("abcdefghi") == "abcdefgh…"


def test_a_table_is_aligned_without_trailing_blanks() -> None:
    assert table([["A", "LONG"], ["long", ""]]) == "A     LONG\nlong"
    assert table([]) == ""
    assert table([["A", "B"]]) == "A  B"


def test_a_log_line_is_shown_with_its_time_and_cannot_steer_the_terminal() -> None:
    line = {"ts": "2024-01-02T03:04:05.678Z", "level": "error", "peer": "p", "text": "a\x1b[2J\nb"}
    shown = render(parse(json.dumps(line).encode(), "x", ""))
    assert shown == "03:04:05  p                ERROR a [2J b"
    quiet = parse(b'{"text": "hi", "ts": "2024-01-02T03:04:05Z"}', "p", "")
    assert render(quiet) == "03:04:05  p                hi"


@pytest.mark.parametrize("line", [b"Traceback", b"[]", b"{}", b"\xff", b"[" * 5000, b'"text"'])
def test_what_is_no_log_line_is_shown_as_it_is_at_the_time_before(line: bytes) -> None:
    parsed = parse(line, "p", "2024")
    assert (parsed.ts, parsed.peer) == ("2024", "p")
    assert parsed.text == line.decode(errors="replace")


def test_safe_keeps_letters_of_all_scripts() -> None:
    assert safe("“ä” 好 \x9b\u202e") == "“ä” 好   "


def log(root: RuntimeDir, name: str, *texts: str) -> Path:
    path = root.log(name)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        for text in texts:
            file.write(json.dumps({"ts": f"2024-01-01T{text}", "peer": name, "text": text}) + "\n")
    return path


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_logs_are_merged_by_time_and_followed(runtime_dir: RuntimeDir) -> None:
    log(runtime_dir, "a", "01", "04")
    log(runtime_dir, "b", "02", "03")
    tail = Tail(runtime_dir)
    assert texts(tail.recent(3)) == ["02", "03", "04"]
    assert tail.more() == []
    log(runtime_dir, "b", "06")
    log(runtime_dir, "c", "05")
    assert texts(tail.more()) == ["05", "06"]


def test_only_the_named_are_shown_also_among_events(runtime_dir: RuntimeDir) -> None:
    log(runtime_dir, "a", "01")
    log(runtime_dir, "b", "02")
    events = [{"ts": "2024-01-01T03", "peer": name, "text": f"{name} starts"} for name in "ab"]
    runtime_dir.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert texts(Tail(runtime_dir, ["a"]).recent(9)) == ["01", "a starts"]
    assert texts(Tail(runtime_dir, events=False).recent(9)) == ["01", "02"]


def test_a_rotated_log_is_followed_from_its_beginning_and_read_with_its_past(
    runtime_dir: RuntimeDir,
) -> None:
    path = log(runtime_dir, "a", "01", "02")
    tail = Tail(runtime_dir)
    tail.recent(0)
    path.with_name("a.log.1").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    log(runtime_dir, "a", "03")
    assert texts(tail.more()) == ["03"]
    assert texts(Tail(runtime_dir).recent(9)) == ["01", "02", "03"]


def test_half_a_line_waits_for_its_other_half(runtime_dir: RuntimeDir) -> None:
    path = log(runtime_dir, "a")
    tail = Tail(runtime_dir)
    tail.skip()
    with path.open("a") as file:
        file.write("one half")
        file.flush()
        assert tail.more() == []
        file.write(" and the other\n")
    assert texts(tail.more()) == ["one half and the other"]


def test_the_watchdog_is_served_twice_within_its_limit() -> None:
    assert systemd.watchdog_s({"WATCHDOG_USEC": "20000000"}, 5) == 10.0
    assert systemd.watchdog_s({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "5"}, 5) == 10.0
    assert systemd.watchdog_s({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "6"}, 5) is None
    for value in ("", "0", "x", "-1"):
        assert systemd.watchdog_s({"WATCHDOG_USEC": value}, 5) is None
    assert systemd.watchdog_s({}, 5) is None


def test_words_of_a_unit_are_quoted_for_systemd() -> None:
    text = systemd.unit(["/x y"], [Path('/a%b"$c')], Path("/r"), "ann")
    assert 'ExecStart="/x y" "up" "/a%%b\\"$$c"\n' in text
    assert 'ReadWritePaths="/r"' in text
    assert "WantedBy=multi-user.target" in text
    user = systemd.unit(["/x"], [Path("/a")], Path("/r"), "")
    assert "User=ann\n" in text
    assert "ReadWritePaths" not in user
    assert "User=" not in user
    assert "WantedBy=default.target" in user
    assert "EnvironmentFile=-%h/.config/xmesh/keys.env" in user
