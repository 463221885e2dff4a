"""Reference values for src/nnls.rs, src/shrinkage.rs and src/poisson_binomial.rs.

Needs scipy, scikit-learn and mpmath.
    python crates/filiation-stats/scripts/displacement_reference.py
"""

import mpmath as mp
import numpy as np
from scipy.optimize import nnls
from sklearn.covariance import LedoitWolf

mp.mp.dps = 60


def sequence(n):
    """Numbers in [-0.5, 0.5) that any language computes alike."""
    state, out = 12345, []
    for _ in range(n):
        state = (1103515245 * state + 12345) % 2**31
        out.append(state / 2**31 - 0.5)
    return np.array(out)


numbers = sequence(400)
print("nnls")
for rows, columns in [(12, 5), (8, 8), (30, 4)]:
    a = numbers[: rows * columns].reshape(rows, columns)
    b = numbers[-rows:]
    x, residual = nnls(a, b)
    print(rows, columns, [float(v) for v in x], float(residual))

print("ledoit-wolf")
for samples, features in [(4, 50), (10, 30), (40, 5)]:
    z = numbers[: samples * features].reshape(samples, features)
    # One feature varies more, so that there is something to see.
    z = z * np.where(np.arange(features) == 1, 5.0, 1.0)
    fit = LedoitWolf().fit(z)
    u, v = numbers[200 : 200 + features], numbers[300 : 300 + features]
    print(samples, features, float(fit.shrinkage_), float(u @ np.linalg.solve(fit.covariance_, v)))

print("poisson-binomial")
for k, p in [
    (3, [0.1, 0.2, 0.05, 0.4, 0.25]),
    (1, [0.1, 0.2, 0.05, 0.4, 0.25]),
    (2, [0.999, 0.99, 0.9]),
    (30, [0.01 * (i + 1) for i in range(40)]),
    (200, [1e-4] * 300),
]:
    masses = [mp.mpf(1)]
    for q in map(mp.mpf, p):
        masses = [
            (masses[j] * (1 - q) if j < len(masses) else 0) + (masses[j - 1] * q if j else 0)
            for j in range(len(masses) + 1)
        ]
    print(k, len(p), mp.nstr(mp.log10(mp.fsum(masses[k:])), 17))
