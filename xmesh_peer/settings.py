"""What an agent.toml may say: every section and key, with type, range, default and meaning.

The checks of single values stand here, as types; ``config.load`` reads a file into ``Settings``,
and ``schema`` turns the same types into a JSON Schema. An optional text that is absent is "".
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

Adapter = Literal["anthropic", "openai", "mistral", "ollama", "rehearsal"]
AdapterChoice = Literal["anthropic", "openai", "mistral", "ollama", "rehearsal", "auto"]
KillCause = Literal["budget_run", "budget_hour", "budget_day", "gate", "breaker"]

SECRET_KEYS = frozenset({"api_key", "relay_token"})

# Bounds that no honest file reaches; they keep every sum of money within 64 bits of nano-USD.
_MOST = 1_000_000
_Count = Annotated[int, Meta(ge=1, le=_MOST)]
_Usd = Annotated[float, Meta(ge=0, le=_MOST)]
_Weight = Annotated[float, Meta(ge=0, le=1000)]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of agent.toml. Its ``repr`` never shows a secret."""

    def __repr__(self) -> str:
        shown = (
            f"{name}={'…' if name in SECRET_KEYS and value else repr(value)}"
            for name, value in structs.asdict(self).items()
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _says(text: str) -> Meta:
    return Meta(description=text)


class Identity(Section, frozen=True):
    name: Annotated[str, _says("this peer's name, unique in its group; names its files too")]
    role: Annotated[str, Meta(max_length=64), _says("what it does; `name` where absent")] = ""
    charter: Annotated[
        str,
        Meta(max_length=4000),
        _says("one or two sentences on what concerns this peer; by `role` where absent"),
    ] = ""


class Mesh(Section, frozen=True):
    group: Annotated[str, _says("peers of one group hear each other, groups never mix")] = "default"
    relay: Annotated[
        str, _says("wss:// address of a relay (ws:// on this host); SYM_RELAY_URL where absent")
    ] = ""
    relay_token: Annotated[str, _says("the relay's token; SYM_RELAY_TOKEN where absent")] = ""
    lan: Annotated[bool, _says("meet others on the local network")] = True
    trust: Annotated[
        Literal["tofu", "strict", "open"],
        _says("tofu pins the first key seen, strict takes pinned keys only, open the unsigned too"),
    ] = "tofu"


class RoleWeights(Section, frozen=True):
    """How much each field of a record counts when this peer judges it; none set means 1.0."""

    focus: Annotated[_Weight, _says("weight of what a record is about")] = 1.0
    issue: Annotated[_Weight, _says("weight of problems and blockers")] = 1.0
    intent: Annotated[_Weight, _says("weight of what somebody wants done")] = 1.0
    motivation: Annotated[_Weight, _says("weight of the reasons why")] = 1.0
    commitment: Annotated[_Weight, _says("weight of what somebody has promised or done")] = 1.0
    perspective: Annotated[_Weight, _says("weight of the point of view")] = 1.0
    mood: Annotated[_Weight, _says("weight of mood")] = 1.0


WEIGHT_FIELDS: tuple[str, ...] = RoleWeights.__struct_fields__


class UsdPerMillion(Section, frozen=True):
    """A model's price, in USD per million tokens."""

    input: Annotated[_Usd, _says("USD per million tokens that are sent")]
    output: Annotated[_Usd, _says("USD per million tokens that are answered")]


class Admission(Section, frozen=True):
    encoder: Annotated[
        Literal["ngram", "static", "minilm", "ollama", "openai"],
        _says("what makes vectors of texts; static works offline, ngram is the deployed nodes'"),
    ] = "static"
    encoder_url: Annotated[
        str, _says("http(s) address of the server that embeds, for ollama and openai")
    ] = ""
    encoder_model: Annotated[
        str, Meta(max_length=200), _says("that server's name of its embedding model")
    ] = ""
    triage: Annotated[
        Literal["auto", "off", "always"],
        _says("ask a model about what the judge is unsure of: where it saves money, never, always"),
    ] = "auto"
    triage_model: Annotated[
        str, Meta(max_length=200), _says("the vendor's name of a cheaper model for that")
    ] = ""
    triage_price: Annotated[
        UsdPerMillion | None, _says("what `triage_model` costs, USD per million tokens")
    ] = None


class ModelSettings(Section, frozen=True):
    adapter: Annotated[AdapterChoice, _says("the vendor, or auto: the first that can be used")]
    model_name: Annotated[
        str, Meta(max_length=200), _says("the vendor's name of the model; its usual one if absent")
    ] = ""
    api_key: Annotated[str, _says("the key itself; an environment variable is safer")] = ""
    api_key_env: Annotated[
        str,
        Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$"),
        _says("the environment variable that holds the key, instead of the vendor's usual one"),
    ] = ""
    base_url: Annotated[str, _says("http(s) address of a server that speaks the same API")] = ""
    max_tokens_per_call: Annotated[_Count, _says("most tokens that one answer may have")] = 1024
    timeout_s: Annotated[
        float, Meta(gt=0, le=3600), _says("seconds after which a call is given up")
    ] = 60.0
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None, _says("sent only where it is set")
    ] = None
    price: Annotated[
        UsdPerMillion | None, _says("overrides the price table, USD per million tokens")
    ] = None


