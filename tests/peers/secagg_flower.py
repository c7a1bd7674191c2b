#!/usr/bin/env python3
"""Cost of secure aggregation beside Flower's SecAgg+ (PyPI), in one run on the same cores. See README.md."""

import argparse
import copy
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from importlib.metadata import version

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod.secure_aggregation import secaggplus_mod as client_package
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation import secaggplus_workflow as server_code
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

# The package exports a function of the module's name, so the module itself has to be asked for.
client_code = sys.modules[client_package.__module__]

# Flower's defaults, except that every client has the largest weight: 22 bits of it are used then.
CLIPPING_RANGE, QUANTIZATION_RANGE, WEIGHT = 8.0, 1 << 22, 1000

AGREEMENT = ("bytes_to_private_key", "bytes_to_public_key", "generate_shared_key")
SHARES = ("create_shares", "share_keys_plaintext_concat", "encrypt")
MASKS = ("pseudo_rand_gen", "parameters_addition", "parameters_subtraction", "parameters_mod")
# What our masking does as well: the others' shares are opened first, and bytes come out.
AROUND_MASKS = ("decrypt", "share_keys_plaintext_separate", "ndarray_to_bytes")

# How many times faster ours has to be.
GOALS = {"share_keys": 50, "mask": 10, "unmask": 26}


class Clock:
    """Seconds spent in Flower's own functions, by who called them and by function."""

    def __init__(self):
        self.caller = None
        self.seconds = defaultdict(lambda: defaultdict(float))

    def put_into(self, module, names):
        for name in names:
            setattr(module, name, self.timed(name, getattr(module, name)))

    def timed(self, name, function):
        def call(*arguments):
            start = time.perf_counter()
            result = function(*arguments)
            self.seconds[self.caller][name] += time.perf_counter() - start
            return result

        return call

    def spent(self, caller, names):
        return sum(self.seconds[caller][name] for name in names)


class InMemory(Grid):
    """Flower's clients in this process, each with its own state. Some vanish when masked updates are asked for."""

    def __init__(self, clock, updates, dropped):
        self.clock, self.updates, self.dropped = clock, updates, dropped
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in updates}
        self.uploaded = defaultdict(int)

    def send_and_receive(self, messages, *, timeout=None):
        caller, replies = self.clock.caller, []
        for message in messages:
            node = message.metadata.dst_node_id
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            if stage == Stage.COLLECT_MASKED_VECTORS and node in self.dropped:
                continue
            # Several messages may share their content, and clients take things out of it.
            message.content = copy.deepcopy(message.content)
            self.clock.caller = (stage, node)
            reply = client_code.secaggplus_mod(message, self.contexts[node], self.train)
            self.uploaded[node] += size(reply.content.config_records[RECORD_KEY_CONFIGS].values())
            replies.append(reply)
        self.clock.caller = caller
        return replies

    def train(self, message, context):
        """The client's training, which is over at once."""
        parameters = ndarrays_to_parameters([self.updates[context.node_id]])
        result = FitRes(Status(Code.OK, ""), parameters, WEIGHT, {})
        return Message(compat.fitres_to_recorddict(result, keep_input=True), reply_to=message)

    def get_node_ids(self):
        return list(self.updates)

    def set_run(self, run):
        raise NotImplementedError

    run = property(set_run)
    create_message = push_messages = pull_messages = set_run


class Workflow(server_code.SecAggPlusWorkflow):
    """Flower's server, which says when it begins to unmask."""

    clock = None

    def unmask_stage(self, grid, context, state):
        self.clock.caller = Stage.UNMASK
        return super().unmask_stage(grid, context, state)


def size(values):
    """Bytes of byte strings and of the lists of them."""
    nested = (value if isinstance(value, list) else [value] for value in values)
    return sum(len(item) for items in nested for item in items if isinstance(item, bytes))


def theirs(arguments, clock):
    """One round of Flower's server and clients. Returns seconds and bytes, after checking the sum."""
    participants, dimension = arguments.participants, arguments.dimension
    generator = np.random.default_rng(1)
    # 32-bit floats between −1 and 1.
    updates = {
        node: generator.random(dimension, dtype=np.float32) * 2 - 1 for node in range(1, participants + 1)
    }
    dropped = set(range(1, 1 + round(arguments.drop_out * participants)))
    grid = InMemory(clock, updates, dropped)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1

    manager = SimpleClientManager()
    for node in updates:
        manager.register(GridClientProxy(node, grid, 1))
    strategy = FedAvg(fraction_fit=1.0, min_fit_clients=participants, min_available_clients=participants)
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), strategy=strategy, client_manager=manager)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    before = compat.parameters_to_arrayrecord(ndarrays_to_parameters([np.zeros(0)]), keep_input=False)
    context.state.array_records[MAIN_PARAMS_RECORD] = before

    workflow = Workflow(
        arguments.neighbours + 1,
        arguments.threshold,
        max_weight=WEIGHT,
        clipping_range=CLIPPING_RANGE,
        quantization_range=QUANTIZATION_RANGE,
    )
    workflow.clock = clock
    workflow(grid, context)

    after = compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], keep_input=True)
    check(parameters_to_ndarrays(after), [update for node, update in updates.items() if node not in dropped])

    survivors = [node for node in updates if node not in dropped]
    # Of all clients the fastest: what the others took longer was somebody else's.
    least = lambda stage, names: min(clock.spent((stage, node), names) for node in survivors)
    return {
        "share_keys_s": least(Stage.SHARE_KEYS, SHARES + AGREEMENT),
        "share_keys_less_agreements_s": least(Stage.SHARE_KEYS, SHARES),
        "mask_s": least(Stage.COLLECT_MASKED_VECTORS, MASKS + AGREEMENT + AROUND_MASKS),
        "unmask_s": clock.spent(Stage.UNMASK, ("combine_shares",) + MASKS + AGREEMENT),
        "upload_bytes_per_parameter": max(grid.uploaded[node] for node in survivors) / dimension,
    }


