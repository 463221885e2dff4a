"""Tails of the sum of 2,000 ranks uniform over 0..9, by exact whole-number arithmetic."""

from decimal import Decimal, getcontext

getcontext().prec = 60
ways = [1]
for _ in range(2000):
    running, following = 0, []
    for i in range(len(ways) + 9):
        running += ways[i] if i < len(ways) else 0
        running -= ways[i - 10] if i >= 10 else 0
        following.append(running)
    ways = following
total = Decimal(10) ** 2000
for at_least in (8_000, 9_000, 9_600, 16_000):
    print(at_least, repr(float((Decimal(sum(ways[at_least:])) / total).log10())))
