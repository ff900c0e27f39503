"""Published weights on this machine: finds, checks and reads them; never downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import safetensors

from segue.errors import ConfigError
from segue.numeric.arrays import Float32

_CONFIG, _WEIGHTS, _PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Names in the first checkpoints of BERT, which came from TensorFlow."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with `config.json` and `model.safetensors`, as the library transformers writes."""

    folder: Path

    @classmethod
    def find(cls, name: str) -> Self:
        """Find a folder by its path, or by a name in the cache of Hugging Face.

        Raises:
            ConfigError: it is not on this machine.
        """
        folder = Path(name).expanduser()
        if folder.is_dir():
            return cls(folder)
        from huggingface_hub import try_to_load_from_cache

        try:
            config_path = try_to_load_from_cache(name, _CONFIG)
        except ValueError:  # an invalid name
            config_path = None
        if not isinstance(config_path, str):
            raise ConfigError(
                f"no folder and no checkpoint in the cache of Hugging Face is called {name!r}",
                do=f"where there is a network: hf download {name}",
            )
        return cls(Path(config_path).parent)

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            ConfigError: it is not there.
        """
        path = self.folder / name
        if not path.is_file():
            if name == _WEIGHTS and (self.folder / _PICKLED).is_file():
                raise ConfigError(
                    f"has weights in {_PICKLED} alone, which may hold programs and is not read",
                    where=self.folder,
                    do=f"take one with {_WEIGHTS}",
                )
            raise ConfigError(
                f"the checkpoint has no {name}", where=self.folder, do="download all of it"
            )
        return path

    def check(self, kinds: Sequence[str], form: Mapping[str, Any]) -> None:
        """Compare its config with the settings, and check that it has weights.

        Args:
            kinds: accepted model types; for a model inside a pair, the pair's type first.
            form: sizes by the library's names; they are the defaults of the config.

        Raises:
            ConfigError: another kind of model, another size, or a missing file.
        """
        path = self.file(_CONFIG)
        try:
            facts = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"cannot be read ({error})", where=path) from error
        kind = facts.get("model_type")
        if kind not in kinds:
            raise ConfigError(
                f"is of a {kind} model, not of {' or '.join(kinds)}",
                where=path,
                do="take another checkpoint",
            )
        inner = facts.get("audio_config")
        facts = inner if isinstance(inner, dict) else facts
        for name, expected in form.items():
            value = facts.get(name, expected)
            if value != expected:
                raise ConfigError(
                    f"{name} is {value}, the settings make it {expected}",
                    where=path,
                    do="change the settings, or take another checkpoint",
                )
        self.file(_WEIGHTS)

    def weights(self, prefix: str) -> dict[str, Float32]:
        """Its weights; names lose the prefix.

        Raises:
            ConfigError: they cannot be read.
        """
        path = self.file(_WEIGHTS)
        weights = {}
        try:
            with safetensors.safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118
                    here = name.removeprefix(prefix)
                    for old, new in _OLD_NAMES.items():
                        here = here.replace(old, new)
                    weights[here] = np.asarray(file.get_tensor(name).float().numpy(), np.float32)
        except (safetensors.SafetensorError, OSError) as error:
            raise ConfigError(
                f"cannot be read ({error})", where=path, do="download it again"
            ) from error
        for name, weight in weights.items():
            if not np.isfinite(weight).all():
                raise ConfigError(
                    f"{name} has numbers that are not finite", where=path, do="download it again"
                )
        return weights
