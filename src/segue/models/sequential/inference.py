"""The forward pass of the sequential models without torch: a query's vector from its history.

The equations are those of `sequential.network`, for one history at a time and in a fixed order, so
that a batch gives what its single queries give.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from segue.numeric.kernels import multiply
from segue.numeric.parallel import parallel

_EPSILON = np.float32(1e-5)
_ONE = np.float32(1)


@njit(cache=True)
def _linear(x, weight, bias):  # type: ignore[no-untyped-def]
    """x @ weight + bias. x (n, inputs)"""
    out = np.empty((len(x), weight.shape[1]), np.float32)
    out[:] = bias
    multiply(x, weight, out)
    return out


@njit(cache=True)
def _normed(x, scale, shift):  # type: ignore[no-untyped-def]
    """Layer normalisation of each row."""
    out = np.empty_like(x)
    for i in range(len(x)):
        mean = np.float32(x[i].mean())
        centred = x[i] - mean
        size = np.float32(1) / np.sqrt(np.float32((centred * centred).mean()) + _EPSILON)
        out[i] = centred * size * scale + shift
    return out


@njit(cache=True)
def _attended(q, k, v, heads, first, causal):  # type: ignore[no-untyped-def]
    """Attention of the places from `first` on to all (causal: to those up to each)."""
    width = q.shape[1] // heads
    scale = _ONE / np.float32(np.sqrt(width))
    across = k.T.copy()  # places side by side, so that one instruction has several
    out = np.zeros(q.shape, np.float32)
    weights = np.empty(len(k), np.float32)
    for i in range(len(q)):
        seen = first + i + 1 if causal else len(k)
        for head in range(heads):
            columns = range(head * width, (head + 1) * width)
            weights[:seen] = 0
            for f in columns:
                for j in range(seen):
                    weights[j] += q[i, f] * across[f, j]
            most = np.float32(-np.inf)
            for j in range(seen):
                weights[j] *= scale
                most = max(most, weights[j])
            total = np.float32(0)
            for j in range(seen):
                weights[j] = np.exp(weights[j] - most)
                total += weights[j]
            for j in range(seen):
                weight = weights[j] / total
                for f in columns:
                    out[i, f] += weight * v[j, f]
    return out


@njit(cache=True)
def _transformer(x, p, heads, causal):  # type: ignore[no-untyped-def]
    """State of the last place. x (n, d) with places added."""
    d, blocks = x.shape[1], len(p.qkv)
    for b in range(blocks):
        first = len(x) - 1 if b == blocks - 1 else 0  # of the last block, the last place is enough
        n = _normed(x, p.norms[b, 0, 0], p.norms[b, 0, 1])
        qkv = _linear(n, p.qkv[b], p.qkv_bias[b])  # without copies of a part of the weights
        q, k, v = qkv[first:, :d], qkv[:, d : 2 * d], qkv[:, 2 * d :]
        x = x[first:] + _linear(_attended(q, k, v, heads, first, causal), p.out[b], p.out_bias[b])
        n = _normed(x, p.norms[b, 1, 0], p.norms[b, 1, 1])
        inner = np.maximum(_linear(n, p.up[b], p.up_bias[b]), np.float32(0))
        x = x + _linear(inner, p.down[b], p.down_bias[b])
    return _normed(x, p.last[0], p.last[1])


@njit(cache=True)
def _gru(x, p):  # type: ignore[no-untyped-def]
    d = x.shape[1]
    for b in range(len(p.input)):
        inputs = _linear(x, p.input[b], p.input_bias[b])
        h = np.zeros((1, d), np.float32)
        out = np.empty_like(x)
        for i in range(len(x)):
            recurrent = _linear(h, p.hidden[b], p.hidden_bias[b])
            for f in range(d):
                r = _ONE / (_ONE + np.exp(-(inputs[i, f] + recurrent[0, f])))
                z = _ONE / (_ONE + np.exp(-(inputs[i, d + f] + recurrent[0, d + f])))
                n = np.tanh(inputs[i, 2 * d + f] + r * recurrent[0, 2 * d + f])
                out[i, f] = (_ONE - z) * n + z * h[0, f]
            h[0] = out[i]
        x = out
    return x[-1:]


@njit(cache=True)
def _caser(x, p):  # type: ignore[no-untyped-def]
    window, filters = p.horizontal_bias.shape
    d = x.shape[1]
    seen = np.zeros((window, d), np.float32)
    n = min(window, len(x))
    seen[window - n :] = x[len(x) - n :]
    state = np.zeros((1, len(p.joined)), np.float32)
    for h in range(window):
        for start in range(window - h):
            sums = p.horizontal_bias[h].copy()
            for w in range(h + 1):
                for f in range(d):
                    sums += seen[start + w, f] * p.horizontal[h, w, f]
            for k in range(filters):  # a rectified output is at least 0
                state[0, h * filters + k] = max(state[0, h * filters + k], sums[k])
    at = window * filters
    for f in range(d):
        for k in range(p.vertical.shape[1]):
            s = np.float32(0)
            for w in range(window):
                s += seen[w, f] * p.vertical[w, k]
            state[0, at] = s
            at += 1
    return np.maximum(_linear(state, p.joined, p.joined_bias), np.float32(0))


@njit(cache=True)
def _read(tracks, negative, vectors, head, extra):  # type: ignore[no-untyped-def]
    """Vectors of a history, and `extra` rows of zeros. (tracks + extra, d)"""
    x = np.zeros((len(tracks) + extra, vectors.shape[1]), np.float32)
    scale = np.float32(np.sqrt(vectors.shape[1]))
    for t in range(len(tracks)):
        x[t] = vectors[tracks[t]] * scale
        if negative[t]:
            x[t] = x[t] * head.turn + head.skip
    return x


@parallel(cache=True)
def encode_transformer(offsets, tracks, negative, vectors, head, p, heads, causal, out):  # type: ignore[no-untyped-def]
    """State after every history; of an empty one it is left as is. out: (histories, d)

    Without `causal`, a hidden track stands at the end.
    """
    extra = 0 if causal else 1
    for h in prange(len(offsets) - 1):
        span = slice(offsets[h], offsets[h + 1])
        if span.stop > span.start:
            x = _read(tracks[span], negative[span], vectors, head, extra)
            if extra:
                x[-1] = p.mask
                x += p.places[: len(x)][::-1]
            else:
                x += p.places[: len(x)]
            out[h] = _transformer(x, p, heads, causal)[0]


@parallel(cache=True)
def encode_gru(offsets, tracks, negative, vectors, head, p, out):  # type: ignore[no-untyped-def]
    """As `encode_transformer`."""
    for h in prange(len(offsets) - 1):
        span = slice(offsets[h], offsets[h + 1])
        if span.stop > span.start:
            out[h] = _gru(_read(tracks[span], negative[span], vectors, head, 0), p)[0]


@parallel(cache=True)
def encode_caser(offsets, tracks, negative, vectors, head, p, out):  # type: ignore[no-untyped-def]
    """As `encode_transformer`."""
    for h in prange(len(offsets) - 1):
        span = slice(offsets[h], offsets[h + 1])
        if span.stop > span.start:
            out[h] = _caser(_read(tracks[span], negative[span], vectors, head, 0), p)[0]


@parallel(cache=True)
def headed(states, head, out):  # type: ignore[no-untyped-def]
    """GELU(W h + b) of every state. out: (states, d)"""
    for h in prange(len(states)):
        out[h] = _linear(states[h : h + 1], head.weight, head.bias)[0]
        for f in range(out.shape[1]):
            out[h, f] *= np.float32(0.5 * (1 + math.erf(out[h, f] / math.sqrt(2))))
