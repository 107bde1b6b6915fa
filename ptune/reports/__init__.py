"""Finished runs as tables, charts and pages: what `ptune report` is made of."""
