"""The shipped configuration, installed as `ptune.conf`; every yaml here is an option or a command."""
