"""The encryption of deployed nodes: opens what it sealed, and nothing that was touched."""

import json
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.structs import replace

from xmesh_mesh.record import Record
from xmesh_mesh.wire import e2e, records
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import CmbBody, Sealing


def capabilities() -> set[str]:
    """Return what libsodium needs and this machine has, as one word; asked of Linux, not of us."""
    cpu = Path("/proc/cpuinfo")
    words = set(cpu.read_text().split()) if cpu.exists() else set()
    return {"AES"} if {"aes", "pclmulqdq"} <= words and "avx" in words else set()


SECRET = bytes(range(32))
NONCE = bytes(range(12))

pytestmark = pytest.mark.skipif(
    "AES" not in capabilities(), reason="this machine has no AES in hardware"
)


def test_a_machine_with_aes_offers_encryption() -> None:
    assert e2e.AVAILABLE
    assert (e2e.KEY_BYTES, e2e.NONCE_BYTES) == (32, 12)


def test_a_library_without_the_cipher_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(e2e.bindings, "crypto_aead_aes256gcm_encrypt")
    assert e2e._probe() is False


def code_of(body: CmbBody, secret: bytes | None = SECRET) -> str:
    with pytest.raises(WireError) as refused:
        e2e.unseal(body, secret)
    return refused.value.code


def test_stock_values(shared_vectors: Path) -> None:
    vector = json.loads((shared_vectors / "deployed/stock-wire.json").read_text())["e2e"]
    client = bytes.fromhex(vector["clientPrivateHex"])
    server = bytes.fromhex(vector["serverPrivateHex"])
    assert e2e.to_spki(e2e.public_key(client)) == vector["clientE2ePublicKey"]
    assert e2e.to_spki(e2e.public_key(server)) == vector["serverE2ePublicKey"]
    secret = e2e.shared_secret(client, e2e.from_spki(vector["serverE2ePublicKey"]))
    assert secret.hex() == vector["sharedSecretHex"]
    plain = vector["plaintextUtf8"].encode()
    nonce = e2e._unb64(vector["nonceB64"])
    assert nonce is not None
    body = CmbBody(categories=Raw(plain), metadata=Raw(b"{}"))
    sealed = e2e.seal(body, secret, nonce)
    assert json.loads(bytes(sealed.categories)) == vector["ciphertextB64"]
    assert bytes(e2e.unseal(sealed, secret).categories) == plain


def test_a_record_is_opened_as_it_was_and_hidden_meanwhile(record: Record) -> None:
    sealed = e2e.seal(records.body_of(record), SECRET, NONCE)
    assert b"limit" not in bytes(sealed.categories)
    assert records.record_of(e2e.unseal(sealed, SECRET)) == record


def test_clear_passes_as_it_came(record: Record) -> None:
    body = records.body_of(record)
    assert e2e.unseal(body, None) is body


def test_without_the_secret_it_is_refused_by_name(record: Record) -> None:
    sealed = e2e.seal(records.body_of(record), SECRET, NONCE)
    assert code_of(sealed, None) == "no-secret"
    assert code_of(sealed, bytes(32)) == "cannot-open"


def test_every_flipped_byte_is_refused(record: Record) -> None:
    sealed = e2e.seal(records.body_of(record), SECRET, NONCE)
    text = json.loads(bytes(sealed.categories))
    for at in range(0, len(text), 7):
        other = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        broken = replace(sealed, categories=Raw(json.dumps(other).encode()))
        assert code_of(broken) in {"cannot-open", "malformed"}
    assert code_of(replace(sealed, sealing=Sealing("A" * 16))) == "cannot-open"


@pytest.mark.parametrize("nonce", ["", "!", "QQ==", "A" * 12, "A" * 20])
def test_a_nonce_has_twelve_bytes(record: Record, nonce: str) -> None:
    sealed = e2e.seal(records.body_of(record), SECRET, NONCE)
    assert code_of(replace(sealed, sealing=Sealing(nonce))) == "malformed"


@pytest.mark.parametrize("plain", [b"", b"{", b'{},"metadata":{}', b"{} {}"])
def test_what_was_sealed_is_one_json_value(plain: bytes) -> None:
    body = CmbBody(categories=Raw(plain), metadata=Raw(b"{}"))
    assert code_of(e2e.seal(body, SECRET, NONCE)) == "malformed"


def test_a_key_of_low_order_is_refused() -> None:
    with pytest.raises(WireError) as refused:
        e2e.shared_secret(SECRET, bytes(32))
    assert refused.value.code == "weak-key"


@pytest.mark.parametrize("text", ["", "!", e2e.to_spki(bytes(31)), e2e.to_spki(bytes(33)),
                                  "A" + e2e.to_spki(bytes(32))[1:]])  # fmt: skip
def test_what_is_no_x25519_key_is_refused(text: str) -> None:
    with pytest.raises(WireError) as refused:
        e2e.from_spki(text)
    assert refused.value.code == "malformed"


def test_base64_has_no_strangers_in_it() -> None:
    text = e2e.to_spki(bytes(32))
    with pytest.raises(WireError):
        e2e.from_spki(text[:8] + "\n" + text[8:])


def test_a_machine_that_cannot_says_so(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = e2e.seal(records.body_of(record), SECRET, NONCE)
    monkeypatch.setattr(e2e, "AVAILABLE", False)
    assert code_of(sealed) == "no-encryption"
    with pytest.raises(WireError) as refused:
        e2e.seal(records.body_of(record), SECRET, NONCE)
    assert refused.value.code == "no-encryption"
