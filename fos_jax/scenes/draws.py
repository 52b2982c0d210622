"""Random numbers of one scene, drawn at once and handed out one by one."""

import jax
import jax.numpy as jnp

NUM_DRAWS = 256


class Draws:
    """Hands out the entries of one uniform vector in order; `IndexError` for more than `NUM_DRAWS` (a defect).

    One `jax.random` call per scene compiles and runs much faster than hundreds of split keys; the order of the calls
    is part of the data set's version.
    """

    def __init__(self, key: jax.Array):
        self._values = jax.random.uniform(key, (NUM_DRAWS,))
        self._next = 0

    def unit(self) -> jax.Array:
        """float32 scalar in [0, 1)."""
        if self._next >= NUM_DRAWS:
            raise IndexError(f"a scene asks for more than {NUM_DRAWS} random numbers")
        self._next += 1
        return self._values[self._next - 1]

    def uniform(self, low: float | jax.Array, high: float | jax.Array) -> jax.Array:
        """float32 scalar in [low, high)."""
        return low + (high - low) * self.unit()

    def signed(self, size: float | jax.Array) -> jax.Array:
        """float32 scalar in [-size, size)."""
        return self.uniform(-size, size)

    def flag(self, probability: float = 0.5) -> jax.Array:
        """bool scalar, true with `probability`."""
        return self.unit() < probability

    def sign(self) -> jax.Array:
        """-1.0 or 1.0, each with probability one half."""
        return jnp.where(self.flag(), 1.0, -1.0)

    def pick(self, options) -> jax.Array:
        """One row of `options` [n, ...], all equally likely."""
        options = jnp.asarray(options, jnp.float32)
        return options[jnp.minimum((self.unit() * len(options)).astype(jnp.int32), len(options) - 1)]

    def colour(self, *, saturation=(0.15, 0.85), value=(0.2, 0.9)) -> jax.Array:
        """float32 [3]: linear RGB of a random hue."""
        hue, s, v = self.unit() * 6.0, self.uniform(*saturation), self.uniform(*value)
        ramps = jnp.stack([jnp.abs(hue - 3.0) - 1.0, 2.0 - jnp.abs(hue - 2.0), 2.0 - jnp.abs(hue - 4.0)])
        return v * (1.0 - s * (1.0 - jnp.clip(ramps, 0.0, 1.0)))

    def around(self, colour, spread: float = 0.2) -> jax.Array:
        """float32 [3]: `colour` with its brightness and tint varied by the fraction `spread`."""
        tint = jnp.stack([self.signed(spread * 0.4) for _ in range(3)])
        return jnp.clip(jnp.asarray(colour, jnp.float32) * (1.0 + self.signed(spread) + tint), 0.01, 1.0)
