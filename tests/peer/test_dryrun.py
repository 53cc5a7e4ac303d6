"""dry-run tells everything about a file that can be told without joining or calling."""

from pathlib import Path
from typing import Any

import pytest

from xmesh_mesh.paths import RuntimeDir
from xmesh_peer import dryrun

LEAST = '[identity]\nname = "writer-01"\nrole = "writer"\n[model]\nadapter = "openai"\n'
SANE = "[role_weights]\nintent = 2\nfocus = 2\n"
ORDER = [
    "load", "schema", "model", "credentials", "budget", "weights", "role", "charter", "safety",
    "attach", "paths",
]  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """Return a function from a file's text to its report."""

    def run(text: str, env: Any = None, *, root: Any = None) -> Any:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        path.chmod(0o600)
        return dryrun.checks(
            path,
            {"OPENAI_API_KEY": "k"} if env is None else env,
            terminal=True,
            probe_ollama=lambda _url: None,
            runtime=RuntimeDir(root or tmp_path / "run"),
        )

    return run


def find(checks: Any, name: str) -> Any:
    return next(check for check in checks if check.name == name)


def warned(checks: Any) -> Any:
    return {check.name for check in checks if check.text.startswith("warning: ")}


def test_a_sound_file_passes_every_check_in_order(report: Any) -> None:
    checks = report(LEAST + SANE)
    assert [check.name for check in checks] == ORDER
    assert all(check.ok and check.text for check in checks)
    assert warned(checks) == set()
    assert find(checks, "credentials").text == "the key is in OPENAI_API_KEY"
    assert "gpt-4.1-mini at https://api.openai.com/v1" in find(checks, "model").text
    assert "cycle depth 5, 3 a thread, gates: default" in find(checks, "safety").text


def test_nothing_is_made_on_disk(report: Any, tmp_path: Path) -> None:
    report(LEAST)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.toml"]


def test_a_file_that_is_not_there_ends_the_report(tmp_path: Path) -> None:
    (only,) = dryrun.checks(tmp_path / "none.toml", {}, terminal=True)
    assert (only.name, only.ok) == ("load", False)
    assert "cannot be read" in only.text


def test_a_file_that_is_no_toml_fails_load_and_a_bad_key_fails_schema(report: Any) -> None:
    assert [(check.name, check.ok) for check in report("x")] == [("load", False)]
    checks = report(LEAST + "[bus]\n")
    assert [(check.name, check.ok) for check in checks] == [("load", True), ("schema", False)]
    assert "fix:" in checks[-1].text


def test_a_missing_key_fails_and_the_rest_is_still_checked(report: Any) -> None:
    checks = report(LEAST + SANE, {})
    failed = [check for check in checks if not check.ok]
    assert [check.name for check in failed] == ["model"]
    assert "OPENAI_API_KEY" in failed[0].text
    assert [check.name for check in checks] == [
        name for name in ORDER if name not in ("credentials", "budget")
    ]


def test_a_rehearsal_is_a_warning(report: Any) -> None:
    checks = report(LEAST.replace("openai", "auto") + SANE, {})
    assert warned(checks) == {"model"}
    assert find(checks, "credentials").text == "rehearsal needs no key"


def test_a_key_in_the_file_is_a_warning_and_a_louder_one_if_others_may_read_it(
    report: Any, tmp_path: Path
) -> None:
    text = LEAST + 'api_key = "secret-key"\n' + SANE
    private = find(report(text), "credentials")
    assert private.text.startswith("warning: the key stands in the file")
    assert "chmod" not in private.text
    for mode in (0o640, 0o604):
        path = tmp_path / "open.toml"
        path.write_text(text)
        path.chmod(mode)
        checks = dryrun.checks(path, {}, terminal=True, runtime=RuntimeDir(tmp_path))
        assert f"chmod 600 {path}" in find(checks, "credentials").text
        assert all(check.ok and "secret-key" not in check.text for check in checks)


def test_a_cap_under_the_price_of_one_full_call_is_a_warning(report: Any) -> None:
    text = LEAST + "price = { input = 100, output = 200 }\nmax_tokens_per_call = 1000\n" + SANE
    text += "[context]\nmax_context_tokens = 8000\n[budget]\n"
    least = "max_cost_usd_per_run = {}\nmax_cost_usd_per_hour = {}\nmax_cost_usd_per_day = {}\n"
    assert warned(report(text + least.format(1.0, 1.0, 1.0))) == set()
    for caps, named in (
        ((0.99, 1, 1), "$0.99 per run"),
        ((1, 0.98, 1), "$0.98 per hour"),
        ((1, 1, 0.97), "$0.97 per day"),
    ):
        check = find(report(text + least.format(*caps)), "budget")
        assert check.ok
        assert check.text == f"warning: one full call can cost $1.0000, more than the {named}"


def test_weights_that_do_not_fit_the_role_are_a_warning(report: Any) -> None:
    checks = report(LEAST)
    assert warned(checks) == {"role"}
    assert "intent" in find(checks, "role").text
    assert "focus" in find(checks, "role").text


def test_an_unusual_role_without_a_charter_is_a_warning(report: Any) -> None:
    text = LEAST.replace('"writer"', '"poet"')
    assert warned(report(text)) == {"charter"}
    with_charter = text.replace("[model]", 'charter = "Writes poems."\n[model]')
    assert find(report(with_charter), "charter").text == "Writes poems."


def test_no_gates_are_a_warning_and_own_ones_are_named(report: Any) -> None:
    text = LEAST + SANE + "[safety]\napproval_gates = "
    for nothing in ('"none"', "{}"):
        assert warned(report(text + nothing)) == {"safety"}
    own = report(text + "{ any = ['a'], mood = ['b'] }")
    assert warned(own) == set()
    assert "own patterns for any, mood" in find(own, "safety").text


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        ("", "group default, trust tofu; meets others on the LAN"),
        ("lan = false", "stays on this host"),
        ('relay = "wss://r.example"', "on the LAN and the relay wss://r.example"),
        ('lan = false\ntrust = "open"', "trust open; stays on this host"),
    ],
)
def test_it_says_whom_the_peer_will_meet(report: Any, mesh: str, says: str) -> None:
    checks = report(f"{LEAST}{SANE}[mesh]\n{mesh}\n")
    assert says in find(checks, "attach").text
    assert warned(checks) == set()


def test_hearing_the_unsigned_of_other_hosts_is_a_warning(report: Any) -> None:
    assert warned(report(LEAST + SANE + '[mesh]\ntrust = "open"\n')) == {"attach"}


def test_a_socket_path_that_would_not_fit_fails(report: Any, tmp_path: Path) -> None:
    root = tmp_path / ("x" * 100)
    failed = [check.name for check in report(LEAST + SANE, root=root) if not check.ok]
    assert failed == ["paths"]
    assert not root.exists()


def test_a_cap_is_compared_to_the_nano(report: Any) -> None:
    text = LEAST + "max_tokens_per_call = 1\nprice = {{ input = 100, output = {} }}\n" + SANE
    for output, names in (("200000", set()), ("200000.001", {"budget"})):
        assert warned(report(text.format(output))) == names
