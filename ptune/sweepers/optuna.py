"""hydra/sweeper=optuna: the jobs of a sweep are the trials of a search, by the launcher of one's choice.

Hydra's own plugin asks for an Optuna before 3, whose studies do not work with today's SQLAlchemy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra_plugins.ptune.sweep import counts
from omegaconf import DictConfig, OmegaConf

from ptune.errors import ConfigError, PtuneError
from ptune.sweeps.ledger import last

if TYPE_CHECKING:  # Hydra imports every sweeper each time it starts
    from ptune.sweeps.search import Planned, Search

FIRST = 3  # trials that fail, none of the search ending otherwise, end it


class OptunaSweeper(Sweeper):
    """n_jobs: trials of a call of the launcher; the other settings are those of search.Settings."""

    hydra_context: Any
    config: Any
    launcher: Any

    def __init__(self, params: dict[str, Any] | None = None, n_jobs: int | None = None, **settings: Any) -> None:
        self.params, self.n_jobs, self.settings = params or {}, n_jobs, settings

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """See Hydra."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Search, going on where an earlier call has ended; raises what a job of this call has failed with."""
        from ptune.progress import Progress
        from ptune.sweeps.search import Search, Settings, summary_lines
        from ptune.sweeps.space import read, words

        self.check()
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        sweep_words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parameters, shared = read(parser.parse_overrides(sweep_words))
        self.validate_batch_is_legal([[*shared, *words(parameters, {one.key: one.first for one in parameters})]])
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        with (
            Progress("quiet=true" in map(str.lower, shared)) as progress,
            Search(folder, parameters, shared, Settings(**self.settings)) as search,
        ):
            if self.at_once == 1 and self.config.hydra.runtime.choices["hydra/launcher"] == "fused":
                progress.warn("hydra.sweeper.n_jobs: one trial at a time leaves nothing to fuse; for example, set 8")
            try:
                ends = self.run(search)
            finally:
                for line, style in summary_lines(search.write()):
                    progress.tell(line, style)
        for end in ends:
            _ = end.return_value  # raises, where the job has failed
        return ends

    def check(self) -> None:
        """Raises ConfigError for settings that are not of their kind."""
        from ptune.leaves import check_settings
        from ptune.sweeps.search import Settings

        settings = OmegaConf.to_container(self.config.hydra.sweeper, resolve=True)
        assert isinstance(settings, dict)
        key, options = "hydra.sweeper", {name: settings[name] for name in ("params", "n_jobs") if name in settings}
        problems = [*check_settings(key, type(self), options), *check_settings(key, Settings, self.settings)]
        if problems := problems or [*counts(key, options)]:
            raise ConfigError(problems)

    def run(self, search: Search) -> list[JobReturn]:
        """Launch trials until the search is at its end. Raises PtuneError where a launcher has nothing to hope for."""
        ends: list[JobReturn] = []
        states: list[str] = []
        waiting = search.left()
        while batch := waiting.pop(0) if waiting else search.ask(self.at_once):
            try:
                returned = self.launch(search, batch)
            except PtuneError as error:
                for planned in batch:
                    search.tell(planned, None, None, str(error))
                raise
            states += [tell(search, planned, end) for planned, end in zip(batch, returned, strict=True)]
            ends += returned
            search.write()
            if len(states) >= FIRST and {*states} == {"failed"} and not search.well:
                break
        return ends

    @property
    def at_once(self) -> int:
        """How many trials are launched at once."""
        return self.n_jobs or getattr(self.launcher, "n_jobs", None) or 1

    def launch(self, search: Search, batch: Sequence[Planned]) -> Sequence[JobReturn]:
        """Run the jobs of some trials."""
        jobs = [[*search.shared, *planned.words, search.observer(planned)] for planned in batch]
        return self.launcher.launch(jobs, initial_job_idx=batch[0].job)


def tell(search: Search, planned: Planned, end: JobReturn) -> str:
    """Record how a trial's job has ended; its state."""
    assert end.hydra_cfg is not None
    folder = Path(str(end.hydra_cfg.hydra.runtime.output_dir))
    if end.status == JobStatus.COMPLETED:
        value = end.return_value
        score = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        return search.tell(planned, folder, score)
    noted = last(search.folder).get(os.path.relpath(folder, search.folder))
    error = (
        f"{noted['kind']}: {noted['message']}" if noted else f"{type(end._return_value).__name__}: {end._return_value}"
    )
    return search.tell(planned, folder, None, error)
