"""Settings that every test shares."""

import os

# Before anything imports JAX: tests compare numbers computed on the CPU, whatever else the machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import pytest

# Compilation makes first examples slow, so there is no deadline. On CI the examples are the same on each run and none
# are stored; elsewhere each run tries new ones.
hypothesis.settings.register_profile("local", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def strict_ranks():
    """Makes JAX refuse implicit rank promotion ([B] + [B, P]) while a test runs; opt in with `usefixtures`."""
    import jax

    with jax.numpy_rank_promotion("raise"):
        yield
