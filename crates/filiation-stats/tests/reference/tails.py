"""Reference values for src/tails/tests.rs, src/quantile.rs, src/power.rs and src/rank.rs.

Needs scipy and mpmath. mpmath evaluates the same integrals and sums with 60 digits, so the
log10 tails below the smallest double are reference values as well.
    python crates/filiation-stats/tests/reference/tails.py
"""

import mpmath as mp
from scipy import stats

mp.mp.dps = 60


def binomial(k, n, p):
    p = mp.mpf(p)
    return mp.log10(mp.fsum(mp.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)))


def hypergeometric(k, total, marked, drawn):
    terms = (mp.binomial(marked, j) * mp.binomial(total - marked, drawn - j) for j in range(k, min(drawn, marked) + 1))
    return mp.log10(mp.fsum(terms) / mp.binomial(total, drawn))


def gamma(x, a):
    return mp.log10(mp.gammainc(mp.mpf(a), mp.mpf(x), mp.inf, regularized=True))


def normal(z):
    return mp.log10(mp.erfc(mp.mpf(z) / mp.sqrt(2)) / 2)


def student(t, nu):
    t, nu = mp.mpf(t), mp.mpf(nu)
    x = nu / (nu + t * t)
    half = mp.betainc(nu / 2, mp.mpf(1) / 2, 0, x, regularized=True) / 2
    return mp.log10(half if t > 0 else 1 - half)


def show(name, *args, value):
    print(f"{name}{args} = {mp.nstr(value, 17)}")


for k, n, p in [(1, 10, 0.5), (5, 10, 0.5), (3, 1000, 0.25), (900, 1000, 0.01), (1, 2000, 1e-9), (260, 1000, 0.25)]:
    show("binomial", k, n, p, value=binomial(k, n, p))
for k, total, marked, drawn in [(1, 20, 5, 4), (2, 50, 10, 30), (40, 100, 50, 40), (12, 1000, 60, 200)]:
    show("hypergeometric", k, total, marked, drawn, value=hypergeometric(k, total, marked, drawn))
for x, a in [(0.1, 0.5), (3, 2.5), (50, 60), (2000, 1.5), (1e4, 10), (99000, 1e5)]:
    show("gamma", x, a, value=gamma(x, a))
for z in [-8, -1, 0, 1.5, 5, 38, 40, 120]:
    show("normal", z, value=normal(z))
for t, nu in [(0.5, 3), (-2, 7), (4, 1), (50, 30), (1000, 200), (1e8, 100), (3, 1e6), (-1e-3, 5), (30, 5000)]:
    show("student", t, nu, value=student(t, nu))
for x, nu in [(1, 1), (700, 10), (5000, 40)]:
    show("chi_square", x, nu, value=gamma(mp.mpf(x) / 2, mp.mpf(nu) / 2))

print("scipy: log10 of the same, where it has them")
print(stats.binom.logsf(259, 1000, 0.25) / mp.log(10), stats.norm.logsf(40) / mp.log(10), stats.t.logsf(4, 1) / mp.log(10))
for q, nu in [(0.99, 9), (0.9, 299), (0.975, 2), (0.5, 4)]:
    print(f"t.ppf({q}, {nu}) = {stats.t.ppf(q, nu):.17g}")
for q in [1e-10, 0.025, 0.5, 0.9999]:
    print(f"norm.ppf({q}) = {stats.norm.ppf(q):.17g}")
for n, effect, size in [(10, 1.0, 0.05), (300, 0.2, 0.01), (50, 0.0, 0.01), (5, 3.0, 0.001)]:
    critical = stats.t.ppf(1 - size, n - 1)
    print(f"power(n={n}, effect={effect}, size={size}) = {stats.nct.sf(critical, n - 1, effect * n**0.5):.12g}")
x = [1.0, 2.5, 3.0, 4.0, 4.0, 6.0, 7.0, 9.0, 9.5, 11.0, 12.0, 2.0]
y = [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 8.0, 7.0, 13.0, 11.0, 0.5]
r = stats.spearmanr(x, y)
print(f"spearman with ties: {r.statistic:.17g} log10 p {mp.log10(r.pvalue)}")
print("spearman exact n=6:", stats.permutation_test(([1, 2, 3, 4, 5, 6],), lambda v: stats.spearmanr(v, [2, 1, 4, 3, 6, 5]).statistic, permutation_type="pairings").pvalue)
print("fisher:", stats.combine_pvalues([0.01, 0.2, 0.5, 1e-9], "fisher"))
print("kstest:", stats.kstest([0.05, 0.11, 0.32, 0.35, 0.48, 0.61, 0.77, 0.79, 0.93, 0.99], "uniform", method="asymp"), stats.kstest([0.5 + i / 200 for i in range(100)], "uniform"))
