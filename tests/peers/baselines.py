"""Numbers that statsforecast and numpy give for the series of the baselines' tests.

The tests in client/src/forecast/baseline hold them as literals. The three series are made here and there by the same
integer generator, so no data travel.

    python3 -m venv /somewhere && /somewhere/bin/pip install statsforecast==2.1.1
    /somewhere/bin/python tests/peers/baselines.py
"""

import warnings

import numpy as np
from statsforecast.arima import arima, auto_arima_f, predict_arima
from statsforecast.ets import ets_f, forecast_ets
from statsforecast.models import TSB, CrostonClassic, CrostonSBA, Theta

warnings.simplefilter("ignore")
H = 10


def uniforms(seed):
    while True:
        seed = (1103515245 * seed + 12345) % 2**31
        yield seed / 2**31


def weekly():
    """112 days with a weekly pattern and a trend, whole and positive."""
    u = uniforms(7)
    pattern = [0, 2, 4, 6, 8, 20, 15]
    return np.array([40 + t // 10 + pattern[t % 7] + int(10 * next(u)) for t in range(112)], dtype=float)


def intermittent():
    """90 days, most of them without a sale."""
    u = uniforms(11)
    return np.array([1 + int(5 * next(u)) if next(u) < 0.3 else 0 for _ in range(90)], dtype=float)


def autoregressive():
    """120 values of 50 + z with z = 0.6 z before + noise, in eighths."""
    u, z, out = uniforms(3), 0.0, []
    for _ in range(120):
        z = 0.6 * z + 4 * (next(u) + next(u) + next(u) - 1.5)
        out.append(int(8 * (50 + z)) / 8)
    return np.array(out)


def show(name, values):
    print(f"{name}: [{', '.join(f'{v:.9g}' for v in np.atleast_1d(values))}]")


def ets(name, y, model, damped, m):
    fit = ets_f(y, m, model=model, damped=damped)
    print(f"  {name}: {fit['method']} aicc {fit['aicc']:.6f} sigma2 {fit['sigma2']:.6f} par {np.round(fit['par'][:4], 4)}")
    out = forecast_ets(fit, H, level=[80])
    show("   mean", out["mean"])
    show("   hi80", out["hi-80"])


def css(name, y, order, seasonal, mean=True, xreg=None, newxreg=None):
    fit = arima(y, order=order, seasonal={"order": seasonal, "period": 7}, include_mean=mean, xreg=xreg, method="CSS")
    print(f"  {name}: coef {fit['coef']} sigma2 {fit['sigma2']:.6f}")
    mean_, se = predict_arima(fit, H, newxreg)
    show("   mean", mean_)
    show("   se", se)


def ridge(y, x, weights, strength):
    """Weighted ridge with an intercept that costs nothing; columns centred and scaled by the weighted moments."""
    w = weights / weights.sum()
    centre = w @ x
    scale = np.sqrt(w @ (x - centre) ** 2)
    scale[scale < 1e-9] = 1.0
    z, mean = (x - centre) / scale, w @ y
    a = z.T @ (weights[:, None] * z) + strength * np.eye(x.shape[1])
    return mean, centre, scale, np.linalg.solve(a, z.T @ (weights * (y - mean)))


if __name__ == "__main__":
    a, b, c = weekly(), intermittent(), autoregressive()
    for name, y in ("weekly", a), ("intermittent", b), ("autoregressive", c):
        show(f"{name} sum, last", [y.sum(), y[-1]])
    print("# intermittent demand")
    show("croston", CrostonClassic().forecast(y=b, h=1)["mean"])
    show("sba", CrostonSBA().forecast(y=b, h=1)["mean"])
    show("tsb", TSB(alpha_d=0.1, alpha_p=0.1).forecast(y=b, h=1)["mean"])
    print("# theta")
    show("theta weekly", Theta(season_length=7).forecast(y=a, h=H)["mean"])
    show("theta weekly, additive", Theta(season_length=7, decomposition_type="additive").forecast(y=a, h=H)["mean"])
    show("theta autoregressive", Theta(season_length=1).forecast(y=c, h=H)["mean"])
    print("# ets")
    ets("ANN c", c, "ANN", False, 1)
    ets("AAN c", c, "AAN", False, 1)
    ets("AAN damped c", c, "AAN", True, 1)
    ets("ANA a", a, "ANA", False, 7)
    ets("AAA a", a, "AAA", False, 7)
    ets("MNM a", a, "MNM", False, 7)
    ets("MAA a", a, "MAA", False, 7)
    ets("auto a", a, "ZZZ", None, 7)
    ets("auto b", b, "ZZZ", None, 7)
    ets("auto c", c, "ZZZ", None, 1)
    print("# arima, conditional sum of squares")
    css("(1,0,0) c", c, (1, 0, 0), (0, 0, 0))
    css("(2,0,1) c", c, (2, 0, 1), (0, 0, 0))
    css("(0,1,1) c", c, (0, 1, 1), (0, 0, 0), mean=False)
    css("(1,0,1)(0,1,1) a", a, (1, 0, 1), (0, 1, 1), mean=False)
    t = np.arange(1, len(a) + 1, dtype=float)[:, None]
    css("(1,0,0)(1,1,0) drift a", a, (1, 0, 0), (1, 1, 0), mean=False, xreg=t, newxreg=np.arange(113, 113 + H, dtype=float)[:, None])
    for name, y, m in ("a", a, 7), ("b", b, 7), ("c", c, 1):
        fit = auto_arima_f(y, period=m)
        print(f"  auto {name}: {fit['arma']} {fit['coef']} aicc {fit['aicc']:.4f} sigma2 {fit['sigma2']:.5f}")
        fit = auto_arima_f(y, period=m, method="CSS", approximation=False)
        print(f"  auto css {name}: {fit['arma']} {fit['coef']} aicc {fit['aicc']:.4f} sigma2 {fit['sigma2']:.5f}")
    print("# ridge")
    x = np.column_stack([np.arange(112) % 7 == d for d in range(1, 7)] + [np.arange(112) % 28 < 3]).astype(float)
    weights = 0.5 ** ((111 - np.arange(112)) / 56)
    mean, centre, scale, beta = ridge(a, x, weights, 1.0)
    show("ridge fitted, first 7 days", (mean + (x - centre) / scale @ beta)[:7])
