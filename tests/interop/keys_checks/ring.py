"""Reads the ring in the table, and tampers with it."""

import json

from boto3.dynamodb.types import Binary
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from jwt.algorithms import ECAlgorithm


class Ring:
    def __init__(self, table):
        self.table = table

    def items(self):
        items = self.table.scan(ConsistentRead=True)["Items"]
        return {int(item["seq"]): item for item in sorted(items, key=lambda item: item["seq"])}

    def item(self, seq):
        return self.items()[seq]

    def set(self, seq, **attributes):
        """Overwrites attributes of an item, which is created if there is none; None removes an
        attribute."""
        item = {"ring": "issuer", "seq": seq, **self.items().get(seq, {}), **attributes}
        self.table.put_item(Item={name: value for name, value in item.items() if value is not None})

    def copy(self, seq, to, **attributes):
        self.set(to, **{name: value for name, value in self.item(seq).items() if name != "seq"} | attributes)

    def delete(self, seq):
        self.table.delete_item(Key={"ring": "issuer", "seq": seq})

    def wrapped(self, seq):
        return bytes(self.item(seq)["wrapped"])

    def context(self, seq):
        return {"product": "countersign", "table": self.table.name, "seq": str(seq)}

    def flip(self, seq, at):
        wrapped = bytearray(self.wrapped(seq))
        wrapped[at] ^= 1
        self.set(seq, wrapped=Binary(bytes(wrapped)))


def point(public_key):
    return public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def private_key_of(kms, ring, seq):
    """Decrypts the private key of an item with KMS in the right encryption context. Returns its
    PKCS#8 and the key."""
    pkcs8 = kms.client.decrypt(
        KeyId=kms.key_id, CiphertextBlob=ring.wrapped(seq), EncryptionContext=ring.context(seq)
    )["Plaintext"]
    key = load_der_private_key(pkcs8, None)
    assert isinstance(key.curve, ec.SECP256R1)
    return pkcs8, key


def public_key_of(item):
    return ECAlgorithm.from_jwk(json.loads(item["jwk"]))
