"""Inference runtimes behind one small class each."""
