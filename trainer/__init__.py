"""The trainer: from pictures to a hypernetwork and a merged UNet (torch, diffusers)."""
