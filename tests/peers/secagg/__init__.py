"""Secure aggregation after tests/vectors/README.md, without the Rust code.

For checking vectors, not for use: nothing here runs in constant time.
"""


class Refused(Exception):
    """An input that breaks a rule, by the name of its refusal."""


def require(holds, name):
    if not holds:
        raise Refused(name)
