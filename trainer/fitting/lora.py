"""`fit --method lora`: a LoRA of the UNet as the trainee; see trainer.fitting.class_training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from trainer.fitting.class_training import AdapterTrainee, ClassTraining
from trainer.fitting.prior import Prior
from trainer.fitting.settings import PROJECTIONS, MethodSettings
from trainer.lora.files import LoraFile, write_lora
from trainer.lora.network import Lora
from trainer.training.loop import Training

__all__ = ["LoraTrainee"]


class LoraTrainee(AdapterTrainee):
    """A LoRA as a trainee; see Trainee."""

    model: Lora

    def __init__(self, training: ClassTraining, method: MethodSettings, prior: Prior | None) -> None:
        super().__init__(training, prior)
        projections = method.lora_projections or PROJECTIONS
        self.model = Lora(
            self._base.unet,
            method.rank,
            method.alpha,
            projections=projections,
            convolutions=method.lora_convolutions,
        )
        self.subject = ("lora", self.model.alpha, *sorted(self.model.layers))
        self.weights = tuple(self.model.state_dict().values())
        self.facts = {
            "method": "lora",
            "rank": self.model.rank,
            "alpha": self.model.alpha,
            "projections": list(projections),
            "modules": len(self.model.layers),
            "parameters": self.parameters,
        }

    def attached(self) -> AbstractContextManager[None]:
        """See Trainee."""
        return self.model.attached(self._base.unet)

    def write(self, path: Path, step: int, training: Training) -> None:
        """See Trainee. The metadata `ss_...` are those that the WebUI shows."""
        record = self._request.record
        metadata = {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(self.model.rank),
            "ss_network_alpha": f"{self.model.alpha:g}",
            "ss_output_name": record.class_name,
            "ss_steps": str(step),
        }
        if self._base.is_stable_diffusion_1:
            metadata["ss_base_model_version"] = "sd_v1"
        changes = self.model.changes()
        write_lora(path, LoraFile(changes, record.class_name, step, record, self._base_sha256, metadata))
