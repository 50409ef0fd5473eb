"""
Why the reparameterised gradient?
=================================

A variational autoencoder needs the gradient of an expectation over codes. Two ways to draw it are
unbiased: weigh the gradient of the code's log density by how good the code was (the score function,
known before), or write the code as a function of noise and differentiate through it. Kingma and
Welling (2013, Sec. 2.2) dismiss the first for its variance. How large is the difference?
"""

# %%
# A small encoder and decoder for scikit-learn's digits, with random weights: variance is a matter
# of the estimator, not of the training.
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from pr12.core import determinism
from pr12.vae.gradient_variance import ESTIMATORS, gradient_moments
from pr12.vae.model import networks

images = torch.tensor(load_digits().data[:50] / 16, dtype=torch.float32)
architecture = networks.Architecture(pixels=64, hidden=(30,), latent_dim=3, likelihood="bernoulli")
parameters = networks.initial(architecture, seeds=[0], init="normal", init_std=0.1)

# %%
# Draw the gradient of the same minibatch 100 times by each estimator, with more and more codes per
# image. ``a`` is the paper's Eq. 6, ``b`` its Eq. 7 (divergence in closed form), ``score`` the
# score function.
samples = [1, 2, 4, 8]
variances = {name: [] for name in ESTIMATORS}
for name, estimator in ESTIMATORS.items():
    for count in samples:
        generators = [determinism.generator(0, f"gradient {name} {count}")]
        _, variance = gradient_moments(estimator, parameters, images, count, 100, generators)
        variances[name].append(variance.item())

# %%
# All fall as one over the number of codes, but from very different heights.
names = {"a": "Eq. 6, samples alone", "b": "Eq. 7, analytic divergence", "score": "score function"}
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, values in variances.items():
    axes.loglog(samples, values, marker="o", label=names[name])
axes.set(xlabel="codes per image", ylabel="variance of the gradient (nats²)", xticks=samples)
axes.set_xticks(samples, labels=samples)
axes.minorticks_off()
axes.legend()

ratio = variances["score"][0] / variances["b"][0]
print(f"The score function's variance is {ratio:.0f} times that of Eq. 7 with one code per image.")

# %%
# To get by averaging what reparameterisation gives with one code, the score function would need
# as many codes as that ratio. With the analytic divergence there is a little less to draw.
