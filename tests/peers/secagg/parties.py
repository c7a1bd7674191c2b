"""A participant and a server of one round."""

from . import Refused, require
from .formats import decode, encode, set_digest
from .primitives import (
    apply_mask,
    channel_key,
    commitment,
    digest,
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
    unpack,
)

SHARERS = "forecastle/secagg/sharers/v1"
CONSISTENCY = "forecastle/secagg/consistency/v1"
SELF_MASK, MASK_KEY = 1, 2


def sharers_message(sid, sharers):
    return sid + set_digest(sharers)


def consistency_message(sid, sharers, survivors):
    return sid + set_digest(sharers) + set_digest(survivors)


def pair_sign(own, other):
    return "+" if own < other else "-"


class Participant:
    """`draw(length)` gives random bytes. A method that raises leaves the round."""

    def __init__(self, offer, own, identity_seed, channel_secret, mask_secret, draw):
        self.offer, self.own, self.identity_seed = offer, own, identity_seed
        self.channel_secret, self.mask_secret, self.draw = channel_secret, mask_secret, draw
        self.held, self.answered = {}, None

    def check(self, members, whole):
        require(set(members) <= set(whole), "Strangers")
        require(self.own in members, "LeftOut")
        require(len(members) >= self.offer.terms["survivors_min"], "TooFew")

    def share_keys(self):
        sid, t = self.offer.sid, self.offer.terms["threshold"]
        self.self_mask_seed = self.draw(32)
        self.of_mask_key = [self.draw(32) for _ in range(t - 1)]
        self.of_self_mask = [self.draw(32) for _ in range(t - 1)]
        self.holders, sealed = self.offer.holders(self.own), {}
        self.mask_key_shares, self.self_mask_shares = [], []
        for point, holder in enumerate(self.holders, 1):
            of_mask_key = share(self.mask_secret, self.of_mask_key, point)
            of_self_mask = share(self.self_mask_seed, self.of_self_mask, point)
            self.mask_key_shares.append(of_mask_key)
            self.self_mask_shares.append(of_self_mask)
            shares = of_mask_key, of_self_mask
            if holder == self.own:
                self.held[holder] = shares
                continue
            key = channel_key(
                sid, self.channel_secret, self.offer.entry(holder)["bundle"]["channel_key"], self.own, holder
            )
            plain = plain_shares(self.own, holder, *shares)
            sealed[holder] = seal(key, sid, self.own, holder, plain, self.draw(12))
        committed = commitment(sid, self.self_mask_seed, self.own)
        return encode("share-keys", {"sid": sid, "commitment": committed, "sealed": sealed})

    def mask(self, delivered, residues):
        """Header and bytes of the masked update."""
        sid, bits = self.offer.sid, self.offer.terms["bits"]
        message = decode("delivered-shares", delivered)
        require(message["sid"] == sid, "ForeignRound")
        self.sharers = message["sharers"]
        self.check(self.sharers, range(1, len(self.offer.roster) + 1))
        neighbours = [v for v in self.offer.neighbours[self.own] if v in self.sharers]
        require(list(message["sealed"]) == neighbours, "SharesMismatch")
        self.self_mask_key = self_mask_key(sid, self.self_mask_seed, self.own)
        masks = [(self.self_mask_key, "+")]
        self.pair_masks = []
        for sender, sealed in message["sealed"].items():
            bundle = self.offer.entry(sender)["bundle"]
            key = channel_key(sid, self.channel_secret, bundle["channel_key"], sender, self.own)
            try:
                self.held[sender] = open_shares(key, sid, sender, self.own, sealed)
            except Refused:
                pass  # it holds no share of this sender's
            seed = pair_seed(sid, self.mask_secret, self.own, bundle["mask_key"], sender)
            masks.append((seed, pair_sign(self.own, sender)))
            self.pair_masks.append((sender, pair_sign(self.own, sender), seed))
        for key, direction in masks:
            residues = apply_mask(residues, bits, key, direction)
        self.masked_residues, packed = residues, pack(residues, bits)
        header = {
            "sid": sid,
            "length": len(packed),
            "sha256": digest(packed),
            "sharers_signature": sign(self.identity_seed, SHARERS, sharers_message(sid, self.sharers)),
        }
        return encode("masked-update-header", header), packed

    def confirm(self, survivor_set):
        sid = self.offer.sid
        message = decode("survivor-set", survivor_set)
        require(message["sid"] == sid, "ForeignRound")
        self.survivors = message["survivors"]
        self.check(self.survivors, self.sharers)
        statement = consistency_message(sid, self.sharers, self.survivors)
        return encode(
            "consistency-signature", {"sid": sid, "signature": sign(self.identity_seed, CONSISTENCY, statement)}
        )

    def unmask(self, request):
        if self.answered:
            require(self.answered[0] == request, "SecondRequest")
            return self.answered[1]
        sid, sharers, survivors = self.offer.sid, self.sharers, self.survivors
        message = decode("unmask-request", request)
        require(message["sid"] == sid, "ForeignRound")
        require(not set(message["reveal_self_masks"]) & set(message["reveal_mask_keys"]), "BothSecrets")
        dropped = [v for v in sharers if v not in survivors]
        require((message["reveal_self_masks"], message["reveal_mask_keys"]) == (survivors, dropped), "OtherSets")
        require(set(message["signatures"]) <= set(survivors), "Strangers")
        require(len(message["signatures"]) >= self.offer.quorum, "TooFew")
        statement = consistency_message(sid, sharers, survivors)
        for signer, signature in message["signatures"].items():
            identity = self.offer.entry(signer)["identity"]
            require(is_signed(identity, CONSISTENCY, statement, signature), "ConsistencyForged")
        statement = sharers_message(sid, sharers)
        for subject in sorted(self.held):
            if subject != self.own and subject in survivors:
                signature = message["sharers_signatures"].get(subject)
                identity = self.offer.entry(subject)["identity"]
                require(signature and is_signed(identity, SHARERS, statement, signature), "OtherSharers")
        shares = {
            subject: (SELF_MASK, of_self_mask) if subject in survivors else (MASK_KEY, of_mask_key)
            for subject, (of_mask_key, of_self_mask) in self.held.items()
        }
        self.answered = request, encode("unmask-response", {"sid": sid, "shares": shares})
        return self.answered[1]


