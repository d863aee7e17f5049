"""Systems that the engine is compared with, each behind the same interface."""
