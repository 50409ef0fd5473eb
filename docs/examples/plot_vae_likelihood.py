"""
Three estimates of one likelihood
=================================

How far is the bound from the likelihood that it bounds? With one latent dimension the integral over
codes can be done on a grid, so that every estimate can be compared with the truth.
"""

# %%
# Train a variational autoencoder with one latent dimension on scikit-learn's digits: 600 steps.
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from pr12.core import determinism
from pr12.vae.model import densities, estimators, networks, objectives

images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
train, test = images[:1500], images[1500:1600]
architecture = networks.Architecture(pixels=64, hidden=(40,), latent_dim=1, likelihood="bernoulli")
parameters = networks.initial(architecture, seeds=[0], init="glorot", init_std=0.0)
for value in parameters.values():
    value.requires_grad_()
optimiser = torch.optim.Adam(parameters.values(), lr=0.01)
noise, order = (determinism.generator(0, name) for name in ("noise", "order"))
for _ in range(600):
    batch = train[torch.randint(len(train), (100,), generator=order)]
    loss = -objectives.sgvb_b(parameters, batch, 1, [noise]).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
parameters = {name: value.detach() for name, value in parameters.items()}

# %%
# **The truth**: sum p(x, z) over a fine grid of codes.
grid = torch.linspace(-6, 6, 2001)
codes = grid.view(1, 1, -1, 1).expand(1, len(test), -1, 1)
with torch.no_grad():
    joint = densities.log_likelihood(parameters, test, codes) + densities.log_prior(codes)
truth = (joint.logsumexp(dim=2) + math.log(float(grid[1] - grid[0])))[0]

# %%
# **Importance sampling** from the encoder with k codes. One code is the bound in expectation; with
# more it rises to the likelihood from below (Burda et al. 2015).
counts = [1, 2, 5, 10, 50, 200, 1000]
importance = estimators.importance(parameters, test, 100, counts, chunk=100)[:, 0]
bound = importance[0].mean().item()

# %%
# **Annealing** from the prior to the posterior (Neal 2001) asks no encoder.
annealed = estimators.annealed(
    parameters, test, 100, chains=4, temperatures=60, leapfrog=4, step_size=0.3
)[0]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
errors = (importance - truth).abs().mean(dim=1)
left.loglog(counts, errors, marker="o", label="importance sampling")
left.axhline((annealed - truth).abs().mean(), color="tab:green", linestyle=":", label="annealing")
left.set(xlabel="codes per image", ylabel="mean absolute error (nats)")
left.legend()
right.plot(truth, importance[0], ".", label="1 code")
right.plot(truth, importance[-1], ".", label=f"{counts[-1]} codes")
right.axline((float(truth.min()),) * 2, slope=1, color="black", linewidth=0.8)
right.set(xlabel="sum over a grid (nats)", ylabel="importance sampling (nats)")
right.legend()

print(f"The bound is {truth.mean() - bound:.2f} nats below the likelihood on average;")
print(
    f"with {counts[-1]} codes an image's error is {errors[-1]:.3f} nats, with one {errors[0]:.2f}."
)

# %%
# In one dimension the encoder's Gaussian nearly is the posterior, so that the bound is close; a
# single image's estimate from one code is not. More codes mend both, without another net.
