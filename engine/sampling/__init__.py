"""Schedules, samplers, guidance, noise and signal leak: equations only."""
