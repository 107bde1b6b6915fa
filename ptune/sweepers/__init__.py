"""Sweepers: which jobs a sweep has. Hydra takes plugins from the package hydra_plugins alone, so that is where this
folder is installed.
"""

from __future__ import annotations


def register() -> None:
    """Make them known to Hydra, whose search does not see editable installs."""
    from hydra.core.plugins import Plugins
    from hydra_plugins.ptune.sweepers.optuna import OptunaSweeper

    Plugins.instance().register(OptunaSweeper)
