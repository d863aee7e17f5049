"""Folding: exact for every kind of hypernetwork and for chains."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from tests.trainer.hypernetwork.examples import KINDS, evaluate_unet, settings_of, strong
from trainer.hypernetwork.fold import merge_into
from trainer.hypernetwork.network import Hypernetwork, attached, stacks_attached


@pytest.mark.parametrize(
    ("settings", "multiplier"),
    [(settings, -0.6) for settings in KINDS] + [(settings, 1.0) for settings in KINDS[:2]],
    ids=lambda s: f"{s.activation}-{s.layer_norm}-{s.layer_structure}" if s in KINDS else None,
)
def test_merged_computes_what_unmerged_computes(settings, multiplier, base):
    base.unet.double()
    hypernetwork = strong(settings).double()
    plain = evaluate_unet(base)
    with attached(base.unet, [(hypernetwork, multiplier)]):
        wanted = evaluate_unet(base)
    torch.testing.assert_close(evaluate_unet(base), plain, rtol=0, atol=0)
    assert (wanted - plain).abs().max() > 1e-3
    residuals, folded = merge_into(base.unet, [(hypernetwork, multiplier)])
    assert bool(residuals) != settings.is_linear
    assert bool(folded) == settings.is_linear
    with stacks_attached(base.unet, residuals):
        torch.testing.assert_close(evaluate_unet(base), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kinds", "folds"), [("lll", 3), ("lnl", 1), ("nll", 2), ("lln", 0), ("nn", 0)])
def test_a_chain_folds_its_linear_end_and_keeps_the_rest(kinds, folds, base):
    base.unet.double()
    chain = [
        (strong(settings_of(activation="tanh" if kind == "n" else "linear"), seed=seed).double(), 0.5 + seed / 4)
        for seed, kind in enumerate(kinds)
    ]
    with attached(base.unet, chain):
        wanted = evaluate_unet(base)
    residuals, folded = merge_into(base.unet, chain)
    assert {place for place, _, _ in folded} == set(range(len(kinds) - folds, len(kinds)))
    with stacks_attached(base.unet, residuals):
        torch.testing.assert_close(evaluate_unet(base), wanted, rtol=1e-10, atol=1e-10)


def test_a_hypernetwork_of_another_base_is_refused(base):
    for use in (merge_into, lambda unet, h: attached(unet, h).__enter__()):
        with pytest.raises(RequestError, match="dimensions"):
            use(base.unet, Hypernetwork([768]))
