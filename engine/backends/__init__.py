"""Inference runtimes: one small class per runtime."""
