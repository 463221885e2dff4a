"""Multinomial logistic regression that `logistic.rs` is held against. Needs NumPy and scikit-learn.

scikit-learn minimises Σ loss + 1/(2C) Σ w², so that C = 1/(n · penalty)."""

import numpy as np
from sklearn.linear_model import LogisticRegression

x = np.array([[((i * (7 + j) + j * j * 3) % 11) / 4 - 1.25 for j in range(4)] for i in range(30)])
x[x <= -0.9] = 0
y = np.array([(i * i + i // 4) % 3 for i in range(30)])
for penalty in (0.1, 0.002):
    model = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-12, max_iter=100_000)
    print(penalty, model.fit(x, y).predict_log_proba(x[4:5])[0].tolist())
