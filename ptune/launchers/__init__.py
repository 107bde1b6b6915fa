"""Launchers: how the jobs of a sweep run. Hydra takes plugins from the package hydra_plugins alone, so that is where
this folder is installed.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules


def register() -> None:
    """Make those of this folder known to Hydra, whose search does not see editable installs."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher

    for info in iter_modules(__path__):
        module = import_module(f"hydra_plugins.ptune.{info.name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Launcher) and not inspect.isabstract(kind):
                Plugins.instance().register(kind)
