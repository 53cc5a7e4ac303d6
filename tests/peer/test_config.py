"""agent.toml is read, completed or refused, and each refusal names file, key and fix."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from xmesh_mesh.errors import ConfigError, ExitCode
from xmesh_peer import config
from xmesh_peer.settings import SECTIONS, WEIGHT_FIELDS

LEAST = '[identity]\nname = "writer-01"\n[model]\nadapter = "anthropic"\n'
NEEDED = {"identity": 'name = "writer-01"', "model": 'adapter = "anthropic"'}


def write(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "agent.toml"
    path.write_text(textwrap.dedent(text))
    return path


def load(tmp_path: Path, text: str) -> Any:
    return config.load(write(tmp_path, text))


def with_line(section: str, line: str) -> Any:
    """Return a least file whose ``section`` has ``line`` too."""
    sections = dict.fromkeys([*NEEDED, section], "")
    for name in sections:
        lines = [NEEDED.get(name, "")]
        if name == section:
            key = line.split("=", maxsplit=1)[0].strip()
            lines = [own for own in lines if not own.startswith(f"{key} ")] + [line]
        sections[name] = "\n".join(lines)
    return "\n".join(f"[{name}]\n{body}" for name, body in sections.items())


def refusal(tmp_path: Path, text: str) -> Any:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(path) in caught.value.where
    assert caught.value.fix
    assert caught.value.exit_code == ExitCode.CONFIG
    return str(caught.value)


def test_the_least_file_gets_every_documented_default(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST)
    assert settings.identity.role == "writer-01"
    assert settings.identity.charter == ""
    mesh = settings.mesh
    assert (mesh.group, mesh.relay, mesh.relay_token) == ("default", "", "")
    assert (mesh.lan, mesh.trust) == (True, "tofu")
    assert settings.role_weights == dict.fromkeys(WEIGHT_FIELDS, 1.0)
    model = settings.model
    assert (model.adapter, model.model_name, model.api_key) == ("anthropic", "", "")
    assert (model.base_url, model.api_key_env) == ("", "")
    assert (model.max_tokens_per_call, model.timeout_s) == (1024, 60.0)
    assert model.temperature is None
    assert model.price is None
    context = settings.context
    assert (context.k_lineage, context.n_own, context.n_group) == (3, 5, 10)
    assert context.max_context_tokens == 8000
    budget = settings.budget
    assert (budget.max_wakes_per_minute, budget.max_wakes_per_hour) == (10, 100)
    assert budget.max_wakes_per_day == 1000
    assert (budget.max_cost_usd_per_hour, budget.max_cost_usd_per_day) == (1.0, 10.0)
    assert budget.max_cost_usd_per_run == 5.0
    safety = settings.safety
    assert (safety.cycle_depth, safety.max_per_thread) == (5, 3)
    assert safety.approval_gates == "default"
    assert settings.routing.response_routing == "broadcast"
    assert settings.attach.mode == "headless"
    logging = settings.logging
    assert (logging.level, logging.file_path) == ("info", "")
    assert (logging.max_file_size, logging.keep) == (5_242_880, 5)
    supervise = settings.supervise
    assert (supervise.restart, supervise.max_restarts) == ("on-failure", 5)
    assert (supervise.window_s, supervise.stop_timeout_s) == (60.0, 10.0)
    assert supervise.kill_on == ()


def test_the_weights_are_in_the_order_of_the_record_and_missing_ones_are_one(
    tmp_path: Path,
) -> None:
    weights = load(tmp_path, LEAST + "[role_weights]\nmood = 0\nissue = 2.5\n").role_weights
    assert list(weights) == [
        "focus", "issue", "intent", "motivation", "commitment", "perspective", "mood",
    ]  # fmt: skip
    assert weights == {**dict.fromkeys(weights, 1.0), "mood": 0.0, "issue": 2.5}


def test_a_usual_role_brings_its_charter_and_an_own_charter_replaces_it(tmp_path: Path) -> None:
    role = LEAST.replace("[model]", 'role = "reviewer"\n[model]')
    assert "bugs" in load(tmp_path, role).identity.charter
    own = role.replace("[model]", 'charter = "Reads poems."\n[model]')
    assert load(tmp_path, own).identity.charter == "Reads poems."


def test_a_role_is_kept_as_written(tmp_path: Path) -> None:
    role = LEAST.replace("[model]", 'role = "poet"\n[model]')
    assert load(tmp_path, role).identity.role == "poet"


BOUNDS = [
    ("role_weights", "focus", "0", "1000", "-0.001", "1000.1"),
    ("role_weights", "mood", "0", "1000", "-0.001", "1000.1"),
    ("model", "max_tokens_per_call", "1", "1000000", "0", "1000001"),
    ("model", "timeout_s", "0.001", "3600", "0", "3600.1"),
    ("model", "temperature", "0", "2", "-0.1", "2.1"),
    ("context", "k_lineage", "0", "1000", "-1", "1001"),
    ("context", "n_own", "0", "1000", "-1", "1001"),
    ("context", "n_group", "0", "1000", "-1", "1001"),
    ("context", "max_context_tokens", "2048", "10000000", "2047", "10000001"),
    ("budget", "max_wakes_per_minute", "1", "1000000", "0", "1000001"),
    ("budget", "max_wakes_per_hour", "1", "1000000", "0", "1000001"),
    ("budget", "max_wakes_per_day", "1", "1000000", "0", "1000001"),
    ("budget", "max_cost_usd_per_run", "0", "1000000", "-0.01", "1000000.1"),
    ("budget", "max_cost_usd_per_hour", "0", "1000000", "-0.01", "1000000.1"),
    ("budget", "max_cost_usd_per_day", "0", "1000000", "-0.01", "1000000.1"),
    ("safety", "cycle_depth", "1", "1000", "0", "1001"),
    ("safety", "max_per_thread", "1", "1000000", "0", "1000001"),
    ("logging", "max_file_size", "1024", "1099511627776", "1023", "1099511627777"),
    ("logging", "keep", "1", "1000", "0", "1001"),
    ("supervise", "max_restarts", "0", "1000", "-1", "1001"),
    ("supervise", "window_s", "0.001", "86400", "0", "86400.1"),
    ("supervise", "stop_timeout_s", "0.001", "3600", "0", "3600.1"),
]


@pytest.mark.parametrize(("section", "key", "least", "most", "below", "above"), BOUNDS)
def test_a_number_is_taken_within_its_bounds_and_refused_beyond(
    tmp_path: Path, section: str, key: str, least: str, most: str, below: str, above: str
) -> None:
    for fine in (least, most):
        settings = load(tmp_path, with_line(section, f"{key} = {fine}"))
        value = getattr(settings, section)
        value = value[key] if isinstance(value, dict) else getattr(value, key)
        assert value == float(fine)
    for bad in (below, above, "nan", "inf", "-inf", "true", f'"{least}"', "[1]"):
        message = refusal(tmp_path, with_line(section, f"{key} = {bad}"))
        assert f"[{section}] {key}" in message
        assert "number" in message


def test_a_bound_and_the_usual_value_are_told(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_line("safety", "cycle_depth = 0"))
    assert "0 will not do" in message
    assert "use a whole number >= 1" in message
    assert "5 is usual" in message


WORDS = [
    ("mesh", "trust", ["tofu", "strict", "open"], "stric"),
    (
        "model",
        "adapter",
        ["anthropic", "openai", "mistral", "ollama", "auto", "rehearsal"],
        "olama",
    ),
    ("routing", "response_routing", ["broadcast", "targeted", "auto"], "broadcst"),
    ("attach", "mode", ["headless"], "headles"),
    ("logging", "level", ["error", "warn", "info", "debug"], "warning"),
    ("supervise", "restart", ["on-failure", "always", "never"], "on_failure"),
    ("safety", "approval_gates", ["default", "none"], "defaults"),
]


@pytest.mark.parametrize(("section", "key", "words", "wrong"), WORDS)
def test_a_word_is_one_of_its_list_and_a_near_miss_gets_a_hint(
    tmp_path: Path, section: str, key: str, words: list[str], wrong: str
) -> None:
    for word in words:
        settings = load(tmp_path, with_line(section, f'{key} = "{word}"'))
        assert getattr(getattr(settings, section), key) == word
    message = refusal(tmp_path, with_line(section, f'{key} = "{wrong}"'))
    assert f"[{section}] {key}" in message
    assert all(f'"{word}"' in message for word in words)
    assert "did you mean" in message
    assert f"[{section}] {key}" in refusal(tmp_path, with_line(section, f"{key} = 3"))


TEXTS = [
    ("identity", "name"), ("identity", "role"), ("identity", "charter"), ("mesh", "group"),
    ("mesh", "relay"), ("mesh", "relay_token"), ("model", "model_name"), ("model", "api_key"),
    ("model", "api_key_env"), ("model", "base_url"), ("logging", "file_path"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key"), TEXTS)
@pytest.mark.parametrize("empty", ['""', '"  "'])
def test_an_empty_text_is_refused(tmp_path: Path, section: str, key: str, empty: str) -> None:
    message = refusal(tmp_path, with_line(section, f"{key} = {empty}"))
    assert f"[{section}] {key}: the text is empty" in message


@pytest.mark.parametrize(("section", "key"), TEXTS)
def test_a_text_without_quotes_around_it_is_refused(tmp_path: Path, section: str, key: str) -> None:
    assert "text in quotes" in refusal(tmp_path, with_line(section, f"{key} = 7"))


@pytest.mark.parametrize(
    ("section", "key", "most"),
    [("identity", "role", 64), ("identity", "charter", 4000), ("model", "model_name", 200)],
)
def test_a_text_may_be_just_so_long(tmp_path: Path, section: str, key: str, most: str) -> None:
    load(tmp_path, with_line(section, f'{key} = "{"a" * most}"'))
    assert f"[{section}] {key}" in refusal(
        tmp_path, with_line(section, f'{key} = "{"a" * (most + 1)}"')
    )


def test_a_wrong_type_for_a_switch_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, with_line("mesh", "lan = false")).mesh.lan is False
    message = refusal(tmp_path, with_line("mesh", 'lan = "yes"'))
    assert "use true or false; true is usual" in message


def test_an_unknown_key_gets_a_hint_at_the_one_that_was_meant(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_line("budget", "max_wakes_per_minutes = 3"))
    assert "[budget] max_wakes_per_minutes: there is no such key" in message
    assert "did you mean max_wakes_per_minute?" in message


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert "keep belongs in [logging]" in refusal(tmp_path, with_line("budget", "keep = 3"))


def test_an_unknown_section_gets_a_hint_and_the_list(tmp_path: Path) -> None:
    message = refusal(tmp_path, LEAST + "[role_weight]\nfocus = 1\n")
    assert "[role_weight]: there is no such section" in message
    assert "did you mean role_weights?" in message
    assert all(section in message for section in SECTIONS)


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "write it as a table: [mesh]" in refusal(tmp_path, 'mesh = "x"\n' + LEAST)


@pytest.mark.parametrize("key", ["name", "adapter"])
def test_a_required_key_that_is_missing_is_named_with_an_example(tmp_path: Path, key: str) -> None:
    lines = [line for line in LEAST.splitlines() if not line.startswith(key)]
    assert f"add {key} = " in refusal(tmp_path, "\n".join(lines))


def test_an_empty_file_lacks_both_required_keys(tmp_path: Path) -> None:
    message = refusal(tmp_path, "")
    assert "2 problems" in message
    assert "[identity] name" in message
    assert "[model] adapter" in message


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, LEAST + "[safety]\ncycle_depth = 0\n[mesh]\nlan = 1\n[bus]\n")
    assert "3 problems" in message
    for where in ("[safety] cycle_depth", "[mesh] lan", "[bus]"):
        assert f"\n  {where}: " in message


@pytest.mark.parametrize("name", ["../x", "a/b", "bus", "Operator", "-a", "a" * 65])
def test_a_name_that_could_leave_its_directory_is_refused(tmp_path: Path, name: str) -> None:
    assert "[identity] name" in refusal(tmp_path, with_line("identity", f'name = "{name}"'))


def test_a_group_that_other_nodes_would_not_take_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, with_line("mesh", 'group = "a-b2"')).mesh.group == "a-b2"
    assert "[mesh] group" in refusal(tmp_path, with_line("mesh", 'group = "A b"'))


@pytest.mark.parametrize(
    ("section", "key", "good", "bad"),
    [
        ("mesh", "relay", ["wss://r.example", "ws://127.0.0.1:9"], ["https://r.example", "wss://"]),
        (
            "model", "base_url",
            ["http://127.0.0.1:1/v1", "https://a.example"],
            ["ws://a.example", "a.example/v1", "http://a:99999", "http://a:0", "http://[a"],
        ),
    ],
)  # fmt: skip
def test_an_address_has_a_scheme_and_a_host(
    tmp_path: Path, section: str, key: str, good: list[str], bad: str
) -> None:
    for address in good:
        settings = load(tmp_path, with_line(section, f'{key} = "{address}"'))
        assert getattr(getattr(settings, section), key) == address
    for address in bad:
        assert "is no address" in refusal(tmp_path, with_line(section, f'{key} = "{address}"'))


@pytest.mark.parametrize("host", ["relay.example.org", "192.0.2.1:8080", "localhost.example"])
def test_a_relay_beyond_this_host_is_reached_encrypted_only(tmp_path: Path, host: str) -> None:
    message = refusal(tmp_path, with_line("mesh", f'relay = "ws://{host}"'))
    assert "[mesh] relay" in message
    assert "not encrypted" in message
    assert "wss://" in message
    for address in ("ws://localhost:8080", "ws://[::1]:8080", f"wss://{host}"):
        assert load(tmp_path, with_line("mesh", f'relay = "{address}"')).mesh.relay == address


def test_all_weights_zero_would_be_deaf_and_are_refused(tmp_path: Path) -> None:
    zeros = "\n".join(f"{field} = 0" for field in WEIGHT_FIELDS)
    assert "all seven weights are 0" in refusal(tmp_path, f"{LEAST}[role_weights]\n{zeros}\n")
    one = zeros.replace("mood = 0", "mood = 0.1")
    assert load(tmp_path, f"{LEAST}[role_weights]\n{one}\n").role_weights["mood"] == 0.1


VENDOR_LINES = [
    'model_name = "m"', 'api_key = "k"', 'api_key_env = "K"', 'base_url = "http://a"',
    "price = { input = 1, output = 2 }",
]  # fmt: skip


@pytest.mark.parametrize("line", VENDOR_LINES)
def test_what_belongs_to_one_vendor_needs_a_named_adapter(tmp_path: Path, line: str) -> None:
    load(tmp_path, LEAST + line)
    message = refusal(tmp_path, LEAST.replace("anthropic", "auto") + line)
    assert f"[model] {line.split(maxsplit=1)[0]}" in message


def test_two_ways_to_the_key_are_one_too_many(tmp_path: Path) -> None:
    assert "keep one" in refusal(tmp_path, LEAST + 'api_key = "k"\napi_key_env = "K"\n')


@pytest.mark.parametrize("bad", ["1KEY", "A-B", "A B"])
def test_a_key_variable_must_be_one(tmp_path: Path, bad: str) -> None:
    assert "[model] api_key_env" in refusal(tmp_path, LEAST + f'api_key_env = "{bad}"\n')


def test_a_price_has_two_sides_and_nothing_else(tmp_path: Path) -> None:
    price = load(tmp_path, LEAST + "price = { input = 1, output = 2.5 }\n").model.price
    assert (price.input, price.output) == (1.0, 2.5)
    for bad in ("{ input = 1 }", "{ input = 1, output = -1 }", "3"):
        assert "[model] price" in refusal(tmp_path, LEAST + f"price = {bad}\n")
    both = "price = { input = 1, output = 2, cached = 3 }\n"
    assert "cached" in refusal(tmp_path, LEAST + both)


def test_own_gates_are_patterns_by_field_or_for_any(tmp_path: Path) -> None:
    gates = "approval_gates = { any = ['a.b'], mood = [] }"
    settings = load(tmp_path, with_line("safety", gates))
    assert settings.safety.approval_gates == {"any": ("a.b",), "mood": ()}


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ("{ any = ['('] }", "is no regular expression"),
        ("{ any = [' '] }", "a pattern is empty"),
        ("{ intents = ['a'] }", "did you mean intent?"),
        ("{ any = 'a' }", "approval_gates"),
        ("{ any = [3] }", "approval_gates"),
        ("['a']", "approval_gates"),
    ],
)
def test_a_gate_that_could_never_hold_is_refused(tmp_path: Path, gates: str, told: str) -> None:
    assert told in refusal(tmp_path, with_line("safety", f"approval_gates = {gates}"))


def test_what_kills_is_from_a_closed_list(tmp_path: Path) -> None:
    causes = ("budget_run", "budget_hour", "budget_day", "gate", "breaker")
    line = f"kill_on = {list(causes)}"
    assert load(tmp_path, with_line("supervise", line)).supervise.kill_on == causes
    message = refusal(tmp_path, with_line("supervise", 'kill_on = ["gates"]'))
    assert all(f'"{cause}"' in message for cause in causes)


def test_a_log_file_is_absolute_and_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    line = with_line("logging", 'file_path = "~/x.log"')
    assert load(tmp_path, line).logging.file_path == "/home/somebody/x.log"
    line = with_line("logging", 'file_path = "x.log"')
    assert load(tmp_path, line).logging.file_path == str(tmp_path / "x.log")
    unknown = with_line("logging", 'file_path = "~nobody-of-that-name/x.log"')
    assert "[logging] file_path" in refusal(tmp_path, unknown)


def test_a_secret_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_line("mesh", 'relay_token = ["very-secret"]'))
    assert "very-secret" not in message
    settings = load(tmp_path, LEAST + 'api_key = "very-secret"\n')
    assert "very-secret" not in repr(settings)
    assert "api_key='…'" not in repr(load(tmp_path, LEAST))
    assert "api_key=…" in repr(settings)
    assert "adapter='anthropic'" in repr(settings)


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_line("mesh", f'trust = "{"x" * 500}"'))
    assert len(message) < 400
    assert "…" in message


@pytest.mark.parametrize("broken", ["[identity", "name = x", "a = 1\na = 2", "x = " + "[" * 9000])
def test_what_is_no_toml_is_told_so(tmp_path: Path, broken: str) -> None:
    assert "this is not TOML" in refusal(tmp_path, broken)


def test_bytes_that_are_no_text_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="this is not TOML"):
        config.load(path)


def test_a_file_may_be_just_so_large(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(LEAST + "#" * (config.MAX_BYTES - len(LEAST)))
    config.load(path)
    path.write_text(LEAST + "#" * (config.MAX_BYTES - len(LEAST) + 1))
    with pytest.raises(ConfigError, match="larger than 32768 bytes"):
        config.load(path)


def test_a_file_that_is_not_there_or_a_directory_is_told_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            config.load(path)
        assert caught.value.where == str(path)


def test_importing_the_configuration_loads_nothing_heavy() -> None:
    code = (
        "import sys, xmesh_peer.config, xmesh_peer.plan\n"
        "heavy = {'numpy', 'zmq', 'nacl', 'anthropic', 'openai', 'ollama', 'genai_prices',"
        " 'pydantic', 'asyncio', 'http.client', 'ssl'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(config.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "line", ["temperature = 3", "model_name = 3", "adapter = 3", "price = 3", "api_key_env = 3"]
)
def test_where_nothing_is_usual_nothing_usual_is_told(tmp_path: Path, line: str) -> None:
    assert "is usual" not in refusal(tmp_path, with_line("model", line))
    assert "is usual" not in refusal(tmp_path, with_line("supervise", "kill_on = 3"))


def test_sixty_characters_of_a_value_are_shown(tmp_path: Path) -> None:
    whole, longer = "x" * 58, "x" * 59
    assert f'"{whole}" will' in refusal(tmp_path, with_line("mesh", f'trust = "{whole}"'))
    message = refusal(tmp_path, with_line("mesh", f'trust = "{longer}"'))
    assert f'"{whole}… will' in message


def test_half_a_price_is_told_by_the_half_that_is_missing(tmp_path: Path) -> None:
    message = refusal(tmp_path, LEAST + "price = { input = 1 }\n")
    assert "correct it: object missing required field `output`" in message
