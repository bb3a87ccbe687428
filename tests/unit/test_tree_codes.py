import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import codes, walking
from atlasdb.tree.build import plan
from atlasdb.tree.image import Tree
from atlasdb.tree.slots import Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors

SPREAD = 0.6
"""sqrt(1 - rho^2), rho = sum|x_i| / (sqrt(P) |x|) = .8: the standard deviation of s . q about its mean, in parts of |q|
(Gao and Long 2024)."""


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([3, 64, 100, 384, 1024]), st.integers(0, 99))
def test_a_rotation_keeps_products(dimension: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(6, dimension)).astype(np.float32)
    turned = codes.rotated(vectors).astype(np.float64)
    np.testing.assert_allclose(turned @ turned.T, vectors.astype(np.float64) @ vectors.T, rtol=1e-4, atol=1e-3)
    assert codes.words(dimension) * 64 == turned.shape[1] >= dimension


def test_a_row_is_close_to_its_planes() -> None:
    row = quantise(np.random.default_rng(1).normal(size=(1, 384)))
    asked = codes.asked(row.data[0], row.scales[0])
    bits = np.unpackbits(asked.planes.view(np.uint8), axis=1, bitorder="little")
    levels = (bits * (1 << np.arange(4))[:, None]).sum(axis=0)
    turned = codes.rotated(row.floats())[0]
    np.testing.assert_allclose(asked.low + asked.step * levels, turned, atol=0.51 * asked.step)
    np.testing.assert_allclose(asked.total, (asked.low + asked.step * levels).sum(), rtol=1e-3, atol=0.05)


def test_codes_tell_products_with_the_error_that_is_reckoned_with() -> None:
    """Against float64; the walk's own estimate, of every node of a tree, is compared with the true logit."""
    rng = np.random.default_rng(2)
    keys = quantise(rng.normal(size=(3000, 384)) / np.sqrt(384))
    ids = np.arange(3000, dtype=np.uint64)
    given = Slots.single(ids, ids, ids, keys)
    planned = plan(given, threads=1)
    tree = Tree.of(planned, given)
    row = quantise(10 * rng.normal(size=(1, 384)) / np.sqrt(384))
    asked = codes.asked(row.data[0], row.scales[0])
    true = planned.nodes.floats().astype(np.float64) @ row.floats()[0]
    place = tree.nodes_shift, tree.nodes.at, tree.links
    logits, told = walking.judged(np.arange(3000), *place, row.data[0], row.scales[0], *asked[:4])
    np.testing.assert_allclose(logits, true, rtol=1e-5, atol=1e-5)
    errors = (told - true) / (codes.encoded(planned.nodes).scales * np.linalg.norm(row.floats()))
    assert abs(errors.mean()) < 0.05
    assert 0.8 * SPREAD < errors.std() < 1.1 * SPREAD


def test_a_vector_of_nothing_has_a_code() -> None:
    bits, scales = codes.encoded(Vectors(np.zeros((2, 16), np.int8), np.ones(2, np.float32)))
    assert bits.shape == (2, 1)
    assert scales.tolist() == [0, 0]
