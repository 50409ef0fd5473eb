"""
Intervals that keep what they promise
=====================================

A predicted accuracy is worth more with an interval around it. Split conformal prediction needs no
model of the errors: it takes their sizes on calibration data. When does the promise hold?
"""

# %%
# A classifier of old digits, and many small deals of new ones with noise of different strength. For
# each deal its reverse score and its true accuracy.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from pr12.rca.model.conformal import half_width, linear_map
from pr12.rca.model.estimator import ReverseClassificationAccuracy

X, y = load_digits(return_X_y=True)
X, stream = X / 16, np.random.default_rng(0)
old, y_old = X[:500], y[:500]
judge = ReverseClassificationAccuracy(GaussianNB(var_smoothing=0.1), KNeighborsClassifier(3))
judge.fit(old, y_old)


def deal(classes: int = 10) -> tuple[float, float]:
    """Return the reverse score and the true accuracy of 150 digits with noise."""
    known = np.flatnonzero(y[500:] < classes) + 500
    chosen = stream.choice(known, 150)
    noise = 0.8 * stream.random()
    data = X[chosen] + noise * stream.standard_normal((150, 64))
    return judge.reverse_score(data), judge.score(data, y[chosen])


# %%
# The first half of the calibration deals fits the line from score to accuracy, the other half says
# how large the residuals are.
line_deals, width_deals, new_deals = (
    np.array([deal() for _ in range(count)]) for count in (60, 60, 120)
)
line = linear_map(*line_deals.T)
residuals = np.abs(line(width_deals[:, 0]) - width_deals[:, 1])
asked = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
widths = np.array([half_width(residuals, coverage) for coverage in asked])


def covered(deals: np.ndarray) -> np.ndarray:
    """Return which share of deals lies in the interval of each coverage."""
    away = np.abs(line(deals[:, 0]) - deals[:, 1])
    return (away[:, None] <= widths).mean(axis=0)


# %%
# New deals like those of the calibration, and deals in which only the digits 0 to 6 occur.
fewer = np.array([deal(classes=7) for _ in range(120)])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
scores = np.linspace(0, 1, 50)
left.plot(new_deals[:, 0], new_deals[:, 1], ".", label="like the calibration")
left.plot(fewer[:, 0], fewer[:, 1], ".", label="without 7, 8 and 9")
left.plot(scores, line(scores), color="black", linewidth=0.8)
left.fill_between(
    scores, line(scores) - widths[-2], line(scores) + widths[-2], alpha=0.2, label="90 % interval"
)
left.set(xlabel="reverse score", ylabel="true accuracy", xlim=(0, 1), ylim=(0, 1))
left.legend()
right.plot(asked, covered(new_deals), marker="o", label="like the calibration")
right.plot(asked, covered(fewer), marker="o", label="without 7, 8 and 9")
right.axline((0.5, 0.5), slope=1, color="black", linewidth=0.8)
right.set(xlabel="coverage that was asked for", ylabel="share of new deals covered")
right.legend()

# %%
# The promise holds for what could have been among the calibration data (exchangeable deals), up to
# the spread of so many new deals. Beyond it nothing is promised: from deals without three classes
# the reverse classifier cannot learn these, fails on them among the old data, and its score is too
# low where the classifier is good.
