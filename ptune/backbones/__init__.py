"""Backbones say how to inject: this class does what every family shares, one small module a family does the rest.

A checkpoint of a known family is a yaml; a new family is a module with one class, named as its `model_type`.
"""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ptune import bounded, dropout, hub, quantized
from ptune.adapters import ADAPTERS, inject
from ptune.backbones.packing import packed_masks, worth
from ptune.batch import Batch, Hidden
from ptune.bounded import plain
from ptune.errors import ConfigError, PtuneError
from ptune.injection import KV, Injection, Shape
from ptune.leaves import Chance
from ptune.runs.folder import sha256
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot
    from ptune.backbones.lower import Lower
    from ptune.sharding import Shards

LAYERS, SIZE = 1000, 10**8  # that a checkpoint has at most


@dataclass(frozen=True)
class Source:
    """Rows as a model's first layer is given them, a prompt of `in_front` tokens before each of them.

    embeds [B, P+N, E], None where the ids alone say it; mask, types [B, P+N]; order: for each column which of
    [prompt, text] stands there, None where they stand as they are.
    """

    embeds: Tensor | None
    mask: Tensor
    types: Tensor
    in_front: int = 0
    order: Tensor | None = None

    def text_states(self, states: Tensor) -> Tensor:
        """Of states [B, P+N, H] those of the rows' own tokens [B, N, H], in their order."""
        states = states if self.order is None else reorder(states, self.order.argsort(1))
        return states[:, self.in_front :]


