"""The small text side of LARP: words as features, and the transformer in torch and in numpy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.optional import optional

from segue.errors import BundleError
from segue.models.larp.encoders.words import WordsEncoder
from segue.models.larp.encoders.words_inference import WordsForm, laid
from segue.text.ngrams import hashed, words, words_in_order

torch = optional("torch")

SMALL = WordsForm(buckets=512, d=16, layers=2, heads=2, width=24)
CAPTIONS = [
    "The track Hey Jude by The Beatles on album 1",
    "x",
    None,
    "The track 中文歌 🔥 by Españøl",
    "...",
    "la " * 100,
    "The track Let It Be by The Beatles on album Let It Be",
]


def network(form: WordsForm = SMALL, outputs: int = 8, dropout: float = 0.0, seed: int = 0):
    """With random numbers everywhere, also where training begins with 0 or 1."""
    torch.manual_seed(seed)
    made = WordsEncoder(form).network([], outputs, dropout)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return made.eval()


def vectors(net, items) -> np.ndarray:
    with torch.no_grad():
        return net(*net.collate(items, None)).numpy()


# Items.


def bucket(feature: str, buckets: int = SMALL.buckets) -> int:
    return hashed(feature) % buckets


def test_words_stay_in_order_with_their_repeats():
    assert words_in_order("By the Way, by ANN") == ["by", "the", "way", "by", "ann"]
    assert words("By the Way, by ANN") == ["by", "the", "way", "ann"]


def test_a_word_is_itself_and_its_runs_of_3_to_6_characters():
    (item,) = WordsEncoder(SMALL).items(["Hello"])
    runs = [
        "<he", "hel", "ell", "llo", "lo>", "<hel", "hell", "ello", "llo>", "<hell", "hello",
        "ello>", "<hello", "hello>", "<hello>",
    ]  # fmt: skip
    assert sorted(item[:, 1]) == sorted(map(bucket, runs))
    assert not item[:, 0].any()
    assert item.dtype == np.uint16


def test_features_are_told_their_words_place():
    (item,) = WordsEncoder(SMALL).items(["A b a"])
    assert item.tolist() == [[0, bucket("<a>")], [1, bucket("<b>")], [2, bucket("<a>")]]


@pytest.mark.parametrize("caption", [None, "", "...", " \n"])
def test_a_caption_without_words_has_no_features(caption):
    (item,) = WordsEncoder(SMALL).items([caption])
    assert item.shape == (0, 2)


def test_the_first_32_words_are_read():
    side = WordsEncoder(SMALL)
    long, short = side.items([f"{'a ' * 31}b c", f"{'a ' * 31}b"])
    np.testing.assert_array_equal(long, short)


def test_the_first_32_characters_of_a_word_are_read():
    side = WordsEncoder(SMALL)
    long, short = side.items(["ab" * 5_000, "ab" * 16])
    np.testing.assert_array_equal(long, short)


def test_captions_lie_side_by_side():
    """One word, none, two words of which the second has three features."""
    items = [[[0, 5]], [], [[0, 5], [1, 7], [1, 8], [1, 9]]]
    made = laid([np.array(item, np.uint16).reshape(-1, 2) for item in items])
    assert made.buckets.tolist() == [5, 5, 7, 8, 9]
    assert made.starts.tolist() == [0, 1, 2]
    assert made.lengths.tolist() == [1, 0, 2]


# The transformer.


def test_without_layers_a_vector_is_known_by_hand():
    """x = norm((3, 1)) + (0, 1) = (1, 0), norm(x) = (1, -1), and 2 - 3 + 0.5 = -0.5."""
    form = WordsForm(buckets=512, d=2, layers=0, heads=1, width=1)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in form.shapes(1).items()}
    arrays["features"][bucket("<ab")] = [3, 1]
    arrays["features"][bucket("ab>")] = [6, 0]
    arrays["features"][bucket("<ab>")] = [0, 2]
    arrays["first"][0] = arrays["last"][0] = 1
    arrays["places"][0] = [0, 1]
    arrays["projection"][:, 0] = [2, 3]
    arrays["projection_bias"][0] = 0.5
    side = WordsEncoder(form)
    np.testing.assert_allclose(side.embed(arrays, side.items(["ab"]), 1), [[-0.5]], atol=1e-4)


def test_numpy_gives_what_torch_gives():
    side, net = WordsEncoder(SMALL), network()
    items = side.items(CAPTIONS)
    made = side.embed(net.arrays(), items, 8)
    assert made.shape == (len(CAPTIONS), 8)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, vectors(net, items), rtol=1e-5, atol=1e-5)
    assert np.linalg.norm(made[0] - made[6]) > 0.1


def test_numpy_gives_what_torch_gives_at_full_size():
    side = WordsEncoder()
    net = network(side.form, 256)
    items = side.items(CAPTIONS)
    made = side.embed(net.arrays(), items, 256)
    expected = vectors(net, items)
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_transformer_is_that_of_torch():
    """Its own layers, normalised before each part, with the same weights."""
    side, net = WordsEncoder(SMALL), network()
    (item,) = side.items(["The track Hey Jude by The Beatles"])
    a = {name: torch.from_numpy(array) for name, array in net.arrays().items()}
    rows = [a["features"][item[item[:, 0] == w, 1].astype(int)].mean(0) for w in range(7)]
    normed = torch.nn.functional.layer_norm
    x = normed(torch.stack(rows), (16,), *a["first"])[None] + a["places"][:7]
    for i in range(2):
        layer = torch.nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True, norm_first=True)
        weights = {
            "self_attn.in_proj_weight": a["qkv"][i].T,
            "self_attn.in_proj_bias": a["qkv_bias"][i],
            "self_attn.out_proj.weight": a["out"][i].T,
            "self_attn.out_proj.bias": a["out_bias"][i],
            "linear1.weight": a["up"][i].T,
            "linear1.bias": a["up_bias"][i],
            "linear2.weight": a["down"][i].T,
            "linear2.bias": a["down_bias"][i],
            "norm1.weight": a["norms"][i, 0, 0],
            "norm1.bias": a["norms"][i, 0, 1],
            "norm2.weight": a["norms"][i, 1, 0],
            "norm2.bias": a["norms"][i, 1, 1],
        }
        layer.load_state_dict(weights)
        with torch.no_grad():
            x = layer.eval()(x)
    x = normed(x, (16,), *a["last"]).mean(1)
    expected = x @ a["projection"] + a["projection_bias"]
    np.testing.assert_allclose(vectors(net, [item]), expected.numpy(), rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.lists(st.sampled_from(CAPTIONS), min_size=1, max_size=6))
def test_a_caption_has_the_same_vector_whatever_is_beside_it(captions):
    side, net = WordsEncoder(SMALL), network()
    arrays = net.arrays()
    alone = np.concatenate([side.embed(arrays, side.items([one]), 8) for one in captions])
    items = side.items(captions)
    np.testing.assert_allclose(side.embed(arrays, items, 8), alone, atol=1e-5)
    np.testing.assert_allclose(vectors(net, items), alone, atol=1e-5)


def test_captions_without_words_have_zeros_and_harm_nothing():
    side, net = WordsEncoder(SMALL), network()
    items = side.items([None, "..."])
    assert not side.embed(net.arrays(), items, 8).any()
    assert side.embed(net.arrays(), [], 8).shape == (0, 8)
    made = net(*net.collate(items, None))
    assert not made.detach().numpy().any()
    made.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_the_order_of_words_counts():
    side, net = WordsEncoder(SMALL), network()
    one, other = side.embed(net.arrays(), side.items(["ann loves bob", "bob loves ann"]), 8)
    assert np.abs(one - other).max() > 0.01


def test_every_parameter_is_learned():
    side, net = WordsEncoder(SMALL), network()
    net.train()
    net(*net.collate(side.items(CAPTIONS), np.random.default_rng(0))).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_dropout_is_of_training_alone():
    side, net = WordsEncoder(SMALL), network(dropout=0.5)
    batch = net.collate(side.items(CAPTIONS), None)
    torch.testing.assert_close(net(*batch), net(*batch))
    net.train()
    assert (net(*batch) - net(*batch)).abs().max() > 0.01


def test_arrays_are_a_copy():
    net = network()
    arrays = net.arrays()
    before = copy.deepcopy(arrays)
    with torch.no_grad():
        net.features.zero_()
    np.testing.assert_array_equal(arrays["features"], before["features"])


def test_words_nobody_has_seen_are_read_by_their_parts():
    """Trained to tell words on -metal from words on -jazz, it knows which new ones are which."""
    torch.manual_seed(0)
    side = WordsEncoder(SMALL)
    net = side.network([], 2, 0.0)
    stems = ["black", "death", "doom", "folk", "free", "post", "speed", "acid", "nu", "soul"]
    items = side.items([f"{stem}{kind}" for kind in ("metal", "jazz") for stem in stems])
    batch, right = net.collate(items, None), torch.repeat_interleave(torch.arange(2), len(stems))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(*batch), right).backward()
        optimizer.step()
    new = side.items(["glammetal", "thrashmetal", "gypsyjazz", "smoothjazz"])
    assert side.embed(net.arrays(), new, 2).argmax(axis=1).tolist() == [0, 0, 1, 1]


# Bundles.


def test_arrays_come_back_out_of_a_bundle():
    side, net = WordsEncoder(SMALL), network()
    kept = {f"text.{name}": array for name, array in net.arrays().items()}
    arrays = side.restore(kept, "text.", 8)
    assert arrays.keys() == SMALL.shapes(8).keys()
    items = side.items(CAPTIONS)
    np.testing.assert_array_equal(side.embed(arrays, items, 8), side.embed(net.arrays(), items, 8))


def test_arrays_of_another_shape_are_refused():
    side, net = WordsEncoder(SMALL), network()
    kept = {f"text.{name}": array for name, array in net.arrays().items()}
    with pytest.raises(BundleError, match=r"tensor text\.projection: is float32 16x8, needs"):
        side.restore(kept, "text.", 9)
    with pytest.raises(BundleError, match=r"tensor text\.qkv: is missing"):
        side.restore({name: kept[name] for name in kept if name != "text.qkv"}, "text.", 8)
