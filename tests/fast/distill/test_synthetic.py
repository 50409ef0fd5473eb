import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from pr12.distill.data import synthetic


class Draws:
    """Random numbers that are not random: the first `random`, the first `standard_normal`."""

    def __init__(self, uniform, normal):
        self.uniform, self.normal = np.array(uniform), np.array(normal)

    def random(self, shape):
        return self.uniform.reshape(shape)

    def standard_normal(self, shape):
        return self.normal.reshape(shape)


def literal_munge(examples, nominal, p, s, rng):
    """Algorithm 1 word for word, for one pass, attribute by attribute."""
    altered = examples.copy()
    n, width = examples.shape
    uniform = rng.random((n, width))
    normal = iter(rng.standard_normal((n, 2, (~nominal).sum())))
    for e in range(n):

        def distance(other, e=e):
            if other == e:
                return np.inf
            gaps = altered[other] - altered[e]
            return (gaps[~nominal] ** 2).sum() + (gaps[nominal] != 0).sum()

        nearest = min(range(n), key=distance)
        noise = next(normal)
        position = 0
        for a in range(width):
            mine, theirs = altered[e, a], altered[nearest, a]
            if nominal[a]:
                if uniform[e, a] < p:
                    altered[e, a], altered[nearest, a] = theirs, mine
                continue
            if uniform[e, a] < p:
                deviation = abs(mine - theirs) / s
                altered[e, a] = theirs + deviation * noise[0, position]
                altered[nearest, a] = mine + deviation * noise[1, position]
            position += 1
    return altered


def test_munge_on_three_points_worked_by_hand():
    # e0: the nearest to 0.4 is 0.0; sd = 0.4 / 2; 0.0 + 0.2 * 1 = 0.2 and 0.4 + 0.2 * 0.5 = 0.5.
    # e1 is not altered. e2: in T' = (0.2, 0.5, 1.0) the nearest to 1.0 is e1 (in T it was e0);
    # sd = 0.5 / 2; 0.5 + 0 and 1.0 + 0.25 * 2.
    draws = Draws([0.1, 0.9, 0.1], [1.0, 0.5, 9.0, 9.0, 0.0, 2.0])
    points = synthetic.munge(np.array([[0.4], [0.0], [1.0]]), np.array([False]), 1, 0.5, 2.0, draws)
    assert points.ravel() == pytest.approx([0.2, 1.5, 0.5])


def test_munge_swaps_nominal_attributes_and_counts_them_as_hamming():
    # e0 = (0, red) is 1 from (0, blue) and 0.81 from (0.9, red'), so e' is the third example;
    # only e0's nominal attribute is drawn, so the two exchange codes 0 and 0: no change. With the
    # third example's code 2 the distance would be 1.81 and e' the second example.
    examples = np.array([[0.0, 0.0], [0.0, 1.0], [0.9, 0.0]])
    draws = Draws([[0.0, 0.9], [0.9, 0.9], [0.9, 0.9]], np.zeros(6))
    points = synthetic.munge(examples, np.array([False, True]), 1, 0.5, 1.0, draws)
    assert points.tolist() == [[0.9, 0.0], [0.0, 1.0], [0.0, 0.0]]
    examples[2, 1] = 2.0
    draws = Draws([[0.9, 0.0], [0.9, 0.9], [0.9, 0.9]], np.zeros(6))
    points = synthetic.munge(examples, np.array([False, True]), 1, 0.5, 1.0, draws)
    assert points.tolist() == [[0.0, 1.0], [0.0, 0.0], [0.9, 2.0]]


