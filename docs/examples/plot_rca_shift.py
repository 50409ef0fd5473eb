"""
When can a reverse classifier tell?
===================================

Reverse Classification Accuracy predicts how well a classifier does on new data without labels. It
works only if wrong predictions *hurt* the reverse classifier. Two of them, on the same new data.
"""

# %%
# Old data: half of scikit-learn's digits. New data: the other half, with more and more noise.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from pr12.rca.model.estimator import ReverseClassificationAccuracy

X, y = load_digits(return_X_y=True)
old, new, y_old, y_new = X[:600] / 16, X[600:1200] / 16, y[:600], y[600:1200]
stream = np.random.default_rng(0)
noises = np.linspace(0, 1.2, 7)
shifted = [new + noise * stream.standard_normal(new.shape) for noise in noises]

# %%
# Both estimators judge the same classifier. They differ in what learns from its predictions.
classifier = LogisticRegression(max_iter=200, tol=1e-2)
judges = {
    "linear": ReverseClassificationAccuracy(classifier).fit(old, y_old),
    "neighbours": ReverseClassificationAccuracy(classifier, KNeighborsClassifier(5)).fit(
        old, y_old
    ),
}
true = [judges["linear"].score(data, y_new) for data in shifted]
predicted = {name: [judge.estimate(data) for data in shifted] for name, judge in judges.items()}

# %%
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(noises, true, color="black", marker="o", label="true accuracy")
for name, values in predicted.items():
    axes.plot(noises, values, marker="o", linestyle="--", label=f"predicted, {name}")
axes.set(xlabel="standard deviation of the noise", ylabel="accuracy", ylim=(0, 1.05))
axes.legend()

for name, values in predicted.items():
    print(f"{name}: mean absolute error {np.abs(np.subtract(values, true)).mean():.3f}")

# %%
# The linear reverse classifier averages the noise away: from wrong linear labels it learns nearly
# the same plane as from right ones. Neighbours keep every mistake where it was made.
#
# A prediction that is too high or too low in the same way each time can be mapped:
# ``score_calibration="linear"`` and ``calibrate_scores`` fit a line on further labelled data.
