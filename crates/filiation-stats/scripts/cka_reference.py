"""Unbiased linear CKA that `cka.rs` is held against, by the definition: HSIC as the average of
its kernel over ordered 4-tuples of distinct items (Song et al., JMLR 13, 2012). Needs NumPy."""

from itertools import permutations

import numpy as np

x = np.array([[(i * 7 + j * 3) % 11 - 5.0 + (i * i + j) % 5 / 4 for j in range(4)] for i in range(9)])
y = np.array([[(i * 5 + j * 8) % 13 - 6.0 + (i + j * j * i) % 7 / 8 for j in range(3)] for i in range(9)])


def hsic(k, l):
    total = count = 0
    for a, b, c, d in permutations(range(len(k)), 4):
        total += k[a, b] * (l[a, b] + l[c, d] - 2 * l[a, c])
        count += 1
    return total / count


k, l = x @ x.T, y @ y.T
print(repr(hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))))
