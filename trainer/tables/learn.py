"""`table`: learn noise levels, coefficients and guidance of few steps against the end points of a teacher.

The whole trajectory of the few steps is differentiated (S4S, Frankel et al. 2025, arXiv:2502.17423, with the levels
learned as in LD3, Tong et al. 2024, arXiv:2405.15506). The teacher takes many steps from the same noise.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from engine.files import write_json
from engine.sampling.learned import TABLE_FORMAT
from trainer.tables.parameters import TableParameters
from trainer.tables.settings import TableSettings
from trainer.tables.subjects import Subject, relative, run, start
from trainer.tables.teacher import FollowRequest, Teacher, evaluations, mean_error
from trainer.training.loop import Training

__all__ = ["learn_table"]

JUDGED_EVERY = 10


class _Candidates(nn.Module):
    """The table that is trained, and the best one so far with its error, so that a checkpoint holds both."""

    def __init__(self, table: TableParameters, error: float) -> None:
        super().__init__()
        self.table, self.best = table, copy.deepcopy(table).requires_grad_(False)
        self.error: torch.Tensor
        self.register_buffer("error", torch.tensor(error, dtype=torch.float64))

    def judge(self, error: float) -> None:
        """Keep the table as it is now if its error is the smallest so far."""
        if error < self.error:
            self.best.load_state_dict(self.table.state_dict())
            self.error.fill_(error)


def learn_table(subjects: Sequence[Subject], request: FollowRequest[TableSettings]) -> dict[str, Any]:
    """Learn a table for all subjects, which share one noise schedule and one latent shape. Return its file's content.

    The file holds the best table by the noises that were kept back. Raises RequestError if a checkpoint does not fit,
    and CytosynthError if the optimisation finds values that are not finite.
    """
    settings, outputs, base = request.settings, request.outputs, subjects[0].base
    teacher = Teacher(subjects, request.teacher, settings, request.compute)
    noises = teacher.noises()
    paths = teacher.paths(outputs.latents, request.teacher.teacher_steps, request.progress)
    before = teacher.error_of_dpmpp_2m(paths)
    table, scales = start(base.noise, settings.rows, request.teacher, base.card)
    candidates = _Candidates(table, before)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        place = number % len(subjects)
        rows = torch.randint(settings.pictures - settings.kept, (settings.batch_size,), generator=generator)
        begins, wanted = (one[rows].to(request.compute.device) for one in (noises[place], paths[place][:, -1]))
        return relative(run(table, subjects[place], begins), wanted)

    def after_step(done: int) -> None:
        if done % JUDGED_EVERY == 0 or done == settings.steps:
            candidates.judge(mean_error(teacher.errors(partial(run, table), noises, paths)))

    training = Training(outputs.name, candidates, loss_of, settings.loop(), outputs.checkpoints, subject=teacher.digest)
    facts = training.run(progress=request.progress, after_step=after_step, stop=request.stop)
    content = {
        "format": TABLE_FORMAT,
        "rows": candidates.best.table().as_json(),
        "settings": {**asdict(request.teacher), **asdict(settings)},
        "steps_done": facts["steps_done"],
        "error": candidates.error.item(),
        "error_of_dpmpp_2m": before,
        "evaluations": evaluations(scales),
        "evaluations_of_the_teacher": evaluations(teacher.scales),
    }
    write_json(outputs.record, content)
    return content
