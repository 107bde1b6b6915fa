"""A backbone with, for each run, a template, a prompt and a head: the only file that holds all four."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ptune.backbones import Backbone
from ptune.batch import Batch, Hidden, RowOutput, concatenate
from ptune.dropout import seeded_generator
from ptune.errors import PtuneError
from ptune.heads import Head
from ptune.injection import Injection, join
from ptune.prompts import Prompt
from ptune.templates import Template


class Member(nn.Module):
    """The parts that belong to one run."""

    def __init__(self, template: Template, prompt: Prompt, head: Head) -> None:
        super().__init__()
        self.template = template
        self.prompt = prompt
        self.head = head

    def trained(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


class Model(nn.Module):
    """`members` share the backbone's pass; each row of a batch carries its member's prompt and is read by its head."""

    def __init__(self, backbone: Backbone, members: Sequence[Member], precision: str = "float32") -> None:
        super().__init__()
        self.backbone = backbone
        self.members = nn.ModuleList(members)
        self.precision = precision
        if precision == "bfloat16" and (backbone.adapted or not any(p.requires_grad for p in backbone.parameters())):
            for parameter in backbone.parameters():  # not the buffers: rotary frequencies need their digits
                if not parameter.requires_grad and parameter.is_floating_point():
                    parameter.data = parameter.data.to(torch.bfloat16)

    @property
    def device(self) -> torch.device:
        """The backbone's device."""
        return next(self.backbone.parameters()).device

    @property
    def draws_by_thread(self) -> bool:
        """Whether each thread draws dropout for itself: where passes may run in parallel, and where ranks divide them
        instead.
        """
        is_stateful = self.backbone.recomputes or self.backbone.quantize  # its layers remember things while they work
        return self.device.type == "cpu" and self.backbone.threads and not is_stateful

    @property
    def threads(self) -> bool:
        """Whether passes may run in parallel threads: on a CPU, which one small pass does not fill."""
        return self.draws_by_thread and self.backbone.shards is None

    @property
    def runs_in_threads(self) -> bool:
        """Whether micro-batches train in parallel threads; not if each would hold gradients of the whole backbone."""
        return self.threads and not all(p.requires_grad for p in self.backbone.parameters())

    @contextmanager
    def drawing(self, seed: int) -> Iterator[None]:
        """Inside, dropout is drawn from this seed: per thread if passes run in parallel, else by torch's generator."""
        if self.draws_by_thread:
            with seeded_generator(seed):
                yield
        else:  # a GPU has no others, and with them a pass that is computed again draws the same
            torch.manual_seed(seed)
            yield

    def trained(self, member: int = 0, beside: Mapping[str, int] | None = None) -> dict[str, nn.Parameter]:
        """All trainable parameters of a member's run by name: its own, and the backbone's if that is tuned.

        beside: further members that learn in the same run, by name; shared parameters appear once, the others as
        head.NAME.PARAMETER.
        """
        shared = {f"backbone.{name}": p for name, p in self.backbone.model.named_parameters() if p.requires_grad}
        parameters = {**self.member(member).trained(), **shared}
        for source, index in (beside or {}).items():
            known_ids = {id(p) for p in parameters.values()}
            for name, p in self.member(index).trained().items():
                if id(p) not in known_ids:
                    group, _, rest = name.partition(".")
                    parameters[f"{group}.{source}.{rest}"] = p
        return parameters

    def member(self, index: int) -> Member:
        """The member at this index."""
        member = self.members[index]
        assert isinstance(member, Member)
        return member

    @contextmanager
    def hidden(self, work: Sequence[tuple[int, Batch]]) -> Iterator[list[tuple[Head, Hidden, Batch]]]:
        """One forward pass for all (member, batch) pairs; prompts stay injected until the context ends."""
        parts = [(self.member(index), batch.to(self.device)) for index, batch in work]
        injections: list[Injection] = [member.prompt(batch.example) for member, batch in parts]
        injection = join(injections, [len(batch) for _, batch in parts])
        joint_batch = concatenate([batch for _, batch in parts], parts[0][0].template.tokens.pad_id)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with self.backbone.injected(injection), autocast:
            hidden = replace(self.backbone(joint_batch, injection), again=partial(self._again, injection))
            pieces = hidden.split([len(batch) for _, batch in parts], [batch.output.shape[1] for _, batch in parts])
            yield [(member.head, piece, batch) for (member, batch), piece in zip(parts, pieces, strict=True)]

    def _again(self, injection: Injection, batch: Batch, rows: Tensor) -> Hidden:
        """A further pass of some rows inside a pass with this injection, see Hidden.

        Raises PtuneError where gradient checkpointing would recompute it under the outer injection.
        """
        row_injection = injection.of(rows)
        if row_injection is injection:
            return self.backbone(batch, row_injection)
        if self.backbone.recomputes and torch.is_grad_enabled():
            raise PtuneError(
                "gradient_checkpointing: not supported for runs side by side, whose rows have different "
                "prompts; leave it out"
            )
        with self.backbone.injected(row_injection):
            return self.backbone(batch, row_injection)

    @contextmanager
    def losses(self, work: Sequence[tuple[int, Batch]]) -> Iterator[list[tuple[Tensor, int]]]:
        """(summed loss, number of labels) of each (member, batch); run the backward pass inside."""
        with self.hidden(work) as parts:
            yield [head.loss(hidden, batch) for head, hidden, batch in parts]

    def outputs(self, member: int, batch: Batch) -> list[RowOutput]:
        """The outputs of a member's head for a batch."""
        return self.answers([(member, batch)])[0]

    @contextmanager
    def without_gradients(self) -> Iterator[None]:
        """Inside, passes keep nothing for a backward pass."""
        # What is gathered for a pass in inference mode could not be used for training later.
        with torch.inference_mode() if self.backbone.shards is None else torch.no_grad():
            yield

    def finish_passes(self) -> None:
        """Wait for the passes of other ranks, where the backbone is divided among them; every rank must come here when
        it has done its share.
        """
        if self.backbone.shards is not None:
            self.backbone.shards.finish()

    def answers(self, work: Sequence[tuple[int, Batch]]) -> list[list[RowOutput]]:
        """The outputs of the members' heads for their batches, from one pass."""
        with self.without_gradients(), self.hidden(work) as parts:
            return [head.outputs(hidden, batch) for head, hidden, batch in parts]

    def stored(self, member: int = 0) -> dict[str, Tensor]:
        """The tensors of a finished run: the folded prompt, the head (frozen random parts too), tuned weights."""
        run_member = self.member(member)
        tensors = {f"prompt.{name}": tensor for name, tensor in run_member.prompt.fold().items()}
        tensors.update({f"head.{name}": tensor for name, tensor in run_member.head.stored().items()})
        tensors.update({name: p for name, p in self.trained(member).items() if name.startswith("backbone.")})
        return tensors

    def load_stored(self, tensors: dict[str, Tensor], member: int = 0) -> None:
        """Load what `stored` returned. Raises KeyError or RuntimeError if it does not fit."""
        run_member = self.member(member)
        groups: dict[str, dict[str, Tensor]] = {"prompt": {}, "head": {}, "backbone": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        run_member.prompt.load(groups["prompt"])
        run_member.head.load(groups["head"])
        shared = dict(self.backbone.model.named_parameters())
        with torch.no_grad():
            for name, tensor in groups["backbone"].items():
                shared[name].copy_(tensor)