@pytest.mark.parametrize("kinds", [[False] * 4, [False, True, False, True], [True] * 4])
def test_munge_is_the_algorithm_word_for_word(kinds):
    nominal = np.array(kinds)
    rng = np.random.default_rng(1)
    examples = np.where(nominal, rng.integers(0, 40, (30, 4)), rng.random((30, 4)))
    if nominal.all():  # no ties: rounding would decide between equally near neighbours
        examples = np.stack([np.arange(30) // k for k in (2, 4, 8, 16)], axis=1) * 1.0
    points = synthetic.munge(examples, nominal, 1, 0.6, 1.5, np.random.default_rng(2))
    expected = literal_munge(examples, nominal, 0.6, 1.5, np.random.default_rng(2))
    assert points == pytest.approx(expected)


def test_munge_keeps_codes_and_the_training_set_and_nests():
    rng = np.random.default_rng(0)
    examples = np.column_stack([rng.random(20), rng.integers(0, 3, 20)])
    before = examples.copy()
    nominal = np.array([False, True])
    three = synthetic.munge(examples, nominal, 3, 0.5, 2.0, np.random.default_rng(5))
    one = synthetic.munge(examples, nominal, 1, 0.5, 2.0, np.random.default_rng(5))
    assert (examples == before).all()
    assert (three[:20] == one).all()
    for part in three.reshape(3, 20, 2):  # a swap changes who has a code, not how many have it
        assert sorted(part[:, 1]) == sorted(examples[:, 1])
        assert (part != examples).any()


def test_munge_needs_two_examples():
    with pytest.raises(ValueError, match="two examples"):
        synthetic.munge(np.zeros((1, 2)), np.zeros(2, bool), 1, 0.5, 1.0, np.random.default_rng(0))


def test_random_marginals_keep_values_and_lose_dependence():
    column = np.random.default_rng(0).random(50)
    points = synthetic.random_marginals(
        np.column_stack([column, -column]), 10000, np.random.default_rng(1)
    )
    assert set(points[:, 0]) == set(column)
    assert set(points[:, 1]) == set(-column)
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.05
    assert points[:, 0].mean() == pytest.approx(column.mean(), abs=0.02)


def test_density_of_continuous_attributes_is_the_gaussian_mixture():
    examples = np.random.default_rng(0).random((100, 3))
    nominal = np.zeros(3, bool)
    ours = synthetic.fit_naive_bayes_mixture(examples, nominal, 4, 7)
    oracle = GaussianMixture(
        4, covariance_type="diag", reg_covar=synthetic.LEAST_VARIANCE, max_iter=200, random_state=7
    ).fit(examples)
    assert synthetic.log_density(ours, examples, nominal) == pytest.approx(
        oracle.score_samples(examples)
    )


def test_density_with_a_nominal_attribute_worked_by_hand():
    # One component; codes 0, 0, 0, 1 with a pseudo-count each: 4/6 and 2/6. Code 2 was never seen.
    examples = np.array([[0.0], [0.0], [0.0], [1.0]])
    nominal = np.array([True])
    mixture = synthetic.fit_naive_bayes_mixture(examples, nominal, 1, 0)
    densities = np.exp(synthetic.log_density(mixture, np.array([[0.0], [1.0], [2.0]]), nominal))
    assert densities == pytest.approx([4 / 6, 2 / 6, 1])


def test_nbe_samples_keep_what_the_components_hold():
    # Two groups: near 0 with code 0, near 1 with code 2.
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 400)
    examples = np.column_stack([group + 0.02 * rng.standard_normal(400), 2.0 * group])
    nominal = np.array([False, True])
    points = synthetic.naive_bayes_estimate(
        examples[:300], examples[300:], nominal, 2000, [1, 2], np.random.default_rng(1)
    )
    near_one = points[:, 0] > 0.5
    assert (points[near_one, 1] == 2).mean() > 0.97
    assert (points[~near_one, 1] == 0).mean() > 0.97
    assert near_one.mean() == pytest.approx(group[:300].mean(), abs=0.04)


def test_nbe_refuses_more_components_than_examples():
    data = np.random.default_rng(0).random((5, 2))
    with pytest.raises(ValueError, match="components"):
        synthetic.naive_bayes_estimate(
            data, data, np.zeros(2, bool), 3, [6, 9], np.random.default_rng(0)
        )
