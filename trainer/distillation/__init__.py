"""Distillation: a LoRA with which few steps of the UNet go the way of a guided sampler's many steps."""
