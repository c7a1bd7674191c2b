"""Training steps of the same network in PyTorch: plain, and private by Opacus.

Writes down the forecaster's network once more (encoder, structural skip left out, day head, quantiles) in the sizes of the
presets and times, alternating in one run, a plain step and DP-SGD steps with one window a privacy unit. See README.md.
"""

import argparse
import statistics
import time
import warnings

import torch
from torch import nn

CONTEXT, HORIZON, PATCH, CHANNELS = 112, 28, 7, 12
ATTRIBUTES, TEXT, QUANTILES = 64, 256, 9
PRESETS = {
    "nano-daily": dict(d=32, layers=2, heads=4, feedforward=128, features=8, hidden=10),
    "small-daily": dict(d=128, layers=4, heads=8, feedforward=512, features=16, hidden=16),
}
CLIP = 0.1


class RmsNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return nn.functional.rms_norm(x, (x.shape[-1],), self.gain, 1e-6)


class Embed(nn.Module):
    """A linear path beside one hidden layer."""

    def __init__(self, width, d):
        super().__init__()
        self.linear = nn.Linear(width, d, bias=False)
        self.hidden = nn.Linear(width, d)
        self.output = nn.Linear(d, d)

    def forward(self, x):
        return self.linear(x) + self.output(nn.functional.gelu(self.hidden(x)))


class Gate(nn.Module):
    def __init__(self, width, d):
        super().__init__()
        self.project = nn.Linear(width, d)

    def forward(self, x):
        return self.project(x)


class Block(nn.Module):
    def __init__(self, d, heads, feedforward, turn):
        super().__init__()
        self.heads, self.turn = heads, turn
        self.attention_norm, self.feedforward_norm = RmsNorm(d), RmsNorm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.attention_output = nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, feedforward), nn.Linear(feedforward, d, bias=False)

    def forward(self, x):
        batch, tokens, d = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, tokens, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = self.turn(qkv[0]), self.turn(qkv[1]), qkv[2]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.attention_output(mixed.transpose(1, 2).reshape(batch, tokens, d))
        return x + self.down(nn.functional.gelu(self.up(self.feedforward_norm(x))))


