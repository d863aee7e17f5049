"""Golden values of LPIPS by stlpips-pytorch itself: python tests/golden/make_lpips.py > tests/golden/lpips.json

Its code imports torchvision, IPython and torchsummary, of which this network uses nothing: empty modules do.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from types import ModuleType

import torch

for name in ("torchvision", "torchvision.models", "IPython", "torchsummary"):
    sys.modules[name] = ModuleType(name)
sys.modules["torchvision"].models = sys.modules["torchvision.models"]
sys.modules["IPython"].embed = sys.modules["torchsummary"].summary = None

from stlpips_pytorch import stlpips  # noqa: E402

generator = torch.Generator().manual_seed(0)
wanted = torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1
found = (wanted + 0.3 * torch.randn(wanted.shape, generator=generator)).clamp(-1, 1)
distances = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)(found, wanted)
print(json.dumps({"stlpips-pytorch": version("stlpips-pytorch"), "distances": distances.flatten().tolist()}))
