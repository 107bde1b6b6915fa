"""Many runs of one command: its jobs, their ledger and view, and searches."""
