"""Makes a trust pack with python-tuf, the reference implementation: PACK_DIR LIST NUMBER. Keys lie in PACK_DIR between calls.

NUMBER 1 is a first pack; NUMBER 2 a second one, with rotated root and online keys.
"""
import sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

pack, revocations, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
expires = datetime(2029, 1, 1, tzinfo=timezone.utc)


def key(name, make):
    """A key that is made at its first use."""
    path = pack / f"{name}.pem"
    if not path.exists():
        pack.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make().private_bytes)
    return CryptoSigner(load_pem_private_key(path.read_bytes(), None))


root_keys = [key(f"root-{n}", CryptoSigner.generate_ed25519) for n in range(1, number + 1)]
online = key(f"online-{number}", CryptoSigner.generate_ecdsa)

roots = []
for version in range(1, number + 1):
    root = Root(version=version, expires=expires, consistent_snapshot=True)
    root.add_key(root_keys[version - 1].public_key, "root")
    for role in ("timestamp", "snapshot", "targets"):
        root.add_key(key(f"online-{version}", CryptoSigner.generate_ecdsa).public_key, role)
    signed = Metadata(root)
    # Each root is signed by its own key and by the one before.
    for signer in root_keys[max(version - 2, 0) : version]:
        signed.sign(signer, append=True)
    roots.append(signed)

out = pack / str(number)
(out / "metadata").mkdir(parents=True)
(out / "targets").mkdir()
for version, signed in enumerate(roots, 1):
    # A root that was published stays as it was.
    first = pack / "1" / "metadata" / "1.root.json"
    if version == 1 and first.exists():
        (out / "metadata" / "1.root.json").write_bytes(first.read_bytes())
    else:
        signed.to_file(str(out / "metadata" / f"{version}.root.json"))

targets = Targets(version=number, expires=expires)
target = TargetFile.from_file("revocations.json", str(revocations), ["sha256"])
targets.targets["revocations.json"] = target
(out / "targets" / f"{target.hashes['sha256']}.revocations.json").write_bytes(revocations.read_bytes())


def publish(payload, name):
    """Signs with the online key and writes."""
    signed = Metadata(payload)
    signed.sign(online)
    signed.to_file(str(out / "metadata" / name))
    return MetaFile(version=payload.version)


snapshot = Snapshot(version=number, expires=expires)
snapshot.meta["targets.json"] = publish(targets, f"{number}.targets.json")
timestamp = Timestamp(version=number, expires=expires)
timestamp.snapshot_meta = publish(snapshot, f"{number}.snapshot.json")
publish(timestamp, "timestamp.json")
