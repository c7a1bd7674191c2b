"""Bundles, thresholds, the finder, the graph, and the offer that they are in."""

import json
import math
import re
from dataclasses import dataclass

from . import Refused, require
from .primitives import agree, digest, is_signed, public_key, sign, u16, u64

PREKEY = "forecastle/secagg/prekey/v1"
OFFER = "forecastle/secagg/offer/v1"


# Pre-keys.


def bundle_message(merchant, identity, index, channel_key, mask_key):
    return merchant.encode() + b"\0" + identity + u64(index) + channel_key + mask_key


def make_bundle(merchant, identity_seed, identity, index, channel_secret, mask_secret):
    channel_key, mask_key = public_key(channel_secret), public_key(mask_secret)
    signature = sign(identity_seed, PREKEY, bundle_message(merchant, identity, index, channel_key, mask_key))
    return {"index": index, "channel_key": channel_key, "mask_key": mask_key, "signature": signature}


def is_weak(key):
    if int.from_bytes(key, "little") >= 2**255 - 19:
        return True
    try:
        agree(b"\x40" * 32, key)
    except Refused:
        return True
    return False


def check_bundle(merchant, identity, bundle):
    channel_key, mask_key = bundle["channel_key"], bundle["mask_key"]
    message = bundle_message(merchant, identity, bundle["index"], channel_key, mask_key)
    require(is_signed(identity, PREKEY, message, bundle["signature"]), "Signature")
    require(channel_key != mask_key and not is_weak(channel_key) and not is_weak(mask_key), "WeakKey")


# Thresholds.


def ln_choose(of, some):
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def hypergeometric(total, marked, drawn, x):
    if x > marked or x > drawn or drawn - x > total - marked:
        return 0.0
    return math.exp(ln_choose(marked, x) + ln_choose(total - marked, drawn - x) - ln_choose(total, drawn))


