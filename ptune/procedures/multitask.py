"""MPT-2: one prompt is trained on several tasks at once, then with each task alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ptune import compat
from ptune.checks import check_positions, unset_length
from ptune.errors import PtuneError
from ptune.leaves import leaf
from ptune.procedures import Procedure, Stage
from ptune.runs.folder import RunFolder, intact, read_checkpoint

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Task

JOINT = "joint"  # the stage, and its folder


class Multitask(Procedure):
    """Multi-task P-Tuning v2 (Liu et al. 2022, arXiv 2110.07602, section 3.3), whose code was never published.

    Tasks share the prompt, and each has a head of its own, as their labels differ; a batch is of one task (the authors
    in issue 22 of THUDM/P-tuning-v2). With what this joint phase ends with, the prompt and the task's head, training
    goes on with each task alone, as the run's own settings say.

    tasks: by name (lists of names are replaced when the configuration is read); the run's own is one of them, there or
    not, and its figures are the run's. epochs, max_steps, lr: of the joint phase; lr null: the run's rates.
    temperature: of how often a task's batches come; 1: in proportion to their number, more: more alike, null: equally
    often. data: by task, what its data settings have other than the run's, as {conll04: {root: DIR}}.
    """

    def __init__(
        self,
        tasks: dict[str, Any],
        epochs: int = 10,
        max_steps: int | None = None,
        lr: float | None = None,
        temperature: float | None = 1.0,
        data: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.tasks, self.temperature, self.data = tasks, temperature, data
        self.joint: dict[str, Any] = {"epochs": epochs, "max_steps": max_steps}
        if lr is not None:
            self.joint["optim"] = {"lr": lr, "prompt_lr": None, "head_lr": None, "backbone_lr": None}

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        for name, settings in given.method["procedure"]["tasks"].items():
            if settings.get("name") != name:
                yield (
                    f"method.procedure.tasks.{name}",
                    f"names the task {settings.get('name')}; use that task's own name",
                )

    def stages(self, session: Session) -> Iterator[Stage]:
        """The joint phase, then each task alone, the run's own last."""
        other_tasks = further(self.tasks, self.data, session)
        session.expected = 1 + len(other_tasks)
        yield Stage(JOINT, partial(self.train_jointly, session))
        for name in other_tasks:
            yield Stage(name, partial(self.alone, session, name, other_tasks))
        yield Stage("train", partial(self.own, session, other_tasks))

    def train_jointly(self, session: Session) -> dict[str, Any]:
        """Train on all tasks."""
        settings = {"tasks": self.tasks, "temperature": self.temperature, "data": self.data}
        procedure = {"_target_": f"{Joint.__module__}.{Joint.__name__}", **settings}
        figures: dict[str, Any] = session.child(JOINT, **self.joint, method={"procedure": procedure}).complete()
        return figures

    def alone(self, session: Session, name: str, others: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with another task than the run's."""
        child = session.child(name, **others[name])
        child.start = start(session, name, others)
        figures: dict[str, Any] = child.complete()
        return figures

    def own(self, session: Session, others: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with the run's own task, and put everybody's figures together."""
        session.start = start(session, session.task.name, others)
        figures = session.train()
        joint = joint_folder(session).read_json("result.json")
        score = figures["best"]["report"][str(session.settings.metric)]
        stages = {session.task.name: {"score": score, "steps": figures["steps"]}, **session.stages}
        tasks = {
            name: {**figures, "continued": stages[name]["score"], "continued_steps": stages[name]["steps"]}
            for name, figures in joint["tasks"].items()
        }
        total = joint["steps"] + sum(of_task["continued_steps"] for of_task in tasks.values())
        return {**figures, "tasks": tasks, "joint_steps": joint["steps"], "total_steps": total}


class Joint(Procedure):
    """Train a prompt, with a head a task, on several tasks at once; see `Multitask`."""

    def __init__(
        self,
        tasks: dict[str, Any],
        temperature: float | None = 1.0,
        data: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.tasks, self.temperature, self.data = tasks, temperature, data

    def stages(self, session: Session) -> Iterator[Stage]:
        """One stage."""
        yield Stage("train", partial(self.train, session))

    def train(self, session: Session) -> dict[str, Any]:
        """Train to the end; a stage has the figures of each further task."""
        from ptune.training import train_multitask

        changes = further(self.tasks, self.data, session)
        children = [session.child(name, **changed) for name, changed in changes.items()]
        figures, *of_others = train_multitask(session, children, self.temperature)
        assert figures is not None
        metric = str(session.settings.metric)
        score = {"score": figures["best"]["report"][metric], "interval": figures["best"]["interval"]}
        results = [{"metric": metric, **score, "own_steps": figures["own_steps"]}]
        results += [child.complete(figures) for child, figures in zip(children, of_others, strict=True)]
        tasks = {
            run.task.name: {
                "metric": result["metric"],
                "examples": len(run.corpus.splits["train"]),
                "joint": result["score"],
                "joint_steps": result["own_steps"],
            }
            for run, result in zip([session, *children], results, strict=True)
        }
        return {**figures, "tasks": tasks}


def further(
    tasks: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]] | None, session: Session
) -> dict[str, dict[str, Any]]:
    """By task, what a run of it has other than the session's own; a layout of files is of that one's corpus.

    So is the length of texts, unless it is another than the own task says, as where the command line gives it; and
    `compat` says of each task what it is scored by.
    """
    s = session.settings
    unset, about = replace(s, data=replace(s.data, max_length=None)), (leaf(s.backbone, s.packages), session.task)
    usual = s.data.max_length == unset_length(unset, *about) and not any(check_positions(unset, *about))
    lengths = {"max_length": None} if usual else {}
    return {
        name: {
            **{"task": task, "metric": None, "report_on": None, **compat.apply_to_task(s, deepcopy(task))},
            "data": {"layout": None, **lengths, **(data or {}).get(name, {})},
        }
        for name, task in tasks.items()
        if name != session.task.name
    }


def joint_folder(session: Session) -> RunFolder:
    """The run folder of the joint phase."""
    return RunFolder(session.folder.file("stages") / JOINT)


def start(session: Session, task: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """What the joint phase, at its best, has learned of a task: by name, as a run of it alone has it.

    Raises PtuneError where it is damaged.
    """
    folder = joint_folder(session)
    path = folder.file("checkpoints") / f"{folder.read_json('result.json')['best']['step']:08d}"
    if not intact(path):
        raise PtuneError(f"{path}, the best of the joint phase, is damaged; remove {folder.path} to train it again")
    learned, _, _ = read_checkpoint(path)
    heads = {name: f"head.{name}." for name in others}
    without_heads = {name: tensor for name, tensor in learned.items() if not name.startswith(tuple(heads.values()))}
    if task not in heads:
        return without_heads
    shared = {name: tensor for name, tensor in without_heads.items() if not name.startswith("head.")}
    head = {name: tensor for name, tensor in learned.items() if name.startswith(heads[task])}
    return shared | {f"head.{name.removeprefix(heads[task])}": tensor for name, tensor in head.items()}
