"""Which vendor, model, address, key and price a peer is started with."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_peer import config, plan
from xmesh_peer.plan import PeerPlan
from xmesh_peer.prices import Price

PATH = Path("/etc/xmesh/agent.toml")
KEYS = {"ANTHROPIC_API_KEY": "a-key", "OPENAI_API_KEY": "o-key", "MISTRAL_API_KEY": "m-key"}
PRICED = "price = { input = 1.5, output = 0.0001 }"


def settings_of(adapter: str, *lines: Any, mesh: str = "") -> Any:
    text = "\n".join(
        [
            "[identity]",
            'name = "writer-01"',
            "[mesh]",
            mesh,
            "[model]",
            f'adapter = "{adapter}"',
            *lines,
        ]
    )
    return config.parse(config.tomllib.loads(text), PATH)


def resolve(
    settings: Any,
    env: Any = KEYS,
    *,
    terminal: Any = False,
    installed: Any = None,
    recorded: Any = None,
) -> Any:
    return plan.resolve(
        settings,
        PATH,
        env,
        terminal=terminal,
        probe_ollama=lambda _url: installed,
        recorded=recorded,
    )


def refusal(*arguments: Any, **options: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        resolve(*arguments, **options)
    assert str(PATH) in caught.value.where
    return caught.value


# --- auto -----------------------------------------------------------------------------------------


def test_auto_takes_the_first_that_can_be_used() -> None:
    left = dict(KEYS)
    for adapter, key_env in (
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("mistral", "MISTRAL_API_KEY"),
    ):
        found = resolve(settings_of("auto"), left, terminal=True, installed=("llama3",))
        assert (found.adapter, found.key_env) == (adapter, key_env)
        assert found.adapter_reason == f"{key_env} is set"
        del left[key_env]
    found = resolve(settings_of("auto"), left, terminal=True, installed=("qwen3", "llama3"))
    assert (found.adapter, found.model_name, found.key_env) == ("ollama", "qwen3", "")
    assert found.adapter_reason == "Ollama answers at http://127.0.0.1:11434"
    for installed in ((), None):
        found = resolve(settings_of("auto"), left, terminal=True, installed=installed)
        assert (found.adapter, found.model_name, found.base_url) == ("rehearsal", "rehearsal", "")
        assert found.price == Price(0, 0)
        assert "rehearsal" in found.adapter_reason


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_key_is_no_key(blank: str) -> None:
    found = resolve(settings_of("auto"), {**KEYS, "ANTHROPIC_API_KEY": blank})
    assert found.adapter == "openai"


def test_without_a_terminal_auto_never_ends_in_a_rehearsal() -> None:
    error = refusal(settings_of("auto"), {})
    for choice in (*KEYS, "OLLAMA_HOST", 'adapter = "rehearsal"'):
        assert choice in error.fix
    assert "pull" not in error.fix
    assert "pull" in refusal(settings_of("auto"), {}, installed=()).fix


def test_no_key_is_asked_for_when_ollama_is_not_needed() -> None:
    def never(url: str) -> None:
        raise AssertionError(url)

    for adapter in ("auto", "openai", "rehearsal"):
        plan.resolve(settings_of(adapter), PATH, KEYS, terminal=False, probe_ollama=never)


# --- a named adapter ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "model_name", "base_url", "key_env"),
    [
        ("anthropic", "claude-sonnet-4-6", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        ("openai", "gpt-4.1-mini", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("mistral", "mistral-small-latest", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        ("ollama", "llama3.2:3b", "http://127.0.0.1:11434", ""),
        ("rehearsal", "rehearsal", "", ""),
    ],
)
def test_a_named_adapter_has_its_usual_model_address_and_key(
    adapter: str, model_name: str, base_url: str, key_env: str
) -> None:
    found = resolve(settings_of(adapter))
    assert (found.adapter, found.model_name) == (adapter, model_name)
    assert (found.base_url, found.key_env) == (base_url, key_env)
    assert found.adapter_reason == "agent.toml names it"
    assert found.config_path == str(PATH)


def test_the_file_names_the_model_and_the_address() -> None:
    found = resolve(settings_of("openai", 'model_name = "m"', 'base_url = "http://h/v1"', PRICED))
    assert (found.model_name, found.base_url) == ("m", "http://h/v1")


def test_ollama_uses_what_is_installed_unless_the_file_names_a_model() -> None:
    assert resolve(settings_of("ollama"), {}, installed=("qwen3",)).model_name == "qwen3"
    named = settings_of("ollama", 'model_name = "phi4"')
    assert resolve(named, {}, installed=("qwen3",)).model_name == "phi4"


def test_ollama_is_asked_where_the_file_or_the_environment_says() -> None:
    asked = []

    def probe(url: str) -> None:
        asked.append(url)

    own = settings_of("ollama", 'base_url = "http://gpu:1"')
    env = {"OLLAMA_HOST": "far:2"}
    for settings in (own, settings_of("ollama")):
        plan.resolve(settings, PATH, env, terminal=False, probe_ollama=probe)
    assert asked == ["http://gpu:1", "http://far:2"]


@pytest.mark.parametrize("adapter", ["anthropic", "openai", "mistral"])
def test_a_named_adapter_without_its_key_is_refused_by_the_variables_name(adapter: str) -> None:
    variable = plan.VENDORS[adapter].key_env
    error = refusal(settings_of(adapter), {})
    assert variable in error.what
    assert variable in error.fix


def test_another_variable_may_hold_the_key() -> None:
    settings = settings_of("openai", 'api_key_env = "MY_KEY"')
    assert "MY_KEY" in refusal(settings, KEYS).what
    found = resolve(settings, {"MY_KEY": " x "})
    assert found.key_env == "MY_KEY"
    assert plan.credentials(found, settings, {"MY_KEY": " x "}) == {"MY_KEY": "x"}


def test_a_key_in_the_file_comes_first_and_is_in_no_plan() -> None:
    settings = settings_of("openai", 'api_key = "in-file"', mesh='relay_token = "in-file"')
    found = resolve(settings, {})
    assert plan.credentials(found, settings, KEYS) == {"OPENAI_API_KEY": "in-file"}
    assert b"in-file" not in msgspec.json.encode(found)
    assert "in-file" not in repr(found)


def test_a_peer_gets_its_own_vendors_key_and_no_other() -> None:
    for adapter, expected in (
        ("anthropic", {"ANTHROPIC_API_KEY": "a-key"}),
        ("mistral", {"MISTRAL_API_KEY": "m-key"}),
        ("ollama", {}),
        ("rehearsal", {}),
    ):
        settings = settings_of(adapter)
        assert plan.credentials(resolve(settings), settings, KEYS) == expected


# --- price ----------------------------------------------------------------------------------------


def test_the_price_comes_from_the_table_and_the_file_overrides_it() -> None:
    assert resolve(settings_of("openai")).price == Price(400, 1600)
    assert resolve(settings_of("openai", PRICED)).price == Price(1500, 1)
    assert resolve(settings_of("ollama", PRICED)).price == Price(1500, 1)
    assert resolve(settings_of("ollama")).price == Price(0, 0)
    assert resolve(settings_of("rehearsal", PRICED)).price == Price(0, 0)


def test_a_model_without_a_known_price_is_refused_with_the_line_to_add() -> None:
    error = refusal(settings_of("openai", 'model_name = "brand-new"'))
    assert "brand-new" in error.what
    assert "[model] price" in error.where
    assert "price = { input = 1.0, output = 4.0 }" in error.fix


def test_a_known_name_on_somebody_elses_server_has_no_known_price() -> None:
    error = refusal(settings_of("openai", 'base_url = "http://127.0.0.1:9/v1"'))
    assert "gpt-4.1-mini at http://127.0.0.1:9/v1" in error.what
    for url in ("https://api.openai.com/v1/", "https://api.openai.com/v1"):
        assert resolve(settings_of("openai", f'base_url = "{url}"')).price == Price(400, 1600)


def test_mistral_by_the_openai_adapter_costs_what_mistral_takes() -> None:
    mistral = resolve(settings_of("mistral"))
    lines = ('base_url = "https://api.mistral.ai/v1"', 'model_name = "mistral-small-latest"')
    assert resolve(settings_of("openai", *lines)).price == mistral.price
    assert mistral.price.input_nano > 0


# --- recorded -------------------------------------------------------------------------------------


def test_a_recorded_decision_is_kept_while_the_settings_are_the_same() -> None:
    settings = settings_of("auto")
    recorded = resolve(settings, {"OPENAI_API_KEY": "o"})
    assert resolve(settings, KEYS, recorded=recorded) == recorded
    assert resolve(settings, KEYS).adapter == "anthropic"
    moved = plan.resolve(settings, Path("/b.toml"), KEYS, terminal=False, recorded=recorded)
    assert (moved.adapter, moved.config_path) == ("openai", "/b.toml")


def test_a_recorded_decision_ends_with_the_settings_it_was_made_for() -> None:
    recorded = resolve(settings_of("auto"), {"OPENAI_API_KEY": "o"})
    changed = settings_of("auto", "temperature = 1")
    assert resolve(changed, KEYS, recorded=recorded).adapter == "anthropic"


def test_a_recorded_decision_still_needs_its_key() -> None:
    recorded = resolve(settings_of("auto"), {"OPENAI_API_KEY": "o"})
    error = refusal(settings_of("auto"), {}, recorded=recorded)
    assert "OPENAI_API_KEY" in error.what


def test_a_recorded_rehearsal_is_kept_without_a_terminal() -> None:
    recorded = resolve(settings_of("auto"), {}, terminal=True)
    assert resolve(settings_of("auto"), {}, recorded=recorded) == recorded


@pytest.mark.parametrize("adapter", list(plan.VENDORS))
def test_a_plan_survives_json(adapter: str) -> None:
    found = resolve(settings_of(adapter))
    assert msgspec.json.decode(msgspec.json.encode(found), type=PeerPlan) == found


def test_the_largest_file_still_fits_one_environment_variable() -> None:
    patterns = ",".join(["'\\\\'"] * 6000)
    text = (
        '[identity]\nname = "w"\n[model]\nadapter = "rehearsal"\n'
        f"[safety]\napproval_gates = {{ any = [{patterns}] }}\n"
    )
    assert 0.9 * config.MAX_BYTES < len(text) <= config.MAX_BYTES
    found = resolve(config.parse(config.tomllib.loads(text), PATH))
    assert len(msgspec.json.encode(found)) < 131_000 - len("XMESH_PLAN=")


# --- Ollama ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("far", "http://far:11434"),
        ("far:80", "http://far:80"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        (":9", "http://127.0.0.1:9"),
        ("[::1]:9", "http://[::1]:9"),
        ("[::]:9", "http://[::1]:9"),
        ("https://far/", "https://far"),
    ],
)
def test_ollama_host_is_read_in_all_its_forms(host: str, url: str) -> None:
    assert plan.ollama_url({"OLLAMA_HOST": host}) == url


def test_an_ollama_host_that_is_none_is_told_so() -> None:
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        plan.ollama_url({"OLLAMA_HOST": "far:99999"})


@pytest.fixture
def server() -> Any:
    """Return a function that serves one body at /api/tags and tells the address."""
    started = []

    def serve(body: Any, status: Any = 200) -> Any:
        class Tags(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/api/tags" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        web = ThreadingHTTPServer(("127.0.0.1", 0), Tags)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((web, thread))
        return f"http://127.0.0.1:{web.server_port}"

    yield serve
    for web, thread in started:
        web.shutdown()
        thread.join()
        web.server_close()


def tags(*names: Any) -> Any:
    return json.dumps({"models": [{"name": name} for name in names]}).encode()


def test_a_running_ollama_tells_the_models_that_can_answer(server: Any) -> None:
    url = server(tags("nomic-embed-text:latest", "qwen3:4b", "llama3"))
    assert plan.installed_models(url) == ("qwen3:4b", "llama3")
    assert plan.installed_models(f"{url}/") == ("qwen3:4b", "llama3")


def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = server(tags("qwen3"))
    assert plan.installed_models(url) == ("qwen3",)
    assert plan.installed_models(url.replace("127.0.0.1", "localhost")) == ("qwen3",)


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[]", b"{}", b'{"models": 3}', b'{"models": ' + b"[" * 100_000, b"\xff\xfe"],
)
def test_whatever_else_answers_there_is_no_ollama(server: Any, body: Any) -> None:
    assert plan.installed_models(server(body)) is None


def test_an_answer_with_odd_models_keeps_the_sound_ones(server: Any) -> None:
    body = b'{"models": [3, {}, {"name": 4}, {"name": "qwen3"}]}'
    assert plan.installed_models(server(body)) == ("qwen3",)


def test_an_error_or_nobody_there_is_no_ollama(server: Any) -> None:
    assert plan.installed_models(server(tags("x"), status=500)) is None
    assert plan.installed_models("http://127.0.0.1:1") is None


def test_an_answer_may_be_just_so_large(server: Any) -> None:
    body = tags("qwen3")
    assert plan.installed_models(server(body.ljust(1_048_576))) == ("qwen3",)
    end = body[:-1].ljust(1_048_576) + body[-1:]
    assert plan.installed_models(server(end)) is None


def test_a_silent_ollama_is_waited_for_half_a_second() -> None:
    assert plan.PROBE_TIMEOUT_S == 0.5


def test_a_server_of_ones_own_needs_no_key_and_a_vendors_does() -> None:
    lines = ('base_url = "http://127.0.0.1:9/v1"', PRICED)
    assert resolve(settings_of("openai", *lines), {}).base_url == "http://127.0.0.1:9/v1"
    assert "needs a key" in refusal(settings_of("openai"), {}).what