class Server:
    def __init__(self, offer):
        self.offer = offer
        self.share_keys, self.updates, self.signatures, self.answers = {}, {}, {}, {}

    def check(self, message, sender, expected):
        require(sender in expected, "NotExpected")
        require(message["sid"] == self.offer.sid, "ForeignRound")

    def once(self, kept, sender, message):
        require(kept.get(sender, message) == message, "Equivocation")
        kept[sender] = message

    def receive_share_keys(self, sender, data):
        message = decode("share-keys", data)
        self.check(message, sender, range(1, len(self.offer.roster) + 1))
        require(list(message["sealed"]) == self.offer.neighbours[sender], "WrongRecipients")
        self.once(self.share_keys, sender, message)

    def sharers(self):
        return sorted(self.share_keys)

    def deliver(self, to):
        senders = [v for v in self.offer.neighbours[to] if v in self.share_keys]
        sealed = {v: self.share_keys[v]["sealed"][to] for v in senders}
        return encode("delivered-shares", {"sid": self.offer.sid, "sharers": self.sharers(), "sealed": sealed})

    def receive_update(self, sender, header, data):
        terms, message = self.offer.terms, decode("masked-update-header", header)
        self.check(message, sender, self.sharers())
        require(message["length"] == packed_length(terms["dimension"], terms["bits"]), "UploadLength")
        statement = sharers_message(self.offer.sid, self.sharers())
        identity = self.offer.entry(sender)["identity"]
        require(is_signed(identity, SHARERS, statement, message["sharers_signature"]), "OtherSharers")
        kept = self.updates.get(sender)
        require(kept is None or kept[0]["sha256"] == message["sha256"], "Equivocation")
        require(len(data) <= message["length"], "UploadGap")
        require(len(data) == message["length"], "UploadIncomplete")
        require(digest(data) == message["sha256"], "UploadDigest")
        try:
            residues = unpack(data, terms["bits"], terms["dimension"])
        except Refused:
            raise Refused("UploadDigest") from None
        self.updates.setdefault(sender, (message, residues))

    def survivors(self):
        return sorted(self.updates)

    def survivor_set(self):
        return encode("survivor-set", {"sid": self.offer.sid, "survivors": self.survivors()})

    def receive_signature(self, sender, data):
        message = decode("consistency-signature", data)
        self.check(message, sender, self.survivors())
        statement = consistency_message(self.offer.sid, self.sharers(), self.survivors())
        identity = self.offer.entry(sender)["identity"]
        require(is_signed(identity, CONSISTENCY, statement, message["signature"]), "ConsistencyForged")
        self.signatures.setdefault(sender, message["signature"])

    def request(self, to):
        signers = sorted(self.signatures)[: self.offer.quorum]
        of_survivors = [v for v in self.offer.neighbours[to] if v in self.updates]
        message = {
            "sid": self.offer.sid,
            "reveal_self_masks": self.survivors(),
            "reveal_mask_keys": [v for v in self.sharers() if v not in self.updates],
            "signatures": {v: self.signatures[v] for v in signers},
            "sharers_signatures": {v: self.updates[v][0]["sharers_signature"] for v in of_survivors},
        }
        return encode("unmask-request", message)

    def asked(self, subject):
        return SELF_MASK if subject in self.updates else MASK_KEY

    def receive_answer(self, sender, data):
        message = decode("unmask-response", data)
        self.check(message, sender, self.signatures)
        # Holding is mutual.
        held = [v for v in self.offer.holders(sender) if v in self.share_keys]
        as_asked = (v in held and kind == self.asked(v) for v, (kind, _) in message["shares"].items())
        require(all(as_asked), "OtherShares")
        self.once(self.answers, sender, message)

    def secret(self, subject):
        """Of the two secrets of `subject` the one that was asked for."""
        sid, shares = self.offer.sid, []
        for point, holder in enumerate(self.offer.holders(subject), 1):
            opened = self.answers.get(holder, {"shares": {}})["shares"].get(subject)
            if opened:
                shares.append((point, opened[1]))
        if self.asked(subject) == SELF_MASK:
            known = self.share_keys[subject]["commitment"]
            right = lambda seed: commitment(sid, seed, subject) == known
        else:
            known = self.offer.entry(subject)["bundle"]["mask_key"]
            right = lambda key: public_key(key) == known
        return recover(shares, self.offer.terms["threshold"], self.offer.terms["colluders_assumed"], right)[0]

    def sum(self):
        """The recovered secrets, and the sum over the survivors."""
        sid, bits = self.offer.sid, self.offer.terms["bits"]
        total = [sum(column) % 2**bits for column in zip(*(residues for _, residues in self.updates.values()))]
        secrets = {subject: self.secret(subject) for subject in self.sharers()}
        for subject, secret in secrets.items():
            if self.asked(subject) == SELF_MASK:
                total = apply_mask(total, bits, self_mask_key(sid, secret, subject), "-")
                continue
            for survivor in self.offer.neighbours[subject]:
                if survivor in self.updates:
                    other_key = self.offer.entry(survivor)["bundle"]["mask_key"]
                    seed = pair_seed(sid, secret, subject, other_key, survivor)
                    # The survivor added what is now subtracted, or the other way round.
                    total = apply_mask(total, bits, seed, pair_sign(subject, survivor))
        return secrets, total
