"""Corpora: where they come from, how they are kept, and the batches that are made of them."""