class Backbone(nn.Module, ABC):
    """A pretrained model with its sizes stated before any weight is loaded.

    checkpoint, revision: on the Hub; path: a folder instead (pkg://package/folder for a shipped one).
    dropout, attention_dropout: null keeps the checkpoint's; they act while training, on a frozen backbone too.
    quantize: in how many bits a frozen backbone's linear layers are kept, see ptune.quantized; null: as they are.
    sha256: of model.safetensors, for a checkpoint that no revision pins.
    weights: safetensors, or bin for an old checkpoint that has nothing else (loaded weights-only, never unpickled).

    A family says in its class: lm_key, pooler_key: tensors that show there is a language-model head, a tanh pooler
    (null where the family has none); dropouts, attention_dropouts: what its config calls them; registered: whether its
    attention dispatches through transformers' registry; cached: whether it takes past_key_values, as PEFT needs;
    token_types: whether it has any; relative: whether it counts distances in columns, so that nothing may stand between
    a prompt and the text; causal: whether a token sees only those before it; encoder_tags: whether, beside a decoder,
    the encoder tags words; sentinels: whether a mask stands for any number of tokens, which the decoder writes;
    lm_class: of transformers, with the head.
    """

    model_type: ClassVar[str]
    lm_key: ClassVar[str]
    pooler_key: ClassVar[str | None] = "pooler.dense.weight"
    dropouts: ClassVar[tuple[str, ...]] = ("hidden_dropout_prob",)
    attention_dropouts: ClassVar[tuple[str, ...]] = ("attention_probs_dropout_prob",)
    registered: ClassVar[bool] = True
    cached: ClassVar[bool] = True
    token_types: ClassVar[bool] = True
    relative: ClassVar[bool] = False
    threads: ClassVar[bool] = True
    stacked: ClassVar[bool] = True
    causal: ClassVar[bool] = False
    encoder_tags: ClassVar[bool] = False
    sentinels: ClassVar[bool] = False
    lm_class: ClassVar[str] = "AutoModelForMaskedLM"

    def __init__(
        self,
        name: str,
        layers: int,
        heads: int,
        hidden: int,
        positions: int,
        vocab: int,
        lm_head: bool,
        pooler: bool,
        checkpoint: str | None = None,
        revision: str | None = None,
        path: str | None = None,
        sha256: str | None = None,
        embed: int | None = None,
        dropout: Chance | None = None,
        attention_dropout: Chance | None = None,
        weights: Literal["safetensors", "bin"] = "safetensors",
        kv_heads: int | None = None,
        head_dim: int | None = None,
        decoder_layers: int = 0,
        quantize: Literal["int8", "int4"] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.checkpoint, self.revision, self.path = name, checkpoint, revision, path
        self.sha256 = sha256
        head_sizes = kv_heads or heads, head_dim or hidden // heads
        self.shape = Shape(
            layers,
            *head_sizes,
            hidden,
            embed or hidden,
            positions,
            vocab,
            lm_head,
            pooler,
            causal=self.causal,
            decoder_layers=decoder_layers,
            encoder_tags=self.encoder_tags,
            sentinels=self.sentinels,
        )
        self.stated = {**vars(self.shape), "heads": heads, "kv_heads": kv_heads or heads}
        self.dropout, self.attention_dropout, self.weights = dropout, attention_dropout, weights
        self.quantize = quantize
        self.recomputes = self.adapted = False
        self.lower: Lower | None = None
        self.shards: Shards | None = None
        self._folder: Path | None = None

    # Files, before weights

    @property
    def folder(self) -> Path:
        """Where the checkpoint's files are. Raises UnavailableError when they are nowhere to be had."""
        if self._folder is None:
            self._folder = self._locate()
        return self._folder

    def _locate(self) -> Path:
        if self.path is not None:
            return checkpoint_folder(self.path)
        assert self.checkpoint is not None
        folder = hub.checkpoint(self.checkpoint, self.revision, self.weights).fetch()
        if folder is None:
            raise hub.no_checkpoint(self.name, self.checkpoint)
        return folder

    def tokens(self) -> Tokens:
        """The tokenizer, as templates use it. Raises PtuneError where its file takes a package that is not here."""
        from transformers import AutoTokenizer

        model_files = [*self.folder.glob("sp*.model"), *self.folder.glob("sentencepiece*.model")]
        if model_files and not (self.folder / "tokenizer.json").is_file() and find_spec("sentencepiece") is None:
            raise PtuneError(
                f"backbone {self.name}: its only tokenizer file is {model_files[0].name}, which needs sentencepiece: "
                "pip install 'ptune[sentencepiece]'"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(self.folder), use_fast=True, trust_remote_code=False)
        except Exception as error:  # of any kind, as tokenizers' own
            raise PtuneError(f"backbone {self.name}: its tokenizer cannot be read ({first_line(error)})") from error
        return Tokens(tokenizer, self.causal, decodes=self.shape.decoder_layers > 0)

    def verify(self) -> None:
        """Compare the yaml's sizes and checksum with the checkpoint. Raises ConfigError, one line a difference."""
        sizes = self.sizes_of(self.folder)
        expected = self.stated
        problems = [
            f"backbone.{key}: {expected[key]}, but {self.folder / 'config.json'} says {value}"
            for key, value in sizes.items()
            if expected[key] != value
        ]
        weights_file = self.folder / "model.safetensors"
        if self.sha256 is not None and (digest := sha256(weights_file)) != self.sha256:
            problems.append(f"backbone.sha256: {self.sha256}, but {weights_file} has {digest}")
        if problems:
            raise ConfigError(problems)

    def origin(self) -> dict[str, str | None]:
        """What tells the checkpoint's weights: its revision on the Hub, or the checksum of its weights."""
        pinned = self.revision or self.sha256
        return {
            "checkpoint": self.checkpoint,
            "revision": self.revision,
            "sha256": self.sha256 if pinned else checksum(self.folder, self.weights),
        }

    @classmethod
    def has_lm_head(cls, tensors: set[str]) -> bool:
        """Whether a checkpoint of tensors with these names has a language-model head."""
        return cls.lm_key in tensors

    @classmethod
    def sizes_of(cls, folder: Path) -> dict[str, int]:
        """`sizes` of a checkpoint folder. Raises PtuneError where its config.json lacks one."""
        try:
            sizes = cls.sizes(read_config(folder))
        except KeyError as error:
            raise PtuneError(
                f"{folder / 'config.json'}: has no {error}, which a {cls.model_type} checkpoint needs"
            ) from None
        except TypeError as error:
            raise PtuneError(f"{folder / 'config.json'}: a size is not a number ({error})") from None
        for key, value in sizes.items():
            if not isinstance(value, int) or not 0 <= value <= (LAYERS if "layers" in key else SIZE):
                raise PtuneError(f"{folder / 'config.json'}: {key} cannot be {value!r:.99}")
        return sizes

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """layers, heads, hidden, embed, positions and vocab of a config.json."""
        return {
            "layers": config["num_hidden_layers"],
            "heads": config["num_attention_heads"],
            "hidden": config["hidden_size"],
            "embed": config.get("embedding_size", config["hidden_size"]),
            "positions": config["max_position_embeddings"],
            "vocab": config["vocab_size"],
        }

    # Weights

    def load(self, lm: bool) -> None:
        """Load the weights as float32, with the language-model head when `lm`."""
        import transformers
        from transformers.utils import logging

        from ptune.backbones import attention

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self.verify()
        try:
            config = transformers.AutoConfig.from_pretrained(str(self.folder), trust_remote_code=False)
        except Exception as error:
            raise PtuneError(f"{self.folder / 'config.json'}: cannot be read ({first_line(error)})") from error
        self.configure(config, lm)
        model_class: Any = getattr(transformers, self.lm_class if lm else "AutoModel")
        options = {} if lm or self.pooler_key is None else {"add_pooling_layer": False}
        try:
            self.model, loading_info = model_class.from_pretrained(
                str(self.folder),
                config=config,
                dtype=torch.float32,
                attn_implementation=attention.NAME if self.registered else "eager",
                use_safetensors=self.weights == "safetensors",
                output_loading_info=True,
                trust_remote_code=False,
                **options,
            )
        except (
            ImportError,
            LookupError,
            RuntimeError,
            SafetensorError,
            TypeError,
            UnpicklingError,
            ValueError,
        ) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise PtuneError(f"backbone {self.name}: its checkpoint cannot be loaded ({first_line(error)})") from error
        except OSError as error:
            raise PtuneError(
                f"backbone {self.name}: {str(error).splitlines()[0]}; "
                "a checkpoint with only .bin weights needs backbone.weights=bin"
            ) from None
        if lm and loading_info["missing_keys"]:
            raise PtuneError(
                f"backbone {self.name}: its checkpoint has no LM-head weights ({min(loading_info['missing_keys'])}); "
                "choose method/head=linear or a backbone with them"
            )
        if self.quantize is not None:
            quantized.quantize(self.base, self.quantize, self.name)
        dropout.install(self.model)
        self.slots = self.install()

    def configure(self, config: Any, lm: bool) -> None:
        """Change the checkpoint's config, to be loaded with its LM head or without, as the settings ask."""
        for rate, names in ((self.dropout, self.dropouts), (self.attention_dropout, self.attention_dropouts)):
            if rate is not None:
                for name in names:
                    setattr(config, name, rate)

    @property
    def size(self) -> int:
        """How many parameters there are, however many of them a number holds."""
        return sum(map(quantized.numbers, self.parameters()))

    @property
    def multiplied(self) -> int:
        """Weights of the layers, with which every token is multiplied; those that layers share count for each."""
        return sum(map(matrices, self.layers()))

    @property
    def base(self) -> Any:
        """The model without its language-model head."""
        return self.model.base_model

    def pooler_weights(self) -> dict[str, Tensor] | None:
        """weight [H, H] and bias [H] of the checkpoint's pooler, or None."""
        pooler: dict[str, Tensor] = {}
        if self.pooler_key is None:
            return None
        suffixes = (self.pooler_key, self.pooler_key.replace("weight", "bias"))
        if self.weights == "bin":
            for file in sorted(self.folder.glob("pytorch_model*.bin")):
                for key, tensor in load_bin(file, "cpu").items():
                    if key.endswith(suffixes):
                        pooler[key.rsplit(".", 1)[1]] = tensor.float()
            return pooler or None
        for file in sorted(self.folder.glob("*.safetensors")):
            with safe_open(file, "pt") as tensors:
                for key in list(tensors.keys()):
                    if key.endswith(suffixes):
                        pooler[key.rsplit(".", 1)[1]] = tensors.get_tensor(key).float()
        return pooler or None

    def tune(self, what: str, adapter: Mapping[str, Any] | None = None) -> None:
        """Choose what learns: none, all, bias (every bias, as BitFit), or an adapter (see ptune.adapters) put in here.

        Raises PtuneError where there is no bias, or no place for the adapter.
        """
        if what in ADAPTERS:
            inject(self.model, what, adapter or {})
            dropout.install(self.model)
            self.adapted = True
            return
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(what == "all" or (what == "bias" and name.endswith("bias")))
        if what == "bias" and not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise PtuneError(f"method.tune: 'bias', but backbone {self.name} has no biases")

    def checkpointing(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        self.recomputes = True
        enable = getattr(self.model, "activation_checkpointing_enable", None)  # transformers 5.20 lacks it
        (enable or self.model.gradient_checkpointing_enable)({"use_reentrant": False})

    def shard(self, device: torch.device) -> None:
        """Divide the layers among the ranks, see ptune.sharding."""
        from ptune.sharding import Shards

        self.shards = Shards(self.all_layers(), device)

    def keep_lower(self, count: int) -> None:
        """Keep what the lowest `count` layers give, see ptune.backbones.lower."""
        import psutil

        from ptune.backbones.lower import SHARE, Lower

        device = self.base.get_input_embeddings().weight.device
        free_bytes = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
        self.lower = Lower(self.still(), self.layers()[:count], SHARE * free_bytes)

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off, where it is not off for good."""
        super().train(mode)
        if self.lower is not None:
            self.lower.quiet()
        return self

    # Injection

    def layers(self) -> list[Any]:
        """The layers, from the lowest."""
        return list(self.base.encoder.layer)

    def all_layers(self) -> list[Any]:
        """The layers of every stack."""
        return self.layers()

    def still(self) -> list[nn.Module]:
        """What drops before the first layer."""
        return [self.base.embeddings]

    def attentions(self) -> list[nn.Module]:
        """The attention module of each layer."""
        return [layer.attention.self for layer in self.layers()]

    def install(self) -> dict[str, Slot]:
        """Put a slot for prefixes into the attention modules of each site and return them."""
        from ptune.backbones.attention import install

        return {"encoder": install(self.attentions())}

    @property
    def slot(self) -> Slot:
        """The slot of the encoder, or of the only stack."""
        return self.slots["encoder"]

    def lm_states(self, states: Tensor) -> Tensor:
        """What the language-model head compares with words, [K, E] for `states` [K, H]."""
        return states

    def lm_words(self) -> tuple[Tensor, Tensor | None]:
        """The words of the language-model head: vectors [V, E], and biases [V] where it has them."""
        head = self.model.get_output_embeddings()
        return head.weight, head.bias

    def lm_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """Language-model logits [K, W] of the tokens `ids` [W], or EVERY one, for `states` [K, H]."""
        vectors, bias = self.lm_words()
        return nn.functional.linear(self.lm_states(states), vectors[ids], None if bias is None else bias[ids])

    def position_ids(self, mask: Tensor, offset: int | Tensor) -> Tensor:
        """Positions [B, N] of tokens under `mask` [B, N], counted from 0 and shifted by `offset`; padding anywhere."""
        return (mask.long().cumsum(1) - 1).clamp(min=0) + columns(offset)

    @contextmanager
    def injected(self, injection: Injection) -> Iterator[None]:
        """Inject prefixes into every forward pass inside; must span the backward pass as well.

        One may stand in another.
        """
        if unknown := injection.kv.keys() - self.slots.keys():
            raise RuntimeError(f"a prefix at {', '.join(sorted(unknown))} would be ignored: there is no such site")
        previous = {site: slot.filled for site, slot in self.slots.items()}
        for site, slot in self.slots.items():
            slot.fill(dict(injection.kv.get(site, {})))
        try:
            yield
        finally:
            for site, slot in self.slots.items():
                slot.fill(previous[site])

    def expect(self, injection: Injection) -> None:
        """Raise RuntimeError for a prefix that `injected` does not hold."""
        if injection.kv and not any(slot.kv for slot in self.slots.values()):
            raise RuntimeError("a prefix outside of `injected` would be ignored")

    def forward(self, batch: Batch, injection: Injection, **options: Any) -> Hidden:
        """States [B, N, H] of the rows of `batch`; options: of the model's own forward pass.

        Raises RuntimeError for a prefix that `injected` does not hold.
        """
        self.expect(injection)
        source = self.source(batch, injection)
        inputs = {"input_ids": batch.ids} if source.embeds is None else {"inputs_embeds": source.embeds}
        inputs["attention_mask"] = source.mask.long()
        inputs["position_ids"] = self.position_ids(source.mask, injection.offset)
        if self.token_types:
            inputs["token_type_ids"] = source.types
        if options:
            states = self.base(**inputs, **options).last_hidden_state
        elif self.lower is not None:
            with self.lower.rows(batch, injection.offset):
                states = self.base(**inputs).last_hidden_state
        elif self.registered and (packing := worth(source.mask, self.apart)) is not None:
            inputs = {name: packing.pack(tensor) for name, tensor in inputs.items()}
            with packed_masks(packing):
                states = packing.unpack(self.base(**inputs, packing=packing).last_hidden_state)
        else:
            states = self.base(**inputs).last_hidden_state
        return Hidden(source.text_states(states), self.lm_logits)

    @property
    def apart(self) -> bool:
        """Whether attention sets the rows of a packed pass apart, as where it drops."""
        from ptune.backbones import varlen

        drops = self.base.training and any(getattr(self.base.config, name, 0.0) for name in self.attention_dropouts)
        device = self.base.device
        autocast = torch.is_autocast_enabled(device.type)
        return drops or not varlen.fits(device, torch.get_autocast_dtype(device.type) if autocast else self.base.dtype)

    def source(self, batch: Batch, injection: Injection) -> Source:
        """What the first layer is given: the rows of `batch`, with prompts in front of them and in their slots."""
        embeds, mask, types, in_front = None, batch.mask, batch.types, 0
        if injection.slots is not None or injection.front is not None or injection.whole_embedding:
            embeds = self.base.get_input_embeddings()(batch.ids)
            if injection.whole_embedding:
                embeds = self.embedded(embeds, types, self.position_ids(mask, 0))
                types = torch.zeros_like(types)
            if injection.slots is not None:
                embeds = fill_slots(embeds, batch.slots, injection.slots)
            if injection.front is not None:
                in_front = injection.front.shape[1]
                embeds = torch.cat([injection.front.expand(len(batch), -1, -1).to(embeds.dtype), embeds], 1)
                mask = torch.cat([front_mask(injection, len(batch)), mask], 1)
                types = nn.functional.pad(types, (in_front, 0))
        if not self.relative or not in_front:
            return Source(embeds, mask, types, in_front)
        assert embeds is not None
        order = against_text(batch.mask, in_front)
        return Source(reorder(embeds, order), mask.gather(1, order), types.gather(1, order), in_front, order)

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """Word embeddings [B, N, E] with all that the model adds to them before its first layer."""
        embedded: Tensor = self.base.embeddings(inputs_embeds=embeds, token_type_ids=types, position_ids=positions)
        return embedded

    def key_values(self, ids: Sequence[int], site: str = "encoder") -> dict[int, tuple[Tensor, Tensor]]:
        """Keys and values [1, A, n, D] of every layer of a site for a text, without special tokens."""
        slot = self.slots[site]
        slot.seen = {}
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                device = self.base.get_input_embeddings().weight.device
                self.read(torch.tensor([list(ids)], device=device))
            return dict(slot.seen)
        finally:
            slot.seen = None
            self.model.train(was_training)

    def read(self, ids: Tensor) -> None:
        """Pass a text [1, n] through the whole model."""
        self.base(input_ids=ids, position_ids=self.position_ids(torch.ones_like(ids, dtype=torch.bool), 0))

    def canary(self, batch: Batch) -> None:
        """Prove that a random prefix changes the states and gets a gradient in every layer of every site; else raise
        PtuneError.

        Families that ignore a prefix do so silently, and a run would report a plain model's score as a prompt's.
        """
        self.model.eval()
        shape, device = self.shape, batch.ids.device
        sites = {
            site: {
                layer: KV(
                    *(torch.randn(1, shape.heads, 2, shape.head_dim, device=device, requires_grad=True) for _ in "kv")
                )
                for layer in range(layers)
            }
            for site, layers in shape.sites.items()
        }
        injection = Injection(kv=sites)
        with torch.no_grad():
            plain_states = self(batch, Injection()).states
        with self.injected(injection):
            states = self(batch, injection).states
            tensors = [tensor for kv in sites.values() for layer in kv.values() for tensor in layer[:2]]
            probe = (states * torch.randn_like(states)).sum()  # a LayerNorm would fix a plain sum, or one of squares
            grads = torch.autograd.grad(probe, tensors, allow_unused=True) if probe.requires_grad else [None]
        if torch.equal(plain_states, states) or any(grad is None or not grad.abs().sum() > 0 for grad in grads):
            raise PtuneError(
                f"backbone {self.name} ignores prefixes: a random one left its output or gradient "
                "unchanged; deep prompts cannot be trained on it"
            )


def matrices(module: nn.Module) -> int:
    """Weights of a module's matrices, with which each of its tokens is multiplied."""
    return sum(quantized.numbers(parameter) for parameter in module.parameters() if parameter.dim() > 1)


def columns(offset: int | Tensor) -> int | Tensor:
    """An offset for all rows, or one a row as [B, 1]."""
    return offset if isinstance(offset, int) or offset.dim() == 0 else offset[:, None]


def fill_slots(embeds: Tensor, places: Tensor, slots: Tensor) -> Tensor:
    """Put slots [B|1, S, E] at `places` [B, S'] (-1: none) of embeds [B, N, E]."""
    rows, indices = (places >= 0).nonzero(as_tuple=True)
    filled = embeds.clone()
    filled[rows, places[rows, indices]] = slots.expand(len(embeds), -1, -1)[rows, indices].to(embeds.dtype)
    return filled


def front_mask(injection: Injection, rows: int) -> Tensor:
    """[B, P]: which front embeddings are in use, right-aligned against the text."""
    assert injection.front is not None
    positions = torch.arange(injection.front.shape[1], device=injection.front.device).flip(0)
    lengths = len(positions) if injection.front_length is None else injection.front_length[:, None]
    return positions.expand(rows, -1) < lengths


def against_text(mask: Tensor, in_front: int) -> Tensor:
    """For each column, which of [prompt, text] to take: [B, P+N] for mask [B, N], padding on the left moved outside."""
    positions = torch.arange(in_front + mask.shape[1], device=mask.device).expand(len(mask), -1)
    padding = (mask.cumsum(1) == 0).sum(1, keepdim=True)
    prompt = torch.where(positions < padding + in_front, positions - padding, positions)
    return torch.where(positions < padding, positions + in_front, prompt)


def reorder(values: Tensor, order: Tensor) -> Tensor:
    """values [B, N, H] in the order [B, N]."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))


def checkpoint_folder(path: str) -> Path:
    """A folder from a path or from pkg://package/folder. Raises PtuneError where there is none."""
    if path.startswith("pkg://"):
        package, _, subfolder = path.removeprefix("pkg://").partition("/")
        top, *subpackages = package.split(".")
        spec = find_spec(top)  # which imports nothing
        locations = (spec and spec.submodule_search_locations) or ["."]
        folder = Path(locations[0], *subpackages, subfolder)
    else:
        folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise PtuneError(f"backbone.path: {folder} has no config.json; name the folder of a checkpoint")
    if (folder / "adapter_config.json").exists():  # transformers would load the model that it names
        raise PtuneError(
            f"backbone.path: {folder} has an adapter_config.json, which would load another model; remove it"
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's config.json. Raises PtuneError where it is not a JSON object."""
    config = bounded.read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise PtuneError(f"{folder / 'config.json'}: not a JSON object")
    return config


@cache
def checksum(folder: Path, weights: str) -> str:
    """The checksum of a checkpoint's file of weights; of several that of the list that sha256sum makes of them."""
    files = sorted(folder.glob("pytorch_model*.bin" if weights == "bin" else "*.safetensors"))
    checksums = {file.name: sha256(file) for file in files}
    if len(checksums) == 1:
        return next(iter(checksums.values()))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in checksums.items()).encode()).hexdigest()


def weight_names(folder: Path, weights: str = "safetensors") -> set[str]:
    """Names of the tensors of a checkpoint folder; of a safetensors one without reading any of them."""
    names: set[str] = set()
    if weights == "bin":
        for file in sorted(folder.glob("pytorch_model*.bin")):
            names.update(load_bin(file, "meta"))
        return names
    index_file = folder / "model.safetensors.index.json"
    if index_file.is_file():
        index = bounded.read_json(index_file)
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(weight_map, dict) or not all(map(plain, weight_map.values())):
            raise PtuneError(f"{index_file}: damaged (its weight_map does not name files beside it)")
        return set(weight_map)
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                names.update(tensors.keys())
        except SafetensorError as error:
            raise PtuneError(f"{file}: damaged or not a safetensors file ({error})") from None
    return names


def load_bin(file: Path, device: str) -> dict[str, Tensor]:
    """The tensors of a .bin file, whose other objects are refused. Raises PtuneError where there are such."""
    try:
        return dict(torch.load(file, map_location=device, weights_only=True))
    except (EOFError, LookupError, RuntimeError, TypeError, UnpicklingError, ValueError) as error:
        raise PtuneError(f"{file}: not the weights of a checkpoint, and not loaded ({first_line(error)})") from None


def first_line(error: Exception) -> str:
    """What an error says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
