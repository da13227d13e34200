"""JAX without its types, which differ from version to version and leave much unknown."""

from __future__ import annotations

from typing import Any

import jax as _jax
import jax.numpy as _numpy

jax: Any = _jax
jnp: Any = _numpy
lax: Any = _jax.lax
