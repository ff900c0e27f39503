"""The side of LARP that reads captions by their names, in torch and in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.optional import optional

from segue.errors import BundleError
from segue.models.larp.encoders.names import BUCKETS, NamesEncoder, rarity
from segue.nn.layers import end_to_end
from segue.text.captions import by_and_on, caption
from segue.text.ngrams import hashed

torch = optional("torch")

CAPTIONS = [
    "The track Hey Jude by The Beatles",
    None,
    "x",
    "...",
    "中文歌 🔥 by Españøl",
    "la " * 99,
]


def bucket(text: str) -> int:
    return hashed(text) % BUCKETS


def test_features_are_words_and_pairs_of_words():
    (item,) = NamesEncoder().items(["A bcd, (E)"])
    assert item.tolist() == [bucket(feature) for feature in ("a", "bcd", "e", "a bcd", "bcd e")]
    assert item.dtype == np.uint32


def test_artist_and_album_are_features_as_a_whole():
    (item,) = NamesEncoder().items(["The track Us by A. B on album C d"])
    assert item[-2:].tolist() == [bucket("by: a b"), bucket("on: c d, by: a b")]
    (item,) = NamesEncoder().items(["The track Us on album C d"])
    assert item[-1] == bucket("on: c d, by: ")


@pytest.mark.parametrize("template", ["paper", "code"])
@pytest.mark.parametrize(
    ("title", "artist", "album"),
    [
        ("Hey Jude", "The Beatles", "1"),
        ("Stand By Me", "Ben E. King", "Stand by Me"),
        ("Live on Album Street", "Us", None),
        (None, "Us", "Songs by Us"),
        ("Us", None, "Us"),
        ("Us", None, None),
    ],
)
def test_captions_tell_their_artist_and_album(title, artist, album, template):
    told = caption(title, artist, album, template)
    assert by_and_on(told) == (artist or "", album or "")


@pytest.mark.parametrize("caption", [None, "", "...", " \n"])
def test_a_caption_without_words_has_no_features(caption):
    (item,) = NamesEncoder().items([caption])
    assert item.shape == (0,)


def test_captions_lie_end_to_end():
    items = [np.array(some, np.uint32) for some in ([5], [], [6, 7])]
    buckets, starts = end_to_end(items)
    assert buckets.tolist() == [5, 6, 7]
    assert starts.tolist() == [0, 1, 1]


def test_rare_features_are_long_at_the_start():
    """Of four captions one has feature 1, two have 2, all have 3; a repeat counts once."""
    items = [np.array(some, np.uint32) for some in ([1, 2, 3], [2, 3], [3, 3], [3])]
    told = rarity(items)
    np.testing.assert_allclose(told[[1, 2, 3]], [1, 0.5, 0], atol=1e-6)


def test_a_vector_is_the_sum_of_its_features_and_numpy_gives_what_torch_gives():
    side = NamesEncoder()
    items = side.items(CAPTIONS)
    torch.manual_seed(0)
    net = side.network(items, 8, 0.5).eval()
    made = side.embed(net.arrays(), items, 8)
    with torch.no_grad():
        expected = net(*net.collate(items, None)).numpy()
    np.testing.assert_allclose(made, expected, rtol=2e-3, atol=2e-3)
    assert not made[1].any()
    assert not made[3].any()
    by_hand = net.arrays()["features"][items[2]].sum(axis=0, dtype=np.float32)
    np.testing.assert_allclose(made[2], by_hand, rtol=1e-5, atol=1e-5)


def test_dropout_leaves_out_features_in_training_alone():
    side = NamesEncoder()
    items = side.items(CAPTIONS[-1:] * 50)
    net = side.network(items, 8, 0.5)
    _, _, kept = net.collate(items, np.random.default_rng(0))
    assert 0.4 < kept.mean() < 0.6
    assert net.collate(items, None)[2].all()


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(BundleError, match="features"):
        NamesEncoder().restore({"features": np.zeros((5, 8), np.float16)}, "", 8)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.filterwarnings("error")
def test_arrays_that_are_not_finite_are_refused(value):
    broken = np.zeros((BUCKETS, 4), np.float16)
    broken[7, 1] = value
    with pytest.raises(BundleError, match="not finite"):
        NamesEncoder().restore({"features": broken}, "", 4)
    assert NamesEncoder().restore({"features": np.zeros((BUCKETS, 4), np.float16)}, "", 4)
