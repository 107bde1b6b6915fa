"""`python -m ptune` is the same program as `ptune`."""

from ptune.cli import main

if __name__ == "__main__":
    main()