def bounds(n, a, d, k):
    """The least and the greatest t, or None where the ring may fall apart."""
    if k <= a + d:
        odds = math.log(n * (n - k - 1) / 2) + ln_choose(a + d, k) - ln_choose(n, k)
        if odds >= -41 * math.log(2):
            return None
    colluding, more = k, hypergeometric(n, a, k, k)
    while colluding > 0 and more < 2.0**-41 / n:
        colluding -= 1
        more += hypergeometric(n, a, k, colluding)
    surviving, fewer = 0, hypergeometric(n, n - d, k, 0)
    while surviving < k and fewer < 2.0**-20 / n:
        surviving += 1
        fewer += hypergeometric(n, n - d, k, surviving)
    return max((k + colluding) // 2 + 1, 2), surviving


def find(n, a, d):
    for k in range(2, n - 1, 2):
        between = bounds(n, a, d, k)
        if between and between[0] <= between[1]:
            return k, between[0]
    raise Refused("None")


def check_thresholds(n, m, t, colluders, k):
    """The quorum, and which server is withstood."""
    if k is None:
        require(2 <= n <= 255, "Participants")
    else:
        require(n <= 10_000, "TooMany")
        require(k % 2 == 0 and 2 <= k <= 254 and k + 1 < n, "Neighbours")
    require(1 <= t <= n, "Threshold")
    require(m <= n, "SurvivorsAboveParticipants")
    require(m > colluders, "SurvivorsAllCollude")
    if k is None:
        require(2 * t > n + colluders, "QuorumsMayBeDisjoint")
        require(m >= t, "SurvivorsBelowThreshold")
        return t, "active-server"
    drop_outs, quorum = n - m, (n + colluders) // 2 + 1
    if k > drop_outs + colluders and colluders < t <= k - drop_outs:
        withstands = "active-server"
    else:
        between = bounds(n, colluders, drop_outs, k)
        require(between and between[0] <= t <= between[1] and t <= k, "Degree")
        withstands = "semi-honest-server"
    require(m >= quorum, "SurvivorsBelowThreshold")
    return quorum, withstands


# The graph.


def neighbourhoods(sid, n, k):
    """Each participant's neighbours, in ascending order."""
    everyone = range(1, n + 1)
    if k is None:
        return {u: [v for v in everyone if v != u] for u in everyone}
    ring = sorted(everyone, key=lambda u: digest(b"forecastle/secagg/ring/v1\0" + sid + u16(u)))
    steps = [step for step in range(-(k // 2), k // 2 + 1) if step]
    return {u: sorted(ring[(place + step) % n] for step in steps) for place, u in enumerate(ring)}


def holders(neighbours, u, k):
    return sorted([*neighbours[u], u]) if k is None else neighbours[u]


# The offer.


def whole(bits):
    def read(value):
        require(type(value) is int and 0 <= value < 2**bits, "Malformed")
        return value

    return read


def real(value):
    require(type(value) in (int, float), "Malformed")
    try:
        value = float(value)
    except OverflowError:
        raise Refused("Malformed") from None
    require(math.isfinite(value), "Malformed")
    return value


def text(value):
    require(type(value) is str and not re.search("[\ud800-\udfff]", value), "Malformed")
    return value


def name(value):
    require(type(value) is str and re.fullmatch("[a-z0-9-]{1,64}", value), "Malformed")
    return value


def octets(length):
    def read(value):
        require(type(value) is str and re.fullmatch("[0-9a-fA-F]{%d}" % (2 * length), value), "Malformed")
        return bytes.fromhex(value)

    return read


def fields(of, optional=()):
    def read(value):
        require(type(value) is dict and set(of) - set(optional) <= set(value) <= set(of), "Malformed")
        return {key: read(value[key]) for key, read in of.items() if value.get(key) is not None or key not in optional}

    return read


def variance(value):
    value = fields({"numerator": whole(64), "denominator": whole(64)})(value)
    a, b = value["numerator"], value["denominator"]
    require(a > 0 and b > 0 and 2 * a * b * (math.isqrt(a // b) + 1) ** 2 < 2**96, "Malformed")
    return value


TERMS = {
    "federation": text,
    "run": whole(64),
    "round": whole(64),
    "model_version": whole(64),
    "model_sha256": octets(32),
    "layout_sha256": octets(32),
    "dimension": whole(32),
    "bits": whole(8),
    "units_per_clip": whole(64),
    "clip": real,
    "sigma_total": real,
    "variance_local": variance,
    "survivors_min": whole(16),
    "threshold": whole(16),
    "neighbours": whole(16),
    "colluders_assumed": whole(16),
    "plan_sha256": octets(32),
    "deadline_ms": whole(64),
    "ledger_size": whole(64),
    "ledger_root": octets(32),
}
BUNDLE = {"index": whole(64), "channel_key": octets(32), "mask_key": octets(32), "signature": octets(64)}
ENTRY = {"merchant": name, "identity": octets(32), "bundle": fields(BUNDLE)}


def roster(value):
    require(type(value) is list, "Malformed")
    return [fields(ENTRY)(entry) for entry in value]


SHAPE = fields({"version": whole(16), "terms": fields(TERMS, optional=["neighbours"]), "roster": roster})


def write_offer(terms, entries):
    """The offer's bytes, as the server of this project writes them."""
    plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in terms.items()}
    terms = {key: plain[key] for key in TERMS if key in plain}
    offer = {"version": 1, "terms": terms, "roster": entries}
    as_text = json.dumps(offer, separators=(",", ":"), ensure_ascii=False, default=lambda value: value.hex())
    return as_text.encode()


def once(pairs):
    require(len({key for key, _ in pairs}) == len(pairs), "Malformed")
    return dict(pairs)


def no_constant(_):
    raise Refused("Malformed")


def integer(digits):
    # A sign makes it a number that is not whole.
    return float(digits) if digits.startswith("-") else int(digits)


@dataclass
class Offer:
    sid: bytes
    terms: dict
    roster: list
    quorum: int
    neighbours: dict

    def entry(self, participant):
        return self.roster[participant - 1]

    def holders(self, participant):
        return holders(self.neighbours, participant, self.terms.get("neighbours"))


def prefixed(prefix, check, *arguments):
    try:
        return check(*arguments)
    except Refused as refused:
        raise Refused(f"{prefix}.{refused}") from None


def open_offer(data, signature, federation):
    require(len(data) <= 8_388_608, "TooLong")
    require(is_signed(federation, OFFER, data, signature), "Signature")
    try:
        offer = SHAPE(json.loads(data.decode(), object_pairs_hook=once, parse_int=integer, parse_constant=no_constant))
    except (ValueError, RecursionError):
        raise Refused("Malformed") from None
    require(offer["version"] == 1, "Version")
    terms, entries = offer["terms"], offer["roster"]
    require(1 <= len(terms["federation"].encode()) <= 128, "FederationName")
    n, m, colluders, k = len(entries), terms["survivors_min"], terms["colluders_assumed"], terms.get("neighbours")
    quorum, _ = prefixed("Threshold", check_thresholds, n, m, terms["threshold"], colluders, k)
    check_grid(terms)
    share = terms["variance_local"]["numerator"] / terms["variance_local"]["denominator"]
    reached = math.sqrt((m - colluders) * share) / terms["units_per_clip"]
    require(terms["sigma_total"] > 0 and reached >= terms["sigma_total"] * (1 - 1e-12), "NoiseShortfall")
    check_distinct(entries)
    for entry in entries:
        prefixed("Bundle", check_bundle, entry["merchant"], entry["identity"], entry["bundle"])
    sid = digest(data)
    return Offer(sid, terms, entries, quorum, neighbourhoods(sid, n, k))


def check_grid(terms):
    require(1 <= terms["dimension"] <= 2**28, "Grid.Dimension")
    require(8 <= terms["bits"] <= 62, "Grid.Bits")
    require(1 <= terms["units_per_clip"] <= 2**40, "Grid.UnitsPerClip")
    clip = terms["clip"]
    require(clip > 0, "Grid.Clip")
    scale = terms["units_per_clip"] / clip
    require(2.0**-1022 <= scale < math.inf, "Grid.Clip")


def check_distinct(entries):
    names, identities, keys = set(), set(), set()
    for entry in entries:
        require(entry["merchant"] not in names, "Duplicate.name")
        require(entry["identity"] not in identities, "Duplicate.identity key")
        names.add(entry["merchant"])
        identities.add(entry["identity"])
        for key in (entry["bundle"]["channel_key"], entry["bundle"]["mask_key"]):
            require(key not in keys, "Duplicate.pre-key")
            keys.add(key)
