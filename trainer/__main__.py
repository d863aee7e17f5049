"""`python -m trainer` is the trainer's command line."""

from trainer.cli.app import main

main()