def check(found, survivors):
    """Flower's mean is that of the survivors, to one step of its grid: each of them rounds to a neighbouring step."""
    mean = np.mean([update.astype(np.float64) for update in survivors], axis=0)
    if len(found) != 1 or found[0].shape != mean.shape:
        sys.exit("Flower did not unmask: its log is above")
    error = np.abs(found[0] - mean).max()
    step = 2 * CLIPPING_RANGE / QUANTIZATION_RANGE
    print(f"Flower's mean of {len(survivors)} updates is off by {error:.1e} at most, a step of its grid is {step:.1e}")
    if not error <= step:
        sys.exit("Flower's mean is not that of the survivors: what was timed does not work")


def ours(arguments):
    command = [arguments.ours, "--format", "json", "--threads", str(arguments.cores)]
    for name in ("participants", "neighbours", "dimension", "drop_out"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode != 0:
        sys.exit(f"{' '.join(command)}:\n{output.stderr}")
    return json.loads(output.stdout)


def duration(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def table(mine, their):
    """Prints both, and returns the names of the goals that were missed."""
    missed = []
    print("\n| | times faster | goal | ours | theirs |\n|---|---|---|---|---|")
    for name, what in (
        ("share_keys", "one client's shares: agreed, split, encrypted"),
        ("share_keys_less_agreements", "the same without key agreements"),
        ("mask", "one client's update masked"),
        ("unmask", "the server's sum unmasked"),
    ):
        mine_s, their_s, goal = mine[f"{name}_s"], their[f"{name}_s"], GOALS.get(name)
        ratio = their_s / mine_s
        print(f"| {what} | {ratio:.1f} | {goal or ''} | {duration(mine_s)} | {duration(their_s)} |")
        # `not … >=`: a time that is not a number meets no goal.
        if goal and not ratio >= goal:
            missed.append(f"{what}: {ratio:.1f} times instead of {goal}")
    upload = "upload_bytes_per_parameter"
    print(f"| bytes uploaded a parameter | | | {mine[upload]:.3f} | {their[upload]:.3f} |")
    print(f"\nours: keystream {mine['keystream_bytes_per_s'] / 1e9:.2f} GB/s, ", end="")
    print(f"copying {mine['copy_bytes_per_s'] / 1e9:.2f} GB/s on one core")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", default="target/release/examples/secagg_cost", help="release build of our example")
    parser.add_argument("--participants", type=int, default=100)
    parser.add_argument("--neighbours", type=int, default=20, help="of each, even")
    parser.add_argument("--threshold", type=int, help="Flower's shares that reconstruct; by default as many as ours")
    parser.add_argument("--dimension", type=int, default=1_000_000)
    parser.add_argument("--drop-out", type=float, default=0.05, help="share of clients without a masked update")
    parser.add_argument("--cores", type=int, default=1, help="that both may use")
    parser.add_argument("--theirs-only", action="store_true", help="run and print Flower's half alone")
    arguments = parser.parse_args()

    # The same cores for everything, also for processes and threads started from here.
    cores = sorted(os.sched_getaffinity(0), reverse=True)[: arguments.cores]
    if len(cores) < arguments.cores:
        sys.exit(f"this machine has {len(cores)} cores")
    os.sched_setaffinity(0, cores)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    print(f"flwr {version('flwr')}, NumPy {np.__version__}, Python {sys.version.split()[0]}, cores: {cores}")
    print(f"{arguments.participants} clients, {arguments.neighbours} neighbours each, ", end="")
    print(f"{arguments.dimension:,} parameters, {arguments.drop_out:.0%} vanish")

    mine = None if arguments.theirs_only else ours(arguments)
    arguments.threshold = arguments.threshold or (mine or {"threshold": arguments.neighbours * 3 // 4})["threshold"]
    clock = Clock()
    clock.put_into(client_code, SHARES + AGREEMENT + MASKS + AROUND_MASKS)
    clock.put_into(server_code, ("combine_shares",) + AGREEMENT + MASKS)
    their = theirs(arguments, clock)
    if mine is None:
        print(json.dumps(their, indent=2))
        return
    missed = table(mine, their)
    if missed:
        sys.exit("goals missed:\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
