"""Reference values of `src/anytime`: each formula as its documentation states it, in numpy."""

import numpy as np


def planned_betting(tolerance, values):
    total = squares = wealth = best = 0.0
    for n, x in enumerate(values):
        gain = x - tolerance
        square = (squares + 0.1) / (n + 1)
        stake = (total + 20 * 0.3 * np.sqrt(square)) / (squares + 20 * square * 1.09)
        wealth += np.log1p(min(max(stake, 0), 0.9 / (1 + tolerance)) * gain)
        best = max(best, wealth)
        total, squares = total + gain, squares + gain * gain
    return wealth / np.log(10), best / np.log(10)


def ranks(draws, seen):
    def centred(rank):
        return (2 * rank - draws - 2) / draws

    wealth = []
    for tilt in (0.25, 0.5, 1, 2, 4):
        mean = np.mean([np.exp(tilt * centred(r)) for r in range(1, draws + 2)])
        wealth.append(np.prod([np.exp(tilt * centred(r)) / mean for r in seen]))
    return np.log10(np.mean(wealth))


def rates(hits, expected):
    wealth = []
    for odds in (1.5, 2, 4, 8, 16, 32):
        product = 1.0
        for hit, r in zip(hits, expected):
            q = odds * r / (1 - r + odds * r)
            product *= q / r if hit else (1 - q) / (1 - r)
        wealth.append(product)
    return np.log10(np.mean(wealth))


def categorical(references, tolerance, answers):
    counts = [[0] * len(p) for p in references]
    wealth = 0.0
    for i, a in enumerate(answers):
        p, n = references[i % 2], counts[i % 2]
        q = (n[a] + 0.5 * len(p) * p[a]) / (sum(n) + 0.5 * len(p))
        wealth += np.log(0.5 + 0.5 * q / p[a]) - tolerance
        n[a] += 1
    return wealth / np.log(10)


def composite(rivals, path):
    predicted = sum(np.log((path[:t].count(x) + 0.5) / (t + 1.5)) for t, x in enumerate(path))
    best = max(sum(np.log(p[x]) for x in path) for p in rivals)
    return (predicted - best) / np.log(10)


def two_sample(k, m, n, answers):
    counts, wealth = np.zeros((2, k)), 0.0
    for at in range(0, len(answers) - m - n + 1, m + n):
        block = [answers[at : at + m], answers[at + m : at + m + n]]
        both = counts.sum(axis=0)
        joint = (both + 0.5) / (both.sum() + 0.5 * k)
        strength = ((both > 0).sum() + 1) / 2
        q = (counts + strength * joint) / (counts.sum(axis=1, keepdims=True) + strength)
        mean = (m * q[0] + n * q[1]) / (m + n)
        wealth += sum(np.log(q[s][a] / mean[a]) for s in (0, 1) for a in block[s])
        for s in (0, 1):
            np.add.at(counts[s], block[s], 1)
    return wealth / np.log(10)


def calibrated(p):
    return (1 - p + p * np.log(p)) / (p * np.log(p) ** 2)


def sequence(values, mean):
    x = np.array(values)
    return np.mean([np.prod(1 + f * (mean - x) / (1 - mean)) for f in np.arange(1, 10) / 10])


def upper(values, alpha):
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sequence(values, middle) < 1 / alpha else (low, middle)
    return high


VALUES = [0.3, -0.2, 0.5, 0.1, -0.4, 0.7, -0.6, -0.5]
print("planned betting", *planned_betting(0.05, VALUES[:6]))
print("ranks", ranks(9, [10, 7, 4.5, 9, 10]))
print("rates", rates([1, 0, 1, 1, 1, 0], [0.1, 0.5, 0.02, 0.3, 0.9, 0.2]))
print("categorical", categorical([[0.5, 0.3, 0.2], [0.9, 0.1]], 0.01, [2, 1, 2, 1, 0, 1, 2]))
print("composite", composite([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], [2, 2, 1, 2, 2, 0]))
print("two sample", two_sample(3, 1, 1, [0, 2, 0, 1, 0, 2, 1, 2, 0, 2]))
print("two sample", two_sample(3, 2, 1, [0, 0, 2, 1, 0, 2, 0, 0, 1, 0, 0, 2]))
print("calibrated", calibrated(0.01), calibrated(0.5))
print("sequence", np.log10(sequence(VALUES, 0.4)), upper(VALUES, 0.2))
