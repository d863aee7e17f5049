"""The log-likelihood by the probability-flow ODE against the closed form of a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.likelihood.probability_flow import log_likelihood

SIGMAS = (0.03, 300.0)
"""So much noise that the prior differs from the noisy data by less than 0.1 nats."""
SHAPE = (4, 3, 3)


def gaussian(seed):
    """The mean, the eigenvectors and the variances of a Gaussian of 36 correlated dimensions."""
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(SHAPE)
    vectors = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    return torch.randn(size, generator=generator), vectors, torch.rand(size, generator=generator) * 2 + 0.05


def eps_of(mean, vectors, variances):
    """The ideal eps of x = x0 + sigma z: sigma (C + sigma^2 I)^-1 (x - mean)."""

    def eps(x, sigma):
        inverse = vectors @ torch.diag(1 / (variances + sigma**2)) @ vectors.T
        return (sigma * (x.flatten(1) - mean) @ inverse).view_as(x)

    return eps


def probes_of(count, rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (count, rows, *SHAPE), generator=generator).float() * 2 - 1


def test_the_likelihood_of_a_gaussian_is_the_closed_form_within_1_percent_and_within_its_error():
    torch.manual_seed(0)
    mean, vectors, variances = gaussian(0)
    smallest = variances + SIGMAS[0] ** 2
    covariance = vectors @ torch.diag(smallest) @ vectors.T
    model = torch.distributions.MultivariateNormal(mean.double(), covariance.double())
    latents = model.sample((6,)).float()
    found = log_likelihood(
        eps_of(mean, vectors, variances), latents.view(-1, *SHAPE), probes_of(64, 6), SIGMAS, steps=120
    )
    wanted = model.log_prob(latents.double())
    assert found.values.mean().item() == pytest.approx(wanted.mean().item(), rel=0.01)
    assert ((found.values - wanted).abs() < 4 * found.errors + 0.01 * wanted.abs()).all()
    assert (found.errors > 0).all()


def test_the_estimate_of_a_model_without_correlations_has_no_error_and_steps_converge():
    """v^T J v is the trace for every v where J is diagonal."""
    torch.manual_seed(0)
    mean, _, variances = gaussian(2)
    model = torch.distributions.Normal(mean.double(), (variances + SIGMAS[0] ** 2).sqrt().double())
    latents = model.sample((3,)).float()
    wanted = model.log_prob(latents.double()).sum(1)
    off = []
    for steps in (40, 80, 160):
        found = log_likelihood(
            eps_of(mean, torch.eye(len(mean)), variances), latents.view(-1, *SHAPE), probes_of(2, 3), SIGMAS, steps
        )
        assert found.errors.max() < 1e-3
        off.append((found.values - wanted).abs().max().item())
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.01 * wanted.abs().min()


def test_one_probe_states_no_error():
    mean, vectors, variances = gaussian(0)
    found = log_likelihood(eps_of(mean, vectors, variances), torch.zeros(1, *SHAPE), probes_of(1, 1), SIGMAS, steps=4)
    assert found.values.isfinite().all()
    assert found.errors.isnan().all()
