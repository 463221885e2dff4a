"""log10 P(a X + b Y >= x), X and Y gamma of one whole shape n: what `two_gammas_at_least` is held to.

    python crates/filiation-stats/tests/reference/two_gammas.py

By the partial fractions of the generating function: a sum of n exponentials of scale a and n of
scale b is a finite mixture of gammas, with coefficients that alternate; mpmath at 400 digits.
"""

import mpmath

mpmath.mp.dps = 400


def tail(n: int, a: float, b: float, x: float) -> mpmath.mpf:
    # (1 - a t)^-n (1 - b t)^-n = sum_j A_j (1 - a t)^-j + B_j (1 - b t)^-j.
    a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)

    def side(a, b):
        total = mpmath.mpf(0)
        for j in range(1, n + 1):
            k = n - j
            coefficient = (
                mpmath.binomial(n + k - 1, k) * (a / (a - b)) ** n * (-b / (a - b)) ** k
            )
            total += coefficient * mpmath.gammainc(j, x / a, mpmath.inf, regularized=True)
        return total

    return side(a, b) + side(b, a)


for n, a, b, x in [
    (1, 0.9, 0.1, 3.0),
    (2, 0.7, 0.3, 9.0),
    (50, 0.9, 0.1, 40.0),
    (50, 0.9, 0.1, 85.0),
    (50, 0.9, 0.1, 150.0),
    (50, 0.8, 0.2, 200.0),
    (300, 0.9, 0.1, 300.0),
    (300, 0.9, 0.1, 450.0),
]:
    print((float(n), a, b, x), mpmath.nstr(mpmath.log10(tail(n, a, b, x)), 17))
