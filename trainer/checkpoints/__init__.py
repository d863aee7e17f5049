"""Operations on whole checkpoints: the merger, and LoRA files from the difference of two checkpoints."""
