"""Total cost that `assignment.rs` is held against. Needs NumPy and SciPy."""

import numpy as np
from scipy.optimize import linear_sum_assignment

i, j = np.arange(40)[:, None], np.arange(55)[None, :]
cost = ((7 * i + 3) * (11 * j + 5) % 101) / 101.0
for c in (cost, cost.T):
    rows, columns = linear_sum_assignment(c)
    print(repr(c[rows, columns].sum()))
