"""The configs of fos_patterns, by the first part of their names."""

from fos_jax.datasets.fos_patterns.benchmark import Settings

SIZES = {
    "tight": Settings(),
    "jittered": Settings(growth=(0.0, 0.2)),
}
