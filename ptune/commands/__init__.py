"""The commands, a module each, named as they are typed; the command line calls the `main(cfg)` of one of them."""
