"""`python -m trainer` is the trainer's command line."""

from trainer.cli import main

main()