class Context(Section, frozen=True):
    k_lineage: Annotated[
        int, Meta(ge=0, le=1000), _says("ancestors of the record that are shown to the model")
    ] = 3
    n_own: Annotated[int, Meta(ge=0, le=1000), _says("this peer's newest records shown")] = 5
    n_group: Annotated[int, Meta(ge=0, le=1000), _says("the group's newest records shown")] = 10
    max_context_tokens: Annotated[
        int, Meta(ge=2048, le=10_000_000), _says("most tokens that one prompt may have")
    ] = 8000


class Budget(Section, frozen=True):
    max_wakes_per_minute: Annotated[_Count, _says("wakes in any minute")] = 10
    max_wakes_per_hour: Annotated[_Count, _says("wakes in any hour")] = 100
    max_wakes_per_day: Annotated[_Count, _says("wakes in any day")] = 1000
    max_cost_usd_per_run: Annotated[_Usd, _says("USD from start to stop, crashes included")] = 5.0
    max_cost_usd_per_hour: Annotated[_Usd, _says("USD in any hour")] = 1.0
    max_cost_usd_per_day: Annotated[_Usd, _says("USD in any day")] = 10.0


class Safety(Section, frozen=True):
    cycle_depth: Annotated[
        int, Meta(ge=1, le=1000), _says("ancestors searched for a record of this peer's own")
    ] = 5
    max_per_thread: Annotated[_Count, _says("records this peer may say in one thread")] = 3
    approval_gates: Annotated[
        Literal["default", "none"] | dict[str, tuple[str, ...]],
        _says("default, none, or a table of field (or any) to regular expressions that hold"),
    ] = "default"


class Routing(Section, frozen=True):
    response_routing: Annotated[
        Literal["broadcast", "targeted", "auto"],
        _says("answer everybody, the asker only, or the asker once there are more than two others"),
    ] = "broadcast"


class Attach(Section, frozen=True):
    mode: Annotated[Literal["headless"], _says("headless is the only mode")] = "headless"


class Logging(Section, frozen=True):
    level: Annotated[
        Literal["error", "warn", "info", "debug"], _says("the least severe line that is written")
    ] = "info"
    file_path: Annotated[str, _says("a log file of its own; ~ is the home directory")] = ""
    max_file_size: Annotated[
        int, Meta(ge=1024, le=2**40), _says("bytes after which the log file is rotated")
    ] = 5_242_880
    keep: Annotated[int, Meta(ge=1, le=1000), _says("rotated log files that are kept")] = 5


class Supervise(Section, frozen=True):
    restart: Annotated[
        Literal["on-failure", "always", "never"], _says("when the supervisor starts it again")
    ] = "on-failure"
    max_restarts: Annotated[
        int, Meta(ge=0, le=1000), _says("restarts within `window_s` before it is parked")
    ] = 5
    window_s: Annotated[
        float, Meta(gt=0, le=86_400), _says("seconds that `max_restarts` looks back on")
    ] = 60.0
    stop_timeout_s: Annotated[
        float, Meta(gt=0, le=3600), _says("seconds to finish in before a stop becomes a kill")
    ] = 10.0
    kill_on: Annotated[tuple[KillCause, ...], _says("events that kill the peer for good")] = ()


class Settings(Section, frozen=True, kw_only=True):
    """A whole agent.toml with every default filled in. ``role_weights`` has all seven fields."""

    identity: Identity
    mesh: Mesh = Mesh()
    role_weights: dict[str, float]
    model: ModelSettings
    admission: Admission = Admission()
    context: Context = Context()
    budget: Budget = Budget()
    safety: Safety = Safety()
    routing: Routing = Routing()
    attach: Attach = Attach()
    logging: Logging = Logging()
    supervise: Supervise = Supervise()


SECTIONS: dict[str, type[Section]] = {
    "identity": Identity,
    "mesh": Mesh,
    "role_weights": RoleWeights,
    "model": ModelSettings,
    "admission": Admission,
    "context": Context,
    "budget": Budget,
    "safety": Safety,
    "routing": Routing,
    "attach": Attach,
    "logging": Logging,
    "supervise": Supervise,
}


def without_secrets(settings: Settings) -> Settings:
    """Return ``settings`` as they may be written to disk and handed to other processes."""
    return structs.replace(
        settings,
        mesh=structs.replace(settings.mesh, relay_token=""),
        model=structs.replace(settings.model, api_key=""),
    )
