"""Sets of participants, and the seven messages."""

from . import Refused, require
from .primitives import digest, u16, u64

HIGHEST = 10_000


def encode_set(members):
    length = max([32] + [p // 8 + 1 for p in members])
    out = bytearray(length)
    for p in members:
        out[p // 8] |= 1 << (p % 8)
    return bytes(out)


def decode_set(data):
    require(32 <= len(data) <= 1251, "NotASet")
    require(len(data) == 32 or data[-1] != 0, "NotASet")
    members = [p for p in range(8 * len(data)) if data[p // 8] >> (p % 8) & 1]
    require(not members or (members[0] > 0 and members[-1] <= HIGHEST), "NotASet")
    return members


def set_digest(members):
    return digest(b"forecastle/participant-set/v1\0" + encode_set(members))


class Reader:
    def __init__(self, data):
        self.rest = data

    def take(self, length):
        require(len(self.rest) >= length, "Length")
        head, self.rest = self.rest[:length], self.rest[length:]
        return head

    def number(self, width=2):
        return int.from_bytes(self.take(width), "big")

    def set(self):
        try:
            return decode_set(self.take(self.number()))
        except Refused as refused:
            raise Refused("List" if str(refused) == "NotASet" else str(refused)) from None

    def list(self, item):
        items, last = {}, 0
        for _ in range(self.number()):
            participant = self.number()
            require(last < participant <= HIGHEST, "List")
            items[participant] = item(self)
            last = participant
        return items

    def share(self):
        kind = self.number(1)
        require(kind in (1, 2), "List")
        return kind, self.take(32)


def raw(length):
    return (lambda reader: reader.take(length)), (lambda value: value)


def listed(read, write):
    def written(items):
        return u16(len(items)) + b"".join(u16(p) + write(items[p]) for p in sorted(items))

    return (lambda reader: reader.list(read)), written


SET = (Reader.set, lambda members: u16(len(encode_set(members))) + encode_set(members))
SEALED, SIGNATURES = listed(*raw(96)), listed(*raw(64))
SHARES = listed(Reader.share, lambda share: bytes([share[0]]) + share[1])

# Tag and fields of each kind: how they are read, how they are written.
KINDS = {
    "share-keys": (1, {"commitment": raw(32), "sealed": SEALED}),
    "delivered-shares": (2, {"sharers": SET, "sealed": SEALED}),
    "masked-update-header": (
        3,
        {"length": ((lambda reader: reader.number(8)), u64), "sha256": raw(32), "sharers_signature": raw(64)},
    ),
    "survivor-set": (4, {"survivors": SET}),
    "consistency-signature": (5, {"signature": raw(64)}),
    "unmask-request": (
        6,
        {
            "reveal_self_masks": SET,
            "reveal_mask_keys": SET,
            "signatures": SIGNATURES,
            "sharers_signatures": SIGNATURES,
        },
    ),
    "unmask-response": (7, {"shares": SHARES}),
}


def encode(kind, message):
    tag, fields = KINDS[kind]
    return bytes([tag]) + message["sid"] + b"".join(write(message[name]) for name, (_, write) in fields.items())


def decode(kind, data):
    tag, fields = KINDS[kind]
    reader = Reader(data)
    require(reader.number(1) == tag, "Tag")
    message = {"sid": reader.take(32)}
    for name, (read, _) in fields.items():
        message[name] = read(reader)
    require(not reader.rest, "Length")
    return message
