"""Speech-aware models of transformers: loaded, adapted, saved; each architecture adds what it does its own way."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from transformers import PreTrainedModel

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import resolve, snapshot_of
from speechbench.models import adapted, lora
from speechbench.models.base import special_tokens
from speechbench.models.embedding import HearingModel
from speechbench.models.encoder_cache import EncoderCache, encoder_cache
from speechbench.models.options import check_attention, device_of, dtype_of, learning_parts, with_options
from speechbench.models.reading import PROMPTING, load_network, load_tokenizer, system_prompt
from speechbench.models.weightless import FILES, is_weightless

M = TypeVar("M", bound="PretrainedSpeechModel")


class PretrainedSpeechModel(HearingModel):
    """A model of transformers that hears: an audio encoder, a projector and a causal language model.

    A subclass names the class of transformers and gives `parts`, `features`, `encode` and `project`; where its chat
    template or its head differ from the usual, `render` and `head` too. Its `__init__` takes `**options` for the
    options below and hands them on.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        train: Which parts learn, joined by "+"; the others are frozen and the output of a frozen encoder is kept.
        dtype: Name of the torch dtype that the weights are held in. With an adapter that learns, all that learns, and
            a part that was trained beside it, is held in float32: small steps are lost in bfloat16.
        device: "cpu", "cuda", or one of several GPUs as "cuda:1"; the GPU where there is one.
        attention: Of the language model: "sdpa", "eager", on a GPU "flex_attention", or "flash_attention_2", which
            takes no block mask, so that each prompt runs once per completion.
        lora_rank: Rank of a new LoRA adapter of the language model, whose own weights are then frozen; 0 for none.
        lora_alpha: What the adapter adds is multiplied by lora_alpha / lora_rank; twice the rank.
        lora_targets: Names of the linear layers that are adapted, joined by "+" as in "q_proj+v_proj", or "all-linear".
        adapter: What is done with the adapter that a checkpoint comes with: "keep" (frozen, always on, also below a new
            one), "train" (it is what learns) or "merge" (added to the weights). One that was trained here goes on to
            learn, a shipped one is kept.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached, or transformers is too old for it.
        SpeechbenchError: If the folder holds no such model, or not all of its weights.
        UsageError: If a value makes no sense, or there is no such device.
    """

    architecture: ClassVar[str]
    """Name of the class of transformers."""
    model_types: ClassVar[tuple[str, ...]]
    """What config.json may say that it is."""
    default_system_prompt: ClassVar[str | None] = None
    """For checkpoints that do not say how they are prompted."""

    def __init__(
        self,
        checkpoint: str,
        revision: str | None = None,
        train: str = "projector+language_model",
        dtype: str = "float32",
        device: str | None = None,
        attention: str = "sdpa",
        lora_rank: int = 0,
        lora_alpha: float | None = None,
        lora_targets: str = lora.ALL_LINEAR,
        adapter: str | None = None,
    ) -> None:
        super().__init__()
        learning = learning_parts(train)
        torch_dtype = dtype_of(dtype)
        check_attention(attention, torch_dtype, device_of(device))
        new = lora.asked_for(lora_rank, lora_alpha, lora_targets)
        folder = resolve(checkpoint, revision, FILES if is_weightless() else None)
        mode = adapted.mode_of(folder, adapter, is_new=new is not None, train=train)
        self.name = f"{self.model_types[0].replace('_', '-')}(checkpoint={checkpoint})"
        self.folder = folder
        self.is_placed = device is not None
        self.adapters: list[str] = []
        self._assemble(folder, mode, torch_dtype)
        if new is not None:
            self.adapters.append(f"stage{len(self.adapters)}")
            lora.add(self.network, self.decoder, self.adapters[-1], new)
        self.learner = self.adapters[-1] if new or mode == "train" else None
        if self.learner is None and len(self.adapters) > 1:
            raise UsageError(f"{folder} would be saved with two adapters, and a folder holds one: add adapter=merge")
        self.tokenizer = load_tokenizer(folder, self._chat_template(folder))
        self.system_prompt = system_prompt(folder, self.default_system_prompt)
        if self.learner is not None:
            for name in set(learning) - {"language_model"}:
                self.parts[name].float()
        self._no_dropout()
        self._freeze_all_but(learning)
        self.base: adapted.Base | None = None
        self._saved_parts: list[str] = []
        if self.learner is not None:
            self.base, self._saved_parts = adapted.record(checkpoint, folder, mode, learning)
        self._settings = {"train": train, "lora": new and dataclasses.asdict(new), "adapter": mode}
        self.fingerprint = adapted.fingerprint(folder, self.render(f"{AUDIO_PLACEHOLDER} ?"))
        self._encoded = encoder_cache(f"{self.fingerprint} {dtype} {device or ''}")
        suppressed = special_tokens(self.tokenizer, self.language_model.config.vocab_size, self.end_token)
        self.register_buffer("_suppressed", suppressed, persistent=False)
        if self.language_model.config._attn_implementation != attention:
            self.language_model.set_attn_implementation(attention)
        if device is not None and not is_weightless():
            self.to(device)

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Lets `**options` be seen for what they are, by `help` and by all that reads what a model can be told."""
        super().__init_subclass__(**keywords)
        options = list(inspect.signature(PretrainedSpeechModel.__init__).parameters.values())[3:]
        cls.__signature__ = with_options(cls, options)  # type: ignore[attr-defined]

    def _assemble(self, folder: Path, mode: str | None, dtype: torch.dtype) -> None:
        """Makes the network of a folder: a whole checkpoint, or its base with what was trained put in."""
        base = adapted.base_of(folder)
        if base is None:
            self.network = self._load(folder, dtype)
        else:
            self._assemble(adapted.found(base, folder), base.adapter, dtype)
            adapted.read_parts(folder, self.parts)
        if mode is not None:
            self.adapters.append(f"stage{len(self.adapters)}")
            lora.attach(self.network, folder, self.adapters[-1], is_learning=mode == "train")
        if mode == "merge":
            lora.switch_on(self.network, self.adapters)
            lora.merge(self.network)
            self.adapters.clear()

    def _freeze_all_but(self, learning: Sequence[str]) -> None:
        """With an adapter that learns, of the language model nothing else does."""
        if self.adapters:
            lora.switch_on(self.network, self.adapters)
        for name, part in self.parts.items():
            part.requires_grad_(name in learning and not (name == "language_model" and self.learner))
        for name in self.adapters:
            for weight in lora.weights(self.network, name).values():
                weight.requires_grad_(name == self.learner)

    def provenance(self) -> Mapping[str, Any]:
        """What decides its outputs and what learns.

        Checkpoint (name on the hub, or of the folder), revision (a commit of the hub's), dtype, device, attention, a
        hash of a rendered prompt, which parts learn, the settings of a new LoRA and what was done with the checkpoint's
        own adapter.
        """
        name, commit = snapshot_of(self.folder) or (self.folder.name, None)
        return {
            "checkpoint": name,
            "revision": commit,
            "prompt_sha256": hashlib.sha256(self.render(f"{AUDIO_PLACEHOLDER} ?").encode()).hexdigest(),
            "dtype": str(self.language_model.dtype).removeprefix("torch."),
            "device": str(self.device),
            "attention": self.language_model.config._attn_implementation,
            **self._settings,
        }

    def save(self, folder: Path) -> None:
        """Writes a folder from which the model is made again.

        With an adapter that learns: adapter, parts that learn and which base they belong to, and no frozen weights.
        Otherwise config and weights as transformers does. In both tokenizer, and how the model is prompted.
        """
        prompting: dict[str, Any] = {"system_prompt": self.system_prompt}
        if self.base is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.network.config.save_pretrained(folder)
            adapted.write_parts(folder, {name: self.parts[name] for name in self._saved_parts})
            lora.write(self.network, self.adapters[-1], folder, self.base.checkpoint)
            prompting["base"] = dataclasses.asdict(self.base)
        elif self.adapters:
            self.network.save_pretrained(folder, state_dict=lora.without_adapters(self.network.state_dict()))
            lora.write(self.network, self.adapters[-1], folder)
        else:
            self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / PROMPTING).write_text(json.dumps(prompting) + "\n")

    def load_weights(self, folder: Path) -> None:
        """Takes over the weights of a saved folder, strictly.

        Raises:
            SpeechbenchError: If they are of another base, or of an adapter that this model does not have.
        """
        before = {name: tensor.clone() for name, tensor in self.parts["encoder"].state_dict().items()}
        if adapted.base_of(folder) != self.base:
            raise SpeechbenchError(
                f"{folder} holds {adapted.described(adapted.base_of(folder))}, and this model is trained as "
                f"{adapted.described(self.base)}: load the folder as a model, or take the options it was trained with"
            )
        if self.base is not None:
            adapted.read_parts(folder, self.parts)
        else:
            saved, ours = self._load(folder, self.language_model.dtype).state_dict(), self.network.state_dict()
            adapters = {name: tensor for name, tensor in ours.items() if ".lora_" in name}
            renamed = {name: saved[lora.plain_name(name)] for name in ours.keys() - adapters.keys()}
            self.network.load_state_dict({**renamed, **adapters})
        if self.adapters:
            lora.read(self.network, self.adapters[-1], folder)
        if not all(torch.equal(before[name], tensor) for name, tensor in self.parts["encoder"].state_dict().items()):
            self._encoded = EncoderCache()  # what the other encoder heard is no longer what this one hears

    def frozen_copy(self: M) -> M:
        """A copy without gradients; it shares what is frozen here."""
        shared: dict[int, Any] = {id(self.tokenizer): self.tokenizer}
        shared.update({id(p): p for p in self.parameters() if not p.requires_grad})
        twin = copy.deepcopy(self, shared).requires_grad_(False)
        if self.encoder_is_frozen:
            twin._encoded = self._encoded
        return twin

    def _chat_template(self, folder: Path) -> str | None:
        """The template by which the model is asked, where it is another than the tokenizer's own."""
        return None

    def _load(self, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
        return load_network(folder, self.architecture, self.model_types, dtype)
