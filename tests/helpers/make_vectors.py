"""Write the project's own conformance vectors to standard output.

They fix the formats: run this only to add a case, and look at every line that changed, because a
changed value is a node that nobody understands any more.

    python tests/helpers/make_vectors.py > tests/mesh/vectors.json
"""

import json
import sys
from dataclasses import asdict, replace
from typing import Any

import msgspec
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh import encoder, legacy, svaf, tether
from xmesh_mesh.canonical import b64u, content_address, parents_commitment
from xmesh_mesh.identity import Identity, fingerprint
from xmesh_mesh.introduction import introduce
from xmesh_mesh.record import (
    SUITE_PUBLISHED,
    Application,
    Category,
    Record,
    compose,
    to_wire,
)
from xmesh_mesh.signing import assertion_id, sign, sign_bytes, signing_preimage

SEED = bytes(range(32))
PUBLIC_KEY, _ = crypto_sign_seed_keypair(SEED)
NODE = "01930f1e-0000-7000-8000-00000000beef"
OTHER = "01930f1e-0000-7000-8000-00000000cafe"
TEXTS = {
    "focus": "rate limit on the login route",
    "issue": "five requests a second reach the database",
    "intent": "draft a limit and ask for review",
    "motivation": "one slow table slows everybody",
    "commitment": "tests before Friday",
    "perspective": "the writer",
    "mood": "calm",
}
LOW = "cmb-" + "1" * 64
HIGH = "cmb-" + "e" * 64


def records() -> dict[str, Record]:
    base: dict[str, Any] = {"created_by": "writer-01", "created_ms": 1_800_000_000_123}
    plain = compose(TEXTS, **base, group="coding-triad")
    published = replace(plain, suite=SUITE_PUBLISHED, created_by_node_id=NODE)
    application = Application(
        "text/plain",
        "schema:né",
        5,
        "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        b64u(b"hello"),
    )
    fewer = {"focus": Category("only one field"), "mood": Category("")}
    return {
        "plain": plain,
        "directed, no room": compose(TEXTS, **base, group=None, to=OTHER),
        "parents unsorted": compose(TEXTS, **base, group="lab", parents=[HIGH, LOW], method="m"),
        "parents of fields": compose(
            TEXTS, **base, group="lab", category_parents={"focus": ["zz", HIGH], "mood": [LOW]}
        ),
        "mood with numbers": compose(TEXTS, **base, group="lab", valence=-0.5, arousal=0.25),
        "decomposed text": compose(
            {"focus": "cafe\u0301 mu\u0308de", "issue": "数据 🚦"},
            created_by="Ange\u0301le",
            created_ms=0,
            group="lab",
        ),
        "two fields, one empty": replace(
            plain,
            categories=fewer,
            key=content_address({"focus": "only one field"}),
        ),
        "published suite": published,
        "published suite, no room, payload": replace(
            published, group=None, to=OTHER, parents=(LOW,), method="m", application=application
        ),
    }


def record_case(label: str, record: Record) -> dict[str, Any]:
    signed = sign(record, SEED)
    return {
        "label": label,
        "record": to_wire(signed),
        "fieldsCommitment": parents_commitment(record.category_parents()),
        "preimageHex": signing_preimage(signed).hex(),
        "assertionId": assertion_id(signed),
    }


def ngram_cases() -> list[dict[str, Any]]:
    texts = ("", "a", "rate limit", "Don't REPEAT; don't repeat!", "Kelvin \u212a 7", "数据 naïve")
    return [{"text": text, "vector": encoder.ngram(text).tolist()} for text in texts]


def svaf_cases() -> list[dict[str, Any]]:
    known = {"focus": "rate limit on the login route", "mood": "calm"}
    other = {"focus": "limit the rate of logins", "intent": "draft a limit"}
    cases: list[tuple[str, dict[str, str], list[dict[str, str]], float, dict[str, float]]] = [
        ("nothing known", known, [], 0.0, {}),
        ("nothing known, old", known, [], 86_400.0, {}),
        ("known already", known, [known], 0.0, {}),
        ("near", other, [known], 0.0, {}),
        ("between two", {**known, "intent": "draft a plan"}, [known, other], 600.0, {"intent": 3}),
        ("foreign", {"focus": "violin lessons on Monday", "mood": "cold"}, [known], 0.0, {}),
    ]
    return [svaf_case(*case) for case in cases]


def svaf_case(
    label: str,
    incoming: dict[str, str],
    anchors: list[dict[str, str]],
    age_s: float,
    weights: dict[str, float],
) -> dict[str, Any]:
    drift = svaf.evaluate(_vectors(incoming), [_vectors(a) for a in anchors], weights, age_s)
    return {
        "label": label,
        "incoming": incoming,
        "anchors": anchors,
        "ageSeconds": age_s,
        "weights": weights,
        "decision": drift.decision,
        "total": drift.total,
        "verdicts": {field.field: field.verdict for field in drift.fields},
    }


def tether_case() -> dict[str, Any]:
    unsigned = tether.Attestation(HIGH, LOW, "ngram-h32", 0.0078125, "tethered", NODE, 1)
    signed = tether.attest(unsigned, SEED)
    return {"value": asdict(signed), "preimageHex": tether.attestation_preimage(signed).hex()}


def legacy_case() -> dict[str, Any]:
    parents = [HIGH, LOW]
    preimage = legacy.preimage_v1("cmb1-aa", "writer-01", 7, "lab", OTHER)
    return {
        "texts": TEXTS,
        "parents": parents,
        "receiver": "reviewer-01",
        "rootV1": legacy.root_v1(TEXTS),
        "remixV1": legacy.remix_v1(TEXTS, parents),
        "root1x": legacy.root_1x(TEXTS),
        "remix1x": legacy.remix_1x(TEXTS, parents, "reviewer-01"),
        "preimageV1Hex": preimage.hex(),
        "sigV1": b64u(sign_bytes(preimage, SEED)),
    }


def introduction_case() -> dict[str, Any]:
    identity = Identity(NODE, "writer-01", PUBLIC_KEY, SEED, 5)
    intro = introduce(identity, "coding-triad", implementation="xmesh/0.1.0", now_ms=9)
    return msgspec.to_builtins(intro)  # type: ignore[no-any-return]


def _vectors(texts: dict[str, str]) -> dict[str, encoder.Vector]:
    return {field: encoder.ngram(text) for field, text in texts.items()}


def main() -> None:
    vectors = {
        "note": "Fixed values of the formats. The key is a test key: never an identity.",
        "seedHex": SEED.hex(),
        "publicKeyHex": PUBLIC_KEY.hex(),
        "fingerprint": fingerprint(PUBLIC_KEY),
        "records": [record_case(label, record) for label, record in records().items()],
        "ngram": ngram_cases(),
        "svaf": svaf_cases(),
        "tether": tether_case(),
        "legacy": legacy_case(),
        "introduction": introduction_case(),
    }
    json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
