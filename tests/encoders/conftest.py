"""A tiny pattern table and config shared by the encoder tests."""

import pytest

from fos_jax.pattern_table import Pattern, PatternTable


@pytest.fixture(scope="session")
def table() -> PatternTable:
    """Category car: one attribute of two values; category chair: one pattern without attributes."""
    return PatternTable(
        categories=("car", "chair"),
        attributes={"car": {"yaw": ("left", "right")}},
        patterns=(
            Pattern(0, "car", {"yaw": "left"}, "car from the left", 1, {}),
            Pattern(1, "car", {"yaw": "right"}, "car from the right", 0, {}),
            Pattern(2, "chair", {}, "chair", 2, {}),
        ),
    )


@pytest.fixture(scope="session")
def config() -> dict:
    return {
        "foreground": {"backbone": "small", "embedding_size": 16, "image_size": 32},
        "query": {"backbone": "small", "image_size": 32, "views": ("frame",), "flat_scale": 2.0},
        "steps": 3,
    }
