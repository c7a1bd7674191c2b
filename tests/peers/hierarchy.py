"""Reconciled means, computed densely with numpy by the published formulas.

The tests in client/src/forecast/hierarchy hold the numbers as literals. Errors and base means are made here and there by
the same integer generator, so no data travel. S, W and their inverses are written out in full, as in Wickramasuriya,
Athanasopoulos and Hyndman (2019); the shrinkage goes over all pairs of nodes, as in Schäfer and Strimmer (2005).

    python3 -m venv /somewhere && /somewhere/bin/pip install numpy==2.4.6
    /somewhere/bin/python tests/peers/hierarchy.py
"""

import numpy as np


def uniforms(seed):
    while True:
        seed = (1103515245 * seed + 12345) % 2**31
        yield seed / 2**31


def summing(categories):
    """S: products first, then categories, then the shop; categories[i] is product i's."""
    n, k = len(categories), max(categories) + 1
    s = np.vstack([np.eye(n), np.zeros((k, n)), np.ones((1, n))])
    for product, category in enumerate(categories):
        s[n + category, product] = 1
    return s


def errors(nodes, steps, seed):
    """Eighths, with a part that all nodes of a step share."""
    u = uniforms(seed)
    out = np.zeros((nodes, steps))
    for t in range(steps):
        common = next(u) - 0.5
        for i in range(nodes):
            out[i, t] = int(8 * (1 + i % 5) * (common + 2 * (next(u) - 0.5))) / 8
    return out


def base(nodes, products, seed):
    u = uniforms(seed)
    return np.array([int(80 * next(u)) / 8 + (30 if i >= products else 2) for i in range(nodes)])


def shrunk(e):
    n, t = e.shape
    cov = e @ e.T / t
    d = np.sqrt(np.diag(cov))
    x = e / d[:, None]
    r = x @ x.T / t
    over = under = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                w = x[i] * x[j]
                over += (np.sum(w**2) - np.sum(w) ** 2 / t) / (t * (t - 1))
                under += r[i, j] ** 2
    lam = min(1.0, max(0.0, over / under))
    return lam, lam * np.diag(np.diag(cov)) + (1 - lam) * cov


def reconcile(s, w, y):
    inverse = np.linalg.inv(w)
    return s @ np.linalg.solve(s.T @ inverse @ s, s.T @ inverse @ y)


def show(name, values):
    print(f"{name}: [{', '.join(f'{v:.12g}' for v in np.atleast_1d(values))}]")


categories = [0, 0, 1, 1, 1, 2]
s = summing(categories)
y, e = base(10, 6, 5), errors(10, 30, 9)
lam, w = shrunk(e)
print("six products, three categories")
show(" base", y)
show(" lambda", lam)
show(" shrunk", reconcile(s, w, y))
show(" variance", reconcile(s, np.diag(np.diag(e @ e.T / 30)), y))
show(" structural", reconcile(s, np.diag(s.sum(axis=1)), y))
show(" least squares", reconcile(s, np.eye(10), y))

print("forty-five products, five categories, thirty errors: the sample covariance has no inverse")
categories = [i % 5 for i in range(45)]
s = summing(categories)
y, e = base(51, 45, 6), errors(51, 30, 10)
lam, w = shrunk(e)
show(" lambda", lam)
out = reconcile(s, w, y)
show(" first five products", out[:5])
show(" totals", out[45:])
