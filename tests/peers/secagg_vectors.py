#!/usr/bin/env python3
"""The vectors of secure aggregation, computed again by an implementation in Python. See README.md."""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

from secagg import Refused, require
from secagg.formats import decode, decode_set, encode, encode_set, set_digest
from secagg.offers import (
    OFFER,
    PREKEY,
    bundle_message,
    check_bundle,
    check_thresholds,
    find,
    holders,
    make_bundle,
    neighbourhoods,
    open_offer,
)
from secagg.parties import CONSISTENCY, SHARERS, consistency_message, pair_sign, sharers_message
from secagg.primitives import (
    agree,
    channel_key,
    commitment,
    expand,
    identity_of,
    in_context,
    is_signed,
    open_shares,
    pack,
    packed_length,
    pair_seed,
    plain_shares,
    public_key,
    recover,
    seal,
    self_mask_key,
    share,
    sign,
    u16,
    unpack,
)
from secagg.rounds import stages_before, whole_round

raw = bytes.fromhex


def prekeys(_, case):
    seed, merchant, index = raw(case["identity_seed"]), case["merchant"], case["index"]
    identity = identity_of(seed)
    bundle = make_bundle(merchant, seed, identity, index, raw(case["channel_secret"]), raw(case["mask_secret"]))
    message = bundle_message(merchant, identity, index, bundle["channel_key"], bundle["mask_key"])
    return {"identity": identity, "signed": in_context(PREKEY, message), "bundle": bundle}


def bundles(_, case):
    bundle = {key: value if key == "index" else raw(value) for key, value in case["bundle"].items()}
    check_bundle(case["merchant"], raw(case["identity"]), bundle)
    return {"accepted": True}


def pair_seeds(_, case):
    secret, other_key = raw(case["own_mask_secret"]), raw(case["other_mask_key"])
    own, other = case["own"], case["other"]
    seed = pair_seed(raw(case["sid"]), secret, own, other_key, other)
    return {"agreed": agree(secret, other_key), "seed": seed, "sign": pair_sign(own, other)}


def self_masks(_, case):
    sid, seed, owner = raw(case["sid"]), raw(case["seed"]), case["owner"]
    return {"key": self_mask_key(sid, seed, owner), "commitment": commitment(sid, seed, owner)}


def sealing(_, case):
    sid, sender, recipient = raw(case["sid"]), case["from"], case["to"]
    secret, other_key = raw(case["from_channel_secret"]), raw(case["to_channel_key"])
    key = channel_key(sid, secret, other_key, sender, recipient)
    plain = plain_shares(sender, recipient, raw(case["mask_key_share"]), raw(case["self_mask_share"]))
    return {
        "agreed": agree(secret, other_key),
        "key": key,
        "associated": sid + u16(sender) + u16(recipient),
        "plain": plain,
        "sealed": seal(key, sid, sender, recipient, plain, raw(case["nonce"])),
    }


def opening(_, case):
    sid, sender, recipient = raw(case["sid"]), case["from"], case["to"]
    key = channel_key(sid, raw(case["to_channel_secret"]), raw(case["from_channel_key"]), sender, recipient)
    of_mask_key, of_self_mask = open_shares(key, sid, sender, recipient, raw(case["sealed"]))
    return {"mask_key_share": of_mask_key, "self_mask_share": of_self_mask}


def offers(given, case):
    offer, seed = given["offer"], raw(given["federation_seed"])
    for old, new in case["replace"]:
        assert old in offer, old
        offer = offer.replace(old, new, 1)
    data = offer.encode()
    signature = raw(case["signature"]) if "signature" in case else sign(seed, OFFER, data)
    federation = raw(case["federation"]) if "federation" in case else identity_of(seed)
    opened = open_offer(data, signature, federation)
    return {
        "federation": federation,
        "signature": signature,
        "sid": opened.sid,
        "participants": len(opened.roster),
        "quorum": opened.quorum,
        "packed_length": packed_length(opened.terms["dimension"], opened.terms["bits"]),
    }


def thresholds(_, case):
    n, m, t, colluders = (case[key] for key in ("participants", "survivors_min", "threshold", "colluders"))
    quorum, withstands = check_thresholds(n, m, t, colluders, case.get("neighbours"))
    return {"quorum": quorum, "withstands": withstands}


def finder(_, case):
    k, t = find(case["participants"], case["colluders"], case["drop_outs"])
    return {"neighbours": k, "threshold": t}


def graphs(_, case):
    k = case.get("neighbours")
    around = neighbourhoods(raw(case["sid"]), case["participants"], k)
    return [{"of": u, "neighbours": around[u], "holders": holders(around, u, k)} for u in case["of"]]


def sharing(_, case):
    coefficients = [raw(row) for row in case["coefficients"]]
    return [share(raw(case["secret"]), coefficients, point) for point in case["points"]]


def recovery(_, case):
    known = case["known"]

    def is_right(secret):
        if "mask_key" in known:
            return public_key(secret) == raw(known["mask_key"])
        return commitment(raw(known["sid"]), secret, known["owner"]) == raw(known["commitment"])

    shares = [(row["point"], raw(row["share"])) for row in case["shares"]]
    secret, wrong = recover(shares, case["threshold"], case["colluders"], is_right)
    return {"secret": secret, "wrong": wrong}


