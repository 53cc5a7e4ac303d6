"""The shipped files load, fit their roles, and the seed product's shape of file loads unchanged."""

from pathlib import Path

import pytest

from xmesh_mesh.paths import RuntimeDir
from xmesh_peer import config, dryrun, plan

CONFIGS = Path(__file__).parents[2] / "configs"
TRIAD = sorted(CONFIGS.glob("*.toml"))
SCENARIOS = sorted((CONFIGS / "scenarios").glob("*.toml"))
KEYS = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b", "MISTRAL_API_KEY": "c"}

# A complete file with every section that the seed product's scenarios have, in their shape.
SEED_SHAPE = """
[identity]
name = "reviewer-07"
role = "reviewer"

[mesh]
group = "xmesh-demo"

[role_weights]
focus = 1.0
issue = 2.5   # what is broken
intent = 1.2
motivation = 0.8
commitment = 2.0
perspective = 0.5
mood = 0.6

[model]
adapter = "{adapter}"
model_name = "{model}"
max_tokens_per_call = 1024

[context]
k_lineage = 3
n_own = 5
n_group = 10
max_context_tokens = 8000

[budget]
max_wakes_per_minute = 5
max_wakes_per_hour = 50
max_wakes_per_day = 500
max_cost_usd_per_hour = {usd}
max_cost_usd_per_day = {usd}
max_cost_usd_per_run = {usd}

[safety]
cycle_depth = 5
approval_gates = "default"

[routing]
response_routing = "broadcast"

[attach]
mode = "headless"

[logging]
level = "info"
max_file_size = 5242880
keep = 5
"""


@pytest.mark.parametrize(
    ("adapter", "model", "usd"),
    [
        ("anthropic", "claude-sonnet-4-6", "0.50"),
        ("anthropic", "claude-haiku-4-5-20251001", "0.30"),
        ("anthropic", "claude-opus-4-7", "1.0"),
        ("openai", "gpt-4o", "2.00"),
        ("openai", "gpt-4o-mini", "1.50"),
        ("mistral", "mistral-small-latest", "1.00"),
        ("ollama", "llama3.2:3b", "999"),
    ],
)
def test_a_file_of_the_seed_product_loads_and_is_priced(
    tmp_path: Path, adapter: str, model: str, usd: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(SEED_SHAPE.format(adapter=adapter, model=model, usd=usd))
    settings = config.load(path)
    assert settings.budget.max_cost_usd_per_run == float(usd)
    found = plan.resolve(settings, path, KEYS, terminal=False)
    assert (found.adapter, found.model_name) == (adapter, model)
    assert (found.price.input_nano > 0) == (adapter != "ollama")


def test_the_triad_is_three_peers_of_one_group_on_whatever_model_there_is() -> None:
    settings = [config.load(path) for path in TRIAD]
    names = ["reviewer-01", "test-writer-01", "writer-01"]
    assert [path.stem for path in TRIAD] == names
    assert [one.identity.name for one in settings] == names
    assert [one.identity.role for one in settings] == ["reviewer", "test-writer", "writer"]
    assert {one.mesh.group for one in settings} == {"coding-triad"}
    assert {one.model.adapter for one in settings} == {"auto"}
    assert all(one.safety.approval_gates == "default" for one in settings)


@pytest.mark.parametrize("path", TRIAD, ids=lambda path: path.stem)
def test_a_charter_of_the_triad_names_the_words_of_the_trade(path: Path) -> None:
    charter = config.load(path).identity.charter.lower()
    for word in ("specification", "code", "endpoint", "api", "review", "bug", "test", "limits"):
        assert word in charter
    assert charter.isprintable()


def test_the_scenarios_are_those_that_the_documents_name() -> None:
    assert {path.stem for path in SCENARIOS} == {
        "openai-writer", "openai-reviewer", "openai-test-writer", "reviewer-ollama",
        "reviewer-mistral", "auditor", "security-reviewer", "doc-writer", "spec-drafter",
        "mixed-writer", "mixed-reviewer", "mixed-test-writer",
    }  # fmt: skip


def test_no_two_shipped_files_have_one_name() -> None:
    names = [config.load(path).identity.name for path in TRIAD + SCENARIOS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", TRIAD + SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_file_passes_the_dry_run_without_a_warning(path: Path) -> None:
    checks = dryrun.checks(
        path,
        KEYS,
        terminal=False,
        probe_ollama=lambda _url: ("llama3.2:3b",),
        runtime=RuntimeDir(Path("/run/xmesh")),
    )
    assert [check for check in checks if not check.ok or check.text.startswith("warning")] == []
    assert len(checks) == 11


def test_the_triads_of_the_scenarios_stay_together() -> None:
    groups = {path.stem: config.load(path).mesh.group for path in SCENARIOS}
    assert {groups[name] for name in groups if name.startswith("openai-")} == {"openai-triad"}
    assert {groups[name] for name in groups if name.startswith("mixed-")} == {"mixed-triad"}
    mixed = [config.load(path).model.adapter for path in SCENARIOS if "mixed-" in path.stem]
    assert sorted(mixed) == ["anthropic", "ollama", "openai"]
