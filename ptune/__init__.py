"""ptune: an experiment runner for prompt tuning, where every method is a point of one small design space."""

__version__ = "0.1.0"
