"""sigstore-python's reading of a bundle with a key: python verify.py BUNDLE PUBLIC-KEY SHA256-HEX

Its command line verifies certificates only, so its parts are asked: the strict model of the bundle, the envelope's signature, the statement and its subject.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sigstore import dsse
from sigstore.hashes import Hashed
from sigstore_models.bundle.v1 import Bundle
from sigstore_models.common.v1 import HashAlgorithm

bundle_path, key_path, digest = sys.argv[1:]
text = open(bundle_path, "rb").read()
key = load_pem_public_key(open(key_path, "rb").read())
Bundle.from_json(text)
bundle = json.loads(text)
assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
if "dsseEnvelope" in bundle:
    assert bundle["dsseEnvelope"]["payloadType"] == dsse.Envelope._TYPE
    payload = dsse._verify(key, dsse.Envelope._from_json(json.dumps(bundle["dsseEnvelope"])))
    statement = dsse.Statement(payload)
    subject = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest))
    assert statement._matches_digest(subject), "the statement is about another artifact"
else:
    signature = base64.b64decode(bundle["messageSignature"]["signature"], validate=True)
    stated = base64.b64decode(bundle["messageSignature"]["messageDigest"]["digest"], validate=True)
    assert stated.hex() == digest, "the bundle states another digest"
    key.verify(signature, stated, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
print("verified")