class Forecaster(nn.Module):
    def __init__(self, d, layers, heads, feedforward, features, hidden):
        super().__init__()
        self.past = Embed(PATCH * (2 + CHANNELS), d)
        self.future = Embed(PATCH * CHANNELS, d)
        self.attributes, self.text = Gate(ATTRIBUTES, d), Gate(TEXT, d)
        self.past_tokens, self.future_tokens = CONTEXT // PATCH, HORIZON // PATCH
        tokens, width = self.past_tokens + self.future_tokens + 2, d // heads
        position = torch.tensor([*range(tokens - 2), 0, 0], dtype=torch.float32)
        angle = position[:, None] * 1000.0 ** (-torch.arange(width // 2) / (width // 2))
        self.cos, self.sin = angle.cos(), angle.sin()
        self.blocks = nn.ModuleList(Block(d, heads, feedforward, self.turn) for _ in range(layers))
        self.final_norm = RmsNorm(d)
        self.codes = nn.Linear(d, PATCH * features)
        self.day = nn.Linear(CHANNELS + features + 2, hidden)
        self.output = nn.Linear(hidden, 2 + QUANTILES - 1)

    def turn(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def forward(self, past, future, attributes, text, skip):
        batch = past.shape[0]
        tokens = [self.past(past), self.future(future), self.attributes(attributes)[:, None], self.text(text)[:, None]]
        x = torch.cat(tokens, 1)
        for block in self.blocks:
            x = block(x)
        x = self.final_norm(x[:, self.past_tokens : self.past_tokens + self.future_tokens])
        codes = self.codes(x).view(batch, HORIZON, -1)
        known = future.view(batch, HORIZON, CHANNELS)
        output = self.output(nn.functional.gelu(self.day(torch.cat([known, codes, skip], -1))))
        spread = (skip[..., 1:] + output[..., 1:2].clamp(-3, 3)).exp()
        gaps = output[..., 2:].clamp(-3, 3).exp()
        half = gaps.shape[-1] // 2
        below, above = -gaps[..., :half].flip(-1).cumsum(-1).flip(-1), gaps[..., half:].cumsum(-1)
        offsets = torch.cat([below, torch.zeros_like(spread), above], -1)
        return (skip[..., :1] + output[..., :1] + spread * offsets).clamp(-10, 10).sinh()


def losses(model, batch):
    """Pinball loss of each window."""
    inputs, target = batch
    error = target[..., None] - model(*inputs)
    levels = torch.linspace(0.1, 0.9, QUANTILES)
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean((1, 2))


def made_up(count):
    random = torch.Generator().manual_seed(1)
    normal = lambda *shape: torch.randn(*shape, generator=random)
    inputs = (
        normal(count, CONTEXT // PATCH, PATCH * (2 + CHANNELS)),
        normal(count, HORIZON // PATCH, PATCH * CHANNELS),
        normal(count, ATTRIBUTES) / ATTRIBUTES**0.5,
        normal(count, TEXT) / TEXT**0.5,
        normal(count, HORIZON, 2) * 0.3,
    )
    return inputs, normal(count, HORIZON).abs()


def plain_step(sizes, batch):
    model = Forecaster(**sizes)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)

    def step():
        optimiser.zero_grad()
        losses(model, batch).mean().backward()
        optimiser.step()

    return step


def private_step(sizes, batch, mode):
    """The sum of clipped gradients by Opacus, without noise: `hooks` keeps them all, `ghost` goes back twice."""
    import opacus

    torch.manual_seed(1)
    model = Forecaster(**sizes)
    opacus.grad_sample.register_grad_sampler(RmsNorm)(rms_norm_sampler)
    if mode == "loop":

        def step():
            total = [torch.zeros_like(p) for p in model.parameters()]
            for loss in losses(model, batch):
                each = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
                factor = (CLIP / sum(g.square().sum() for g in each).sqrt()).clamp(max=1)
                for sum_, g in zip(total, each):
                    sum_ += factor * g
            for p, sum_ in zip(model.parameters(), total):
                p.grad = sum_

        return step, model
    if mode == "hooks":
        wrapped = opacus.GradSampleModule(model, loss_reduction="sum")

        def step():
            wrapped.zero_grad()
            losses(wrapped, batch).sum().backward()
            samples = [p.grad_sample.flatten(1) for p in wrapped.parameters()]
            norms = sum(g.square().sum(1) for g in samples).sqrt()
            factor = (CLIP / norms).clamp(max=1)
            for p in wrapped.parameters():
                p.grad = torch.einsum("n,n...->...", factor, p.grad_sample)
                p.grad_sample = None

        return step, model
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping

    wrapped = GradSampleModuleFastGradientClipping(
        model, max_grad_norm=CLIP, use_ghost_clipping=True, loss_reduction="sum"
    )

    def step():
        each = losses(wrapped, batch)
        each.sum().backward(retain_graph=True)
        wrapped.zero_grad()
        factor = wrapped.get_clipping_coef()
        wrapped.disable_hooks()
        (factor * each).sum().backward()
        wrapped.enable_hooks()

    return step, model


def check(sizes):
    """Both ways of Opacus give what a loop over the windows gives: what is timed works."""
    batch = made_up(6)
    gradients = {}
    for mode in ("loop", "hooks", "ghost"):
        step, model = private_step(sizes, batch, mode)
        step()
        gradients[mode] = torch.cat([p.grad.flatten() for p in model.parameters()])
    for mode in ("hooks", "ghost"):
        error = (gradients[mode] - gradients["loop"]).norm() / gradients["loop"].norm()
        if not error < 1e-4:
            raise SystemExit(f"{mode}: the gradient is another than that of a loop, by {error:.1e}")


def rms_norm_sampler(layer, activations, backprops):
    x = activations[0]
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    return {layer.gain: (backprops * normed).flatten(1, -2).sum(1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--presets", default="nano-daily,small-daily")
    parser.add_argument("--kinds", default="plain,ghost,hooks")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="Full backward hook")
    batch = made_up(arguments.batch)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.batch} windows a step; windows a second")
    for preset in arguments.presets.split(","):
        sizes = PRESETS[preset]
        count = sum(p.numel() for p in Forecaster(**sizes).parameters())
        if set(arguments.kinds.split(",")) - {"plain"}:
            check(sizes)
        steps = {}
        for kind in arguments.kinds.split(","):
            steps[kind] = plain_step(sizes, batch) if kind == "plain" else private_step(sizes, batch, kind)[0]
        times = {kind: [] for kind in steps}
        begin = time.perf_counter()
        while any(len(t) < 5 for t in times.values()) or time.perf_counter() - begin < arguments.seconds * len(steps):
            for kind, step in steps.items():
                start = time.perf_counter()
                step()
                times[kind].append(time.perf_counter() - start)
        rates = {kind: arguments.batch / statistics.median(t[2:] or t) for kind, t in times.items()}
        line = "   ".join(f"{kind} {rate:8.0f}" for kind, rate in rates.items())
        print(f"{preset:<14} {count:>8} parameters   {line}", flush=True)


if __name__ == "__main__":
    main()