def expansion(_, case):
    return expand(raw(case["key"]), case["bits"], case["first"] + case["count"])[case["first"] :]


def packing(_, case):
    return pack(case["residues"], case["bits"])


def unpacking(_, case):
    return unpack(raw(case["bytes"]), case["bits"], case["dimension"])


def sets(_, case):
    members = decode_set(raw(case["bytes"]))
    assert encode_set(members) == raw(case["bytes"])
    return {"members": members, "digest": set_digest(members)}


def messages(_, case):
    kind, data = case["kind"], raw(case["bytes"])
    message = decode(kind, data)
    assert encode(kind, message) == data
    listed = {"sealed": "sealed", "signatures": "signature", "sharers_signatures": "signature"}
    for name, item in listed.items():
        if name in message:
            message[name] = [{"participant": p, item: value} for p, value in message[name].items()]
    if "shares" in message:
        kinds = {1: "self-mask-seed", 2: "mask-key"}
        message["shares"] = [
            {"subject": p, "secret": kinds[kind], "share": value} for p, (kind, value) in message["shares"].items()
        ]
    return {kind: message}


def statement(case):
    sid, sharers = raw(case["sid"]), case["sharers"]
    if "survivors" in case:
        return CONSISTENCY, consistency_message(sid, sharers, case["survivors"])
    return SHARERS, sharers_message(sid, sharers)


def statements(_, case):
    seed, (context, message) = raw(case["identity_seed"]), statement(case["statement"])
    signature = sign(seed, context, message)
    return {"identity": identity_of(seed), "signed": in_context(context, message), "signature": signature}


def verification(_, case):
    context, message = statement(case["statement"])
    require(is_signed(raw(case["identity"]), context, message, raw(case["signature"])), "BadSignature")
    return {"accepted": True}


def participant_refusals(given, case):
    received, u = [raw(message) for message in case["messages"]], case["participant"]
    # A delivery comes after the keys are shared, and so on.
    played = stages_before(given, received[0][0])
    participant = played.participants[u]
    for message in received:
        if message[0] == 2:
            reply, _ = participant.mask(message, played.residues(u))
        elif message[0] == 4:
            reply = participant.confirm(message)
        else:
            reply = participant.unmask(message)
    return {"reply": reply}


def server_refusals(given, case):
    received, u = [raw(message) for message in case["messages"]], case["from"]
    tag = received[0][0]
    played = stages_before(given, {1: 0, 3: 2, 5: 4, 7: 6}[tag])
    server = played.server
    for message in received:
        if tag == 1:
            server.receive_share_keys(u, message)
        elif tag == 3:
            server.receive_update(u, message, raw(case["upload"]))
        elif tag == 5:
            server.receive_signature(u, message)
        else:
            server.receive_answer(u, message)
    return {"accepted": True}


FILES = {
    "prekeys": prekeys,
    "bundles": bundles,
    "pair-seeds": pair_seeds,
    "self-masks": self_masks,
    "sealing": sealing,
    "opening": opening,
    "offers": offers,
    "thresholds": thresholds,
    "finder": finder,
    "graphs": graphs,
    "sharing": sharing,
    "recovery": recovery,
    "expansion": expansion,
    "packing": packing,
    "unpacking": unpacking,
    "sets": sets,
    "messages": messages,
    "statements": statements,
    "verification": verification,
    "round-complete": whole_round,
    "round-regular": whole_round,
    "participant-refusals": participant_refusals,
    "server-refusals": server_refusals,
}


def as_json(value):
    return json.loads(json.dumps(value, default=lambda octets: octets.hex()))


def difference(found, expected, at=""):
    """Where two values first differ."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        inside = (difference(found[key], expected[key], f"{at}.{key}") for key in expected)
        return next((place for place in inside if place), None)
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        inside = (difference(a, b, f"{at}[{i}]") for i, (a, b) in enumerate(zip(found, expected)))
        return next((place for place in inside if place), None)
    return None if found == expected else f"{at or 'output'}: {found!r} where {expected!r} is expected"


def judge(compute, given, case):
    try:
        found = as_json(compute(given, case["input"]))
    except Refused as refused:
        if "output" in case:
            return f"refused as {refused}"
        return None if str(refused) == case["refused"] else f"refused as {refused}, not as {case['refused']}"
    return difference(found, case["output"]) if "output" in case else f"not refused, against: {case['rule']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(__file__).resolve().parent.parent / "vectors"
    parser.add_argument("--vectors", type=Path, default=folder, help="folder of the vectors")
    arguments = parser.parse_args()
    print(f"cryptography {version('cryptography')}, Python {sys.version.split()[0]}\n")
    print("| file | good | refused |\n|---|---|---|")
    wrong = []
    found = {path.stem for path in arguments.vectors.glob("*.json")}
    if found != FILES.keys():
        wrong.append(f"files: {sorted(found ^ FILES.keys())} are not on both sides")
    for name in sorted(found & FILES.keys()):
        vectors = json.loads((arguments.vectors / f"{name}.json").read_text())
        for case in vectors["cases"]:
            complaint = judge(FILES[name], vectors.get("given"), case)
            if complaint:
                wrong.append(f"{name}: {case['name']}: {complaint}")
        good = sum("output" in case for case in vectors["cases"])
        print(f"| {name} | {good} | {len(vectors['cases']) - good} |", flush=True)
    if wrong:
        sys.exit("disagreement:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
