"""Retired schemes: recognised, told apart, and never taken for today's."""

import pytest
from helpers.records import KEY_A, KEY_B, OTHER_PUBLIC_KEY, PUBLIC_KEY, SEED, TEXTS

from xmesh_mesh import legacy
from xmesh_mesh.canonical import b64u, content_address, is_key
from xmesh_mesh.errors import SignatureError
from xmesh_mesh.signing import sign_bytes

PARENTS = [KEY_B, KEY_A]


def test_every_scheme_gives_another_address() -> None:
    addresses = {
        content_address(TEXTS),
        legacy.root_v1(TEXTS),
        legacy.remix_v1(TEXTS, PARENTS),
        legacy.root_1x(TEXTS),
        legacy.remix_1x(TEXTS, PARENTS, "writer-01"),
    }
    assert len({address.partition("-")[2] for address in addresses}) == 4  # both roots are one
    assert len(addresses) == 5


def test_the_1x_addresses_are_no_keys_of_today() -> None:
    assert not is_key(legacy.root_1x(TEXTS))
    assert not is_key(legacy.remix_1x(TEXTS, PARENTS, "writer-01"))


def test_parents_are_a_set_and_the_receiver_counts() -> None:
    assert legacy.remix_v1(TEXTS, PARENTS) == legacy.remix_v1(TEXTS, PARENTS[::-1])
    assert legacy.remix_v1(TEXTS, PARENTS) != legacy.remix_v1(TEXTS, PARENTS[:1])
    one = legacy.remix_1x(TEXTS, PARENTS, "writer-01")
    assert one == legacy.remix_1x(TEXTS, PARENTS[::-1], "writer-01")
    assert one != legacy.remix_1x(TEXTS, PARENTS, "writer-02")


def test_the_old_signature_verifies_with_its_authors_key_only() -> None:
    preimage = legacy.preimage_v1("cmb1-aa", "writer-01", 7, "lab")
    sig = b64u(sign_bytes(preimage, SEED))
    legacy.verify_v1(preimage, sig, PUBLIC_KEY)
    for message, key in ((preimage, OTHER_PUBLIC_KEY), (preimage + b"x", PUBLIC_KEY)):
        with pytest.raises(SignatureError) as error:
            legacy.verify_v1(message, sig, key)
        assert error.value.code == "bad-signature"


def test_the_old_preimage_binds_each_part() -> None:
    parts = ("cmb1-aa", "writer-01", 7, "lab", "n-1")
    whole = legacy.preimage_v1(*parts)
    assert whole == b"mmp-sig-v1\n7:cmb1-aa9:writer-011:73:lab3:n-1"
    assert (
        legacy.preimage_v1("k", "e\u0301", 7, "e\u0301")
        == b"mmp-sig-v1\n1:k2:\xc3\xa91:72:\xc3\xa90:"
    )
