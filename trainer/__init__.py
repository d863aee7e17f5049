"""Pictures in, a hypernetwork and a merged UNet out (torch, diffusers)."""
