"""The pins of this host, group by group, for the verbs that show and change them."""

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Pins, Why

__all__ = ["WHY", "groups_with_pins", "pins_of", "the_group"]

_FILE = "pins.json"

WHY: dict[Why, str] = {
    "key-changed": "it came with another key than the pinned one",
    "not-pinned": "its key is not pinned, and a peer here is strict",
    "our-name": "it bears the name of a peer of this host",
    "our-id": "it bears the node id of a peer of this host, with another key",
    "pins-full": "there is no room for another key at first sight",
}


def pins_of(root: RuntimeDir, group: str) -> Pins:
    """Return the group's pins; StoreError where their file cannot be used."""
    return Pins(root.pins(group) / _FILE)


def groups_with_pins(root: RuntimeDir) -> list[str]:
    return sorted(path.parent.name for path in root.pins("x").parent.glob(f"*/{_FILE}"))


def the_group(root: RuntimeDir, given: str | None) -> str:
    """Return the group that is meant; UsageError names them where there are several."""
    from xmesh_supervisor.operator import one_group

    groups = groups_with_pins(root)
    if given is None and len(groups) > 1:
        raise UsageError(
            f"keys are pinned in several groups: {', '.join(groups)}",
            fix=f"say which one you mean: --group {groups[0]}",
        )
    return groups[0] if given is None and groups else one_group(root, given, None)
