"""The largest DBSCAN cluster against scikit-learn's DBSCAN."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from data.clusters import largest_cluster


def reference(points, eps, min_points):
    """Members of scikit-learn's largest label; of equally large ones the first."""
    label = DBSCAN(eps=eps, min_samples=min_points, algorithm="kd_tree").fit(points).labels_
    return label == np.bincount(label[label >= 0]).argmax() if (label >= 0).any() else np.zeros(len(points), bool)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 300),
    spread=st.integers(2, 24),
    lattice=st.booleans(),
    min_points=st.integers(1, 10),
    eps=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_equals_scikit_learn_on_small_clouds(seed, count, spread, lattice, min_points, eps):
    """On the lattice many distances are exactly eps, and many clusters are equally large."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, spread, (count, 3)) * 0.25 if lattice else rng.random((count, 3)) * spread / 4
    np.testing.assert_array_equal(largest_cluster(points, eps, min_points), reference(points, eps, min_points))


def test_dense_points_need_little_memory():
    """100,000 points that are all neighbours of each other: lists of neighbours would hold 10 billion numbers."""
    points = np.random.default_rng(0).random((100_000, 3)) * 0.5
    assert largest_cluster(points, 1.0, 30).all()
