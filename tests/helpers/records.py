"""Records, keys and hypothesis strategies that tests of several modules share."""

from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.record import FIELDS, Record, compose

SEED = sha256(b"a test's author").digest()
PUBLIC_KEY, _ = crypto_sign_seed_keypair(SEED)
OTHER_SEED = sha256(b"somebody else").digest()
OTHER_PUBLIC_KEY, _ = crypto_sign_seed_keypair(OTHER_SEED)

KEY_A = "cmb-" + "a" * 64
KEY_B = "cmb-" + "b" * 64
KEY_C = "cmb-" + "c" * 64

TEXTS = {field: f"{field} of a test" for field in FIELDS}


def record(**changes: Any) -> Record:
    """Return a record of seven texts; ``changes`` are arguments of ``compose``."""
    arguments: dict[str, Any] = {
        "texts": TEXTS,
        "created_by": "writer-01",
        "created_ms": 1_800_000_000_000,
        "group": "lab",
        **changes,
    }
    return compose(arguments.pop("texts"), **arguments)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
keys = st.binary(min_size=32, max_size=32).map(lambda raw: f"cmb-{raw.hex()}")
numbers = st.none() | st.floats(-1, 1)


def records() -> st.SearchStrategy[Record]:
    """All kinds of records that ``compose`` makes."""
    return st.builds(
        compose,
        st.dictionaries(st.sampled_from(FIELDS), texts),
        created_by=texts.filter(bool),
        created_ms=st.integers(0, 2**53 - 1),
        group=st.none() | texts,
        to=st.none() | texts,
        parents=st.lists(keys, max_size=4),
        category_parents=st.dictionaries(
            st.sampled_from(FIELDS), st.lists(keys | texts, max_size=2), max_size=3
        ),
        method=st.none() | texts,
        valence=numbers,
        arousal=numbers,
    )
