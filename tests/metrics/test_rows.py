"""Measures of tables, against closed forms and scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from zerosum.data.columns import Codec, Column
from zerosum.errors import ZerosumError
from zerosum.metrics.rows import RowFeatures, correlation_error, marginal_distances
from zerosum.metrics.scores import Moments, frechet_distance

COLOUR = Column("colour", "category", ("red", "green", "blue"))
AGE = Column("age", "number", knots=(0.0, 100.0))
INCOME = Column("income", "number", knots=(0.0, 100.0), missing=True)
CONSTANT = Column("same", "category", ("x",))


def test_features_by_hand() -> None:
    features = RowFeatures([COLOUR, AGE, INCOME, CONSTANT])
    three, two = (3 / 6) ** 0.5, (2 / 3) ** 0.5
    rows = torch.tensor(
        [
            [0.2, 0.5, 0.3, -0.7, 0.4, 0.6, 0.4, 1.0],
            [0.4, 0.3, 0.3, 0.9, 0.4, 0.4, 0.6, 0.9],
        ]
    )
    expected = torch.tensor([[0, three, 0, -0.7, 0.4, two, 0, 1], [three, 0, 0, 0.9, 0, 0, two, 1]])
    torch.testing.assert_close(features(rows), expected)
    assert not list(features.parameters())
    assert "scale" in features.state_dict()
    assert repr(features) != repr(RowFeatures([COLOUR, AGE, AGE, CONSTANT]))


def test_real_rows_differ_by_scale_alone() -> None:
    codec = Codec((COLOUR, AGE, INCOME))
    rows = torch.from_numpy(codec.encode({"colour": ["red", "blue"], "age": ["10", "20"], "income": ["", "30"]}))
    features = RowFeatures(codec.columns)
    torch.testing.assert_close(features(rows), rows * features.scale)


@pytest.mark.parametrize("count", [2, 5, 50])
def test_an_even_category_varies_as_much_as_a_number(count: int) -> None:
    column = Column("x", "category", tuple(map(str, range(count))))
    category = RowFeatures([column])(torch.eye(count))
    number = RowFeatures([AGE])(torch.linspace(-1, 1, 10_001)[:, None])
    assert category.var(0, correction=0).sum().item() == pytest.approx(1 / 3)
    assert number.var().item() == pytest.approx(1 / 3, rel=1e-3)


def test_frechet_distance_of_a_shifted_share() -> None:
    """Two values with shares p and q: shift of means and of deviations, in the direction (1, -1)."""
    features = RowFeatures([Column("x", "category", ("a", "b"))])
    p, q, count = 0.5, 0.9, 100_000

    def moments(share: float) -> Moments:
        rows = torch.zeros(count, 2)
        rows[: int(share * count), 0] = 1
        rows[int(share * count) :, 1] = 1
        return Moments(2).add(features(rows))

    one, other = moments(p), moments(q)
    expected = 2 * (2 / 3) * ((p - q) ** 2 + ((p * (1 - p)) ** 0.5 - (q * (1 - q)) ** 0.5) ** 2)
    found = frechet_distance(one.mean, one.covariance, other.mean, other.covariance)
    assert found == pytest.approx(expected, rel=1e-3)


def test_distances_of_columns_by_hand() -> None:
    real = {"colour": ["red", "red", "green", "NA"], "age": ["1", "2", "3", "4"], "income": ["", "", "5", "9"]}
    made = {"colour": ["red", "", "violet"], "age": ["2", "2", "9"], "income": ["5", "9", "5"]}
    found = marginal_distances(real, made, [COLOUR, AGE, INCOME])
    assert list(found) == ["colour", "age", "income"]
    # shares 1/2, 1/4, 1/4 missing, 0 of violet against 1/3, 0, 1/3, 1/3
    assert found["colour"] == pytest.approx((1 / 6 + 1 / 4 + 1 / 12 + 1 / 3) / 2)
    assert found["age"] == pytest.approx(1 / 3)  # below 9: all against two of three
    assert found["income"] == pytest.approx(0.5)  # half is missing against none
    assert marginal_distances(real, real, [COLOUR, AGE, INCOME]) == {"colour": 0, "age": 0, "income": 0}
    assert marginal_distances({"income": ["", "1"]}, {"income": ["2", "2"]}, [INCOME]) == {"income": 1}
    assert marginal_distances({"age": ["1"]}, {"age": ["2"]}, [AGE]) == {"age": 1}


def test_kolmogorov_smirnov_is_scipys() -> None:
    random = np.random.default_rng(0)
    real, made = random.normal(size=300).round(1), random.normal(0.3, 1.5, size=200).round(1)
    tables = [{"age": list(map(str, values))} for values in (real, made)]
    found = marginal_distances(tables[0], tables[1], [AGE])["age"]
    assert found == pytest.approx(ks_2samp(real, made).statistic)


def test_nothing_to_compare() -> None:
    with pytest.raises(ZerosumError, match="column 'age': there are no rows"):
        marginal_distances({"age": ["1"]}, {"age": []}, [AGE])
    with pytest.raises(ZerosumError, match=r"\(1, 2\) and \(5, 2\) cannot be compared"):
        correlation_error(torch.zeros(1, 2), torch.zeros(5, 2))
    with pytest.raises(ZerosumError, match="cannot be compared"):
        correlation_error(torch.zeros(5, 3), torch.zeros(5, 2))


def test_correlations_by_hand() -> None:
    x, y = torch.tensor([[1.0, 1, -1, -1], [1.0, -1, 1, -1]])
    constant = torch.full((4,), 0.1)
    real = torch.stack([x, x, y, constant], 1)
    made = torch.stack([x, -3 * x + 7, x, x], 1)
    # pairs: 1 and -1; 0 and 1; 0 and 1; 0 and -1; 0 and -1; 0 and 1
    assert correlation_error(real, made) == pytest.approx((2 + 1 + 1 + 1 + 1 + 1) / 6)
    assert correlation_error(real, real.flip(0)) == 0
    x = torch.linspace(-1, 1, 1001)
    constant = torch.stack([x, torch.full_like(x, 0.1), torch.full_like(x, 0.7)], 1)
    assert correlation_error(constant, torch.stack([x, x, -x], 1)) == pytest.approx(1, rel=1e-9)
    assert correlation_error(real[:, :1], made[:, :1]) == 0


def test_correlation_error_is_numpys() -> None:
    torch.manual_seed(0)
    real, made = torch.randn(500, 4) @ torch.randn(4, 4), torch.randn(300, 4)
    left, right = np.corrcoef(real.T.numpy()), np.corrcoef(made.T.numpy())
    expected = np.abs(left - right)[np.triu_indices(4, 1)].mean()
    assert correlation_error(real, made) == pytest.approx(expected, rel=1e-5)
