"""Reference values of `src/mmd.rs`.

    python3 -m venv V && V/bin/pip install model-equality-testing==0.0.2 tqdm && V/bin/python mmd_reference.py

The value on `SAMPLE` is that of the published implementation where it is installed, and of the formula in plain Python
in any case. On `SMALL` every way to deal the answers of a prompt out to the two sources is walked through.
"""

from fractions import Fraction
from itertools import combinations, product

SAMPLE = [
    (["red", "blue", "red!", "rod"], ["green", "grey", "red", "gray"]),
    (["one", "two", "", "one"], ["two", "twö", "ten", "one"]),
]
SMALL = [
    (["abc", "abd", "abc"], ["xyz", "abz", "xbz"]),
    (["on", "of"], ["at", "an", "on", "it"]),
]


def longest(prompts):
    return max(len(text) for a, b in prompts for text in a + b)


def kernel(x, y, length):
    pad = lambda text: text + "\0" * (length - len(text))
    return Fraction(sum(p == q for p, q in zip(pad(x), pad(y))), length)


def mmd(a, b, length):
    def within(texts):
        pairs = [(i, j) for i in range(len(texts)) for j in range(len(texts)) if i != j]
        return sum(kernel(texts[i], texts[j], length) for i, j in pairs) / len(pairs)

    across = sum(kernel(x, y, length) for x in a for y in b) / (len(a) * len(b))
    return within(a) + within(b) - 2 * across


def value(prompts, length):
    return sum(mmd(a, b, length) for a, b in prompts) / len(prompts)


def dealt(a, b):
    texts = a + b
    for first in combinations(range(len(texts)), len(a)):
        yield [texts[i] for i in first], [texts[i] for i in range(len(texts)) if i not in first]


def exact(prompts):
    length = longest(prompts)
    observed = value(prompts, length)
    ways = [value(dealing, length) for dealing in product(*(list(dealt(a, b)) for a, b in prompts))]
    return observed, Fraction(sum(way >= observed for way in ways), len(ways)), len(ways)


def published(prompts):
    import numpy as np
    from model_equality_testing.distribution import CompletionSample
    from model_equality_testing.tests import mmd_hamming

    length = longest(prompts)

    def side(which):
        rows = [(i, text) for i, pair in enumerate(prompts) for text in pair[which]]
        codes = np.full((len(rows), length), -1)
        for row, (_, text) in enumerate(rows):
            codes[row, : len(text)] = [ord(c) for c in text]
        return CompletionSample(prompts=np.array([i for i, _ in rows]), completions=codes, m=len(prompts))

    return mmd_hamming(side(0), side(1))


print("sample, formula  ", repr(float(value(SAMPLE, longest(SAMPLE)))))
try:
    print("sample, published", repr(float(published(SAMPLE))))
except ImportError as error:
    print("sample, published:", error)
observed, p, ways = exact(SMALL)
print("small", repr(float(observed)), repr(float(p)), f"of {ways} ways")
