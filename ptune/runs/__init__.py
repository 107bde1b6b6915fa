"""One run on disk: its folder, its records, and how it is opened again."""
