"""LoRA and its relatives LoHa and LoKr: files of other programs and of this project, and the modules of a training."""
