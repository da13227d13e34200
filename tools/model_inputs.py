"""Valid, seeded inputs for the models of `models.toml`, at several dynamic sizes each.

What an input may hold is said by `Draw`s, which make an array out of a random generator; a model's
inputs are drawn in the order in which they are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Draw: TypeAlias = Callable[[np.random.Generator], Array]


def normal(*shape: int, scale: float = 1.0) -> Draw:
    """Normal values of mean 0 and the given standard deviation."""
    return lambda rng: rng.standard_normal(shape) * scale


def uniform(*shape: int) -> Draw:
    """Values of [0, 1)."""
    return lambda rng: rng.random(shape)


def integers(low: int, high: int, *shape: int) -> Draw:
    """Integers of [low, high)."""
    return lambda rng: rng.integers(low, high, shape)


def groups(count: int, *shape: int) -> Draw:
    """Ascending group numbers 0 to count - 1, the first and the last both present."""

    def draw(rng: np.random.Generator) -> Array:
        values = rng.integers(0, count, shape)
        values.sort()
        values[0], values[-1] = 0, count - 1
        return values

    return draw


def filled(value: float, *shape: int) -> Draw:
    """The same value everywhere."""
    return lambda rng: np.full(shape, value)


def prefix_mask(length: int, *valid: int) -> Draw:
    """A row of `length` per argument: ones for that many first positions, then zeros."""
    return lambda rng: (np.arange(length) < np.array(valid)[:, None]).astype(np.int64)


IMAGENET = normal(1, 3, 224, 224)


def _silero(batch: int, samples: int, rate: int) -> dict[str, Draw]:
    return _silero_half(batch, samples) | {"sr": filled(rate)}


def _silero_half(batch: int, samples: int) -> dict[str, Draw]:
    return {"input": normal(batch, samples, scale=0.1), "state": normal(2, batch, 128)}


def _minilm(length: int, *valid: int) -> dict[str, Draw]:
    batch = len(valid)
    return {
        "input_ids": integers(5, 30000, batch, length),
        "attention_mask": prefix_mask(length, *valid),
        "token_type_ids": filled(0, batch, length),
    }


def _rxnmap(atoms: int) -> dict[str, Draw]:
    return {
        "atoms": integers(1, 121, 1, atoms),
        "neighbors": integers(0, 17, 1, atoms),
        "distances": integers(0, 13, 1, atoms, atoms),
        "roles": integers(0, 4, 1, atoms),
    }


def _minimol(nodes: int, edges: int, graphs: int) -> dict[str, Draw]:
    return {
        "feat": normal(nodes, 85),
        "edge_feat": normal(edges, 13),
        "edge_index": integers(0, nodes, 2, edges),
        "laplacian_eigvec": normal(nodes, 8),
        "laplacian_eigval": uniform(nodes, 8),
        "rw_return_probs": uniform(nodes, 16),
        "batch": groups(graphs, nodes),
        "graph_slots": filled(0, graphs),
    }


def _encoder(batch: int, length: int) -> dict[str, Draw]:
    return {"src": integers(3, 160, batch, length), "src_mask": filled(0, batch, length)}


def _decoder(batch: int, target: int, source: int) -> dict[str, Draw]:
    return {
        "prefix": integers(3, 160, batch, target),
        "memory": normal(batch, source, 256),
        "src_mask": filled(0, batch, source),
        "hidden": normal(batch, 2, 256),
    }


def _voicefilter(batch: int, time: int) -> dict[str, Draw]:
    return {
        "stacked_logmel": normal(batch, time, 512),
        "dvec": normal(batch, 256),
        "h0": normal(3, batch, 512),
        "c0": normal(3, batch, 512),
    }


INPUTS: dict[str, list[dict[str, Draw]]] = {
    "light_bvlc_alexnet": [{"data_0": IMAGENET}],
    "light_densenet121": [{"data_0": IMAGENET}],
    "light_inception_v1": [{"data_0": IMAGENET}],
    "light_inception_v2": [{"data_0": IMAGENET}],
    "light_resnet50": [{"gpu_0/data_0": IMAGENET}],
    "light_shufflenet": [{"gpu_0/data_0": IMAGENET}],
    "light_squeezenet": [{"data_0": IMAGENET}],
    "light_vgg19": [{"data_0": IMAGENET}],
    "light_zfnet512": [{"gpu_0/data_0": IMAGENET}],
    "ppocrv4_det": [{"x": normal(1, 3, 320, 320)}, {"x": normal(1, 3, 192, 256)}],
    "ppocrv4_rec": [{"x": normal(1, 3, 48, 320)}, {"x": normal(2, 3, 48, 160)}],
    "ppocr_cls": [{"x": normal(1, 3, 48, 192)}, {"x": normal(6, 3, 48, 192)}],
    "nudenet_yolov8n": [{"images": uniform(1, 3, 320, 320)}, {"images": uniform(1, 3, 256, 256)}],
    "silero_vad": [_silero(1, 576, 16000), _silero(2, 288, 8000)],
    "silero_vad_op18_ifless": [_silero(1, 576, 16000), _silero(2, 288, 8000)],
    "silero_vad_half": [_silero_half(1, 576), _silero_half(3, 576)],
    "magika": [{"bytes": integers(0, 257, 4, 2048)}, {"bytes": integers(0, 257, 1, 2048)}],
    "minilm_int8": [_minilm(48, 48, 30), _minilm(9, 9)],
    "rxnmap_transformer": [_rxnmap(40), _rxnmap(13)],
    "minimol_gnn": [_minimol(48, 104, 3), _minimol(11, 22, 1)],
    "romanizer_encoder": [_encoder(2, 9), _encoder(1, 5)],
    "romanizer_decoder": [_decoder(2, 6, 9), _decoder(1, 1, 4)],
    "oww_melspec": [{"input": normal(1, 16000)}, {"input": normal(2, 8000)}],
    "oww_embedding": [{"input_1": normal(8, 76, 32, 1)}, {"input_1": normal(1, 76, 32, 1)}],
    "oww_alexa": [{"onnx::Flatten_0": normal(1, 16, 96)}],
    "voicefilter_int8": [_voicefilter(1, 20), _voicefilter(2, 3)],
    "logreg_iris": [{"float_input": normal(3, 2)}],
}


def sizes(model: str) -> int:
    """How many input sets a model has; KeyError for an unknown model."""
    return len(INPUTS[model])


def feeds(model: str, k: int, types: Mapping[str, npt.DTypeLike]) -> dict[str, Array]:
    """Input set `k` of a model, as arrays of the dtypes that `types` gives by input name.

    Raises KeyError for an unknown model or an input without a dtype, IndexError for `k` not below
    `sizes(model)`.
    """
    rng = np.random.default_rng(1234 + k)
    return {name: draw(rng).astype(types[name]) for name, draw in INPUTS[model][k].items()}
