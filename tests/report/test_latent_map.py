"""The map of the latent space."""

import numpy as np
import pytest

from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.report.latent_map import flatten_to_plane, map_panel, single_values

PAIRS = [("front", "left"), ("front", "right"), ("back", "left"), ("back", "right")]
TABLE = PatternTable(
    categories=("car", "cup"),
    attributes={"car": {"yaw": ("front", "back"), "light": ("left", "right")}},
    patterns=(
        *(Pattern(i, "car", {"yaw": yaw, "light": light}, "", i, {}) for i, (yaw, light) in enumerate(PAIRS)),
        Pattern(4, "cup", {}, "cup", 4, {}),
    ),
)


def test_single_values_by_hand():
    is_compatible = np.zeros((4, 5), bool)
    is_compatible[0, 1] = True  # front, right
    is_compatible[1, [0, 2]] = True  # either yaw, left
    is_compatible[2, [0, 1]] = True  # front, either light
    values = single_values(is_compatible, TABLE, "car")
    assert values["yaw"].tolist() == [0, -1, 0, -1]
    assert values["light"].tolist() == [1, 0, -1, -1]
    assert single_values(is_compatible, TABLE, "cup") == {}


def test_separate_clusters_stay_separate():
    rng = np.random.default_rng(0)
    centre = np.repeat(np.eye(3, 16), 20, 0)
    embedding = centre + 0.02 * rng.normal(size=centre.shape)
    plane = flatten_to_plane(embedding, perplexity=8, steps=300)
    assert plane.shape == (60, 2)
    assert plane.min() == 0
    assert plane.max() == 1
    group = np.repeat(np.arange(3), 20)
    distance = np.linalg.norm(plane[:, None] - plane, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(1)] == group).all()


@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_points_need_no_layout(n):
    plane = flatten_to_plane(np.ones((n, 8)))
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()


def test_panel_puts_foregrounds_first():
    rng = np.random.default_rng(1)
    is_compatible = np.zeros((3, 5), bool)
    is_compatible[:, 2] = True
    panel = map_panel(
        "car",
        foreground_embedding=rng.normal(size=(9, 8)),
        foreground_pattern=np.array([0, 1, 2, 3, 0, 1, 2, 3, 0]),
        query_embedding=rng.normal(size=(3, 8)),
        query_is_compatible=is_compatible,
        table=TABLE,
    )
    assert panel.is_query.tolist() == [False] * 9 + [True] * 3
    assert panel.values["yaw"].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1]
    assert panel.position.shape == (12, 2)
