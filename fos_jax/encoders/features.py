"""What every backbone returns."""

from typing import NamedTuple

import jax


class Features(NamedTuple):
    """map: float [B, h, w, C]; pooled: float [B, C'], one vector for the whole image."""

    map: jax.Array
    pooled: jax.Array
