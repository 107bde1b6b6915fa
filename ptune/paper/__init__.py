"""Published tables: what their cells are, which runs they stand for, and the paper's figures beside ours."""
