"""How likely a model finds pictures: the log-likelihood by the probability-flow ODE."""
