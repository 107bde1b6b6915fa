"""Programs of scripts/ as modules: their names have no .py."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def program(name: str) -> Any:
    """The program at that path of the project, imported; what it changes of the interpreter is as before."""
    loader = SourceFileLoader(Path(name).name, str(ROOT / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    kept, path = sys.dont_write_bytecode, sys.path[:]  # no __pycache__ in scripts/
    sys.dont_write_bytecode, sys.modules[loader.name] = True, module
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode, sys.path[:] = kept, path
        del sys.modules[loader.name]
    return module
