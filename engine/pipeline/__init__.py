"""From seeds to pictures: prompts, sampling loops, decoding, rescue of bad pictures."""
