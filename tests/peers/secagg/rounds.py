"""Whole rounds of the vectors: every participant and the server, from seeds to the sum."""

from .offers import OFFER, make_bundle, open_offer, write_offer
from .parties import Participant, Server
from .primitives import identity_of, keystream, sign

raw = bytes.fromhex


class Round:
    """A round of the vectors, played stage by stage."""

    def __init__(self, case):
        self.case, seed = case, raw(case["federation_seed"])
        self.federation, entries, drawn = identity_of(seed), [], []
        for invited in case["invited"]:
            stream, identity_seed = self.randomness(invited), raw(invited["identity_seed"])
            channel_secret, mask_secret = stream(32), stream(32)
            identity, merchant, index = identity_of(identity_seed), invited["merchant"], invited["prekey_index"]
            bundle = make_bundle(merchant, identity_seed, identity, index, channel_secret, mask_secret)
            entries.append({"merchant": merchant, "identity": identity, "bundle": bundle})
            drawn.append((identity_seed, channel_secret, mask_secret, stream))
        self.offer_bytes = write_offer(case["terms"], entries)
        self.offer_signature = sign(seed, OFFER, self.offer_bytes)
        self.offer = open_offer(self.offer_bytes, self.offer_signature, self.federation)
        self.participants = {u: Participant(self.offer, u, *row) for u, row in enumerate(drawn, 1)}
        self.server = Server(self.offer)

    @staticmethod
    def randomness(invited):
        stream, at = keystream(raw(invited["random_seed"]), 1 << 14), 0

        def draw(length):
            nonlocal at
            at += length
            assert at <= len(stream)
            return stream[at - length : at]

        return draw

    def residues(self, u):
        return [units % 2 ** self.offer.terms["bits"] for units in self.case["invited"][u - 1]["update"]]

    def share_keys(self):
        sent = {u: participant.share_keys() for u, participant in self.participants.items()}
        for u in self.case["share_keys"]:
            self.server.receive_share_keys(u, sent[u])
        return sent

    def mask(self):
        sent = {}
        for u in self.case["deliver"]:
            delivered = self.server.deliver(u)
            sent[u] = delivered, *self.participants[u].mask(delivered, self.residues(u))
        for u, (_, header, data) in sent.items():
            self.server.receive_update(u, header, data)
        return sent

    def confirm(self):
        sent = {}
        for u in self.case["deliver"]:
            signature = self.participants[u].confirm(self.server.survivor_set())
            if u in self.case["confirm"]:
                self.server.receive_signature(u, signature)
                sent[u] = signature
        return sent

    def unmask(self):
        requests = {u: self.server.request(u) for u in self.case["confirm"]}
        answers = {u: (request, self.participants[u].unmask(request)) for u, request in requests.items()}
        for u in self.case["answer"]:
            self.server.receive_answer(u, answers[u][1])
        return answers


def whole_round(_, case):
    played = Round(case)
    shared, masked, confirmed, answers = played.share_keys(), played.mask(), played.confirm(), played.unmask()
    secrets, total = played.server.sum()
    participants = []
    for u, participant in played.participants.items():
        entry = played.offer.entry(u)
        told = {
            "participant": u,
            "identity": entry["identity"],
            "bundle": entry["bundle"],
            "channel_secret": participant.channel_secret,
            "mask_secret": participant.mask_secret,
            "self_mask_seed": participant.self_mask_seed,
            "mask_key_coefficients": participant.of_mask_key,
            "self_mask_coefficients": participant.of_self_mask,
            "holders": participant.holders,
            "mask_key_shares": participant.mask_key_shares,
            "self_mask_shares": participant.self_mask_shares,
            "share_keys": shared[u],
        }
        if u in masked:
            delivered, header, data = masked[u]
            told["delivered"] = {
                "delivered_shares": delivered,
                "self_mask_key": participant.self_mask_key,
                "pair_masks": [{"with": v, "sign": way, "seed": seed} for v, way, seed in participant.pair_masks],
                "residues": played.residues(u),
                "masked_residues": participant.masked_residues,
                "masked_update": data,
                "masked_update_header": header,
            }
        if u in confirmed:
            told["consistency_signature"] = confirmed[u]
        if u in answers:
            told["unmasked"] = {"unmask_request": answers[u][0], "unmask_response": answers[u][1]}
        participants.append(told)
    half = 2 ** (played.offer.terms["bits"] - 1)
    survivors = played.server.survivors()
    units = [sum(case["invited"][u - 1]["update"][i] for u in survivors) for i in range(len(total))]
    centred = [residue - 2 * half if residue >= half else residue for residue in total]
    assert units == centred, "the sum is not that of the survivors' updates"
    kind = lambda u: "self-mask-seed" if u in survivors else "mask-key"
    return {
        "federation": played.federation,
        "offer": played.offer_bytes.decode(),
        "offer_signature": played.offer_signature,
        "sid": played.offer.sid,
        "participants": participants,
        "survivor_set": played.server.survivor_set(),
        "recovered": [{"subject": u, "secret": kind(u), "value": secret} for u, secret in secrets.items()],
        "sum_residues": total,
        "sum": centred,
    }


def stages_before(case, tag):
    """The round as it is when a message of this tag arrives."""
    played = Round(case)
    for stage, first in ((played.share_keys, 2), (played.mask, 4), (played.confirm, 6)):
        if tag >= first:
            stage()
    return played
