"""Signatures, derived keys, encrypted shares, secret sharing, masks, packed residues."""

from hashlib import sha256
from itertools import combinations, islice

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import Refused, require


def digest(data):
    return sha256(data).digest()


def u16(number):
    return number.to_bytes(2, "big")


def u64(number):
    return number.to_bytes(8, "big")


# Signatures.


def in_context(context, message):
    return context.encode() + b"\0" + message


def identity_of(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed, context, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(in_context(context, message))


def is_signed(identity, context, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, in_context(context, message))
    except (InvalidSignature, ValueError):
        return False
    return True


# Keys.


def public_key(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret, other):
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # the agreed secret is zero
        raise Refused("LowOrder") from None


def derive(sid, label, secret, a, b):
    info = label.encode() + b"\0" + u16(a) + u16(b)
    return HKDF(SHA256(), 32, salt=sid, info=info).derive(secret)


def pair_seed(sid, own_secret, own, other_key, other):
    shared = agree(own_secret, other_key)
    return derive(sid, "forecastle/secagg/pair-mask/v1", shared, min(own, other), max(own, other))


def self_mask_key(sid, seed, owner):
    return derive(sid, "forecastle/secagg/self-mask/v1", seed, owner, 0)


def commitment(sid, seed, owner):
    return digest(b"forecastle/secagg/commitment/v1\0" + sid + u16(owner) + seed)


# Encrypted shares.


def channel_key(sid, own_secret, other_key, sender, recipient):
    return derive(sid, "forecastle/secagg/shares/v1", agree(own_secret, other_key), sender, recipient)


def plain_shares(sender, recipient, of_mask_key, of_self_mask):
    return u16(sender) + u16(recipient) + of_mask_key + of_self_mask


def seal(key, sid, sender, recipient, plain, nonce):
    return nonce + AESGCM(key).encrypt(nonce, plain, sid + u16(sender) + u16(recipient))


def open_shares(key, sid, sender, recipient, sealed):
    """The shares of the mask key and of the self-mask seed."""
    require(len(sealed) >= 28, "Unreadable")
    try:
        plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], sid + u16(sender) + u16(recipient))
    except InvalidTag:
        raise Refused("Unreadable") from None
    require(len(plain) == 68 and plain[:4] == u16(sender) + u16(recipient), "Unreadable")
    return plain[4:36], plain[36:]


# Secret sharing over GF(2^8).


def multiply(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


PRODUCTS = [bytes(multiply(a, b) for b in range(256)) for a in range(256)]
INVERSES = [0] + [PRODUCTS[a].index(1) for a in range(1, 256)]


def scaled(values, factor):
    return values.translate(PRODUCTS[factor])


def added(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def share(secret, coefficients, point):
    value = bytes(32)
    for row in [*reversed(coefficients), secret]:
        value = added(scaled(value, point), row)
    return value


def interpolate(shares, at):
    """The value at `at` of the polynomials through `shares`, pairs of point and share."""
    value = bytes(32)
    for point, row in shares:
        factor = 1
        for other, _ in shares:
            if other != point:
                factor = PRODUCTS[factor][PRODUCTS[at ^ other][INVERSES[point ^ other]]]
        value = added(value, scaled(row, factor))
    return value


def chosen(count, t):
    """Which shares are tried together."""
    for start in range(count - t + 1):
        yield range(start, start + t)
    for more in (1, 2):
        if count >= t + more:
            for out in combinations(range(t + more), more):
                # The first t + 1 without the last one are the first window, tried already.
                if out != (t,):
                    yield [i for i in range(t + more) if i not in out]


def recover(shares, t, colluders, is_right):
    """The secret, and the points of shares that are certainly wrong."""
    require(len(shares) >= t, "Nothing")
    for attempt, subset in enumerate(islice(chosen(len(shares), t), 4096)):
        subset = [shares[i] for i in subset]
        secret = interpolate(subset, 0)
        if is_right(secret):
            if attempt == 0:
                return secret, []
            wrong = [point for point, row in shares if interpolate(subset, point) != row]
            certain = len(wrong) + max(len(wrong), colluders) <= len(shares) + 1 - t
            return secret, wrong if certain else []
    raise Refused("Nothing")


# Masks and packed residues.


def keystream(key, length):
    return Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(length))


def expand(key, bits, count):
    width = 4 if bits <= 32 else 8
    stream = keystream(key, width * count)
    words = (int.from_bytes(stream[i : i + width], "little") for i in range(0, len(stream), width))
    return [word % 2**bits for word in words]


def apply_mask(residues, bits, key, sign):
    step = 1 if sign == "+" else -1
    return [(residue + step * word) % 2**bits for residue, word in zip(residues, expand(key, bits, len(residues)))]


def packed_length(dimension, bits):
    return (dimension * bits + 7) // 8


def pack(residues, bits):
    whole = sum(residue << (i * bits) for i, residue in enumerate(residues))
    return whole.to_bytes(packed_length(len(residues), bits), "little")


def unpack(data, bits, dimension):
    require(len(data) == packed_length(dimension, bits), "Length")
    whole = int.from_bytes(data, "little")
    require(whole >> (dimension * bits) == 0, "Padding")
    return [(whole >> (i * bits)) % 2**bits for i in range(dimension)]
