"""A second verifier of the journal, written from docs/journal.md alone. Standard library only; it shares nothing with the product's code.

    verify_journal.py JOURNAL KEY [ANCHORS]      one journal: its identity key, and checkpoints that were kept elsewhere
    verify_journal.py --list FILE                many, one a line, tab-separated

Prints: VERDICT FROM TO SEALED FRAMES REASON. It does not decompress calls, so it does not judge what an unsealed frame holds.
"""
import base64, hashlib, json, os, re, struct, sys

TIERS = range(3)  # events, calls, counts
MAX_OPEN, MAX_OPEN_NS, SEGMENT = 1024, 60 * 10**9, 4 << 20
EPOCH = "edgeguard.dev/journal-epoch/v1"
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()

# Ed25519 verification (RFC 8032, section 6), over integers.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)
def lift(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P: x = x * I % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign): return None
    return P - x if x & 1 != sign else x
def add(a, b):
    A, B = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    C, E = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = B - A, E - C, E + C, B + A
    return (e * f % P, g * h % P, f * g % P, e * h % P)
def mul(s, p):
    q = (0, 1, 1, 0)
    while s:
        if s & 1: q = add(q, p)
        p, s = add(p, p), s >> 1
    return q
def point(b):
    y = int.from_bytes(b, "little"); y, sign = y & (1 << 255) - 1, y >> 255
    x = lift(y, sign)
    return None if x is None else (x, y, 1, x * y % P)
BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
def ed25519(key, message, sig):
    a, r, s = point(key), point(sig[:32]), int.from_bytes(sig[32:], "little")
    if len(sig) != 64 or a is None or r is None or s >= L: return False
    h = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(), "little") % L
    p, q = mul(s, BASE), add(r, mul(h, a))
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0

TABLE = []
for n in range(256):
    for _ in range(8): n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)
def crc32c(data):
    c = 0xFFFFFFFF
    for b in data: c = c >> 8 ^ TABLE[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF

class Said(Exception):
    pass
def tampered(frm, to, why): raise Said("tampered", frm, to, why)
def incomplete(why): raise Said("incomplete", 0, 0, why)
def unreadable(why): raise Said("unreadable", 0, 0, why)

# Signed notes: a key is (name, public key); text, then signatures.
def key_id(key): return sha(key[0].encode(), b"\n\x01", key[1])[:4]
def read_key(text):
    name, ident, body = text.strip().split("+", 2)
    key = (name, base64.b64decode(body)[1:])
    assert key_id(key).hex() == ident
    return key
def read_note(note):
    text, middle, lines = note.rpartition("\n\n")
    signatures = []
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, sig = line.split(" ")
        assert middle and dash == "—"
        signatures.append((name, base64.b64decode(sig, validate=True)))
    return text + "\n", signatures
def signed(note, key):
    own = [sig[4:] for name, sig in note[1] if name == key[0] and sig[:4] == key_id(key)]
    return bool(own) and ed25519(key[1], note[0].encode(), own[0])
def checkpoint(text):
    origin, size, root = text.removesuffix("\n").split("\n")
    assert str(int(size)) == size and origin != EPOCH
    return origin, int(size), base64.b64decode(root, validate=True)
def notes_of(text):
    parts = text.split("\n\n")
    return ["\n\n".join(pair) + "\n" for pair in zip(parts[0:-1:2], parts[1:-1:2])], parts[-1] if len(parts) % 2 else "\n\n".join(parts[-2:])

class Tree:
    def __init__(self): self.size, self.peaks = 0, []
    def push(self, h):
        n, self.size = self.size, self.size + 1
        while n & 1: h, n = sha(b"\x01", self.peaks.pop(), h), n >> 1
        self.peaks.append(h)
    def root(self):
        if not self.peaks: return sha()
        h = self.peaks[-1]
        for left in reversed(self.peaks[:-1]): h = sha(b"\x01", left, h)
        return h

# Names: in a frame of type 6, what can be erased is left out of checksum and leaf, and has a hash that is covered.
NAME = b"edgeguard.dev/journal-name/v1\0"
def names_in(payload):
    found, at = [], 0
    while at < len(payload):
        kind, (length, at) = payload[at], leb128(payload, at + 1)
        assert at + length <= len(payload)
        if kind == 3: found.append((at, at + length))
        at += length
    return found
def covered(kind, flags, payload):
    if kind != 6 or flags & 1: return payload
    try: names = names_in(payload)
    except (AssertionError, IndexError): return payload
    payload = bytearray(payload)
    for start, end in reversed(names): del payload[min(start + 32, end):end]
    return bytes(payload)
def erased(payload, bad):
    try: names = names_in(payload)
    except (AssertionError, IndexError): bad("its names do not parse")
    for index, (start, end) in enumerate(names):
        salt = payload[start + 32:start + 48]
        if len(salt) == 16 and not any(salt): yield index
        elif len(salt) < 16 or sha(NAME, payload[start + 32:end]) != payload[start:start + 32]: bad("a name is not the one that was written")

# Frames: (number, type, flags, n, first_seq, t0_boot, epoch, bytes), or None where no valid frame begins.
def frame_at(data, at):
    head = data[at:at + 64]
    if len(head) < 64 or head[:3] != b"EGJ" or struct.unpack_from("<I", head, 60)[0] != crc32c(head[:60]): return None
    version, kind, flags, n, number, seq, boot, _, _, epoch, _, length, crc = struct.unpack_from("<xxxBBBHQQQQIIIIII", head)[:13]
    if version != 1 or kind not in (*range(1, 11), 12): unreadable("a newer format")
    whole = data[at:at + 64 + length]
    if length > 1 << 20 or n > 4096 or flags > 1 or len(whole) < 64 + length or crc32c(covered(kind, flags, whole[64:])) != crc: return None
    return number, kind, flags, n, seq, boot, epoch, whole

class Segment:
    """The frames of one segment up to the first place where none begins, and what stands behind."""
    def __init__(self, path):
        data = open(path, "rb").read(SEGMENT)
        self.frames, at = [], 0
        while frame := frame_at(data, at):
            self.frames.append(frame)
            at += len(frame[7])
        rest = data[at:]
        self.clean = not any(rest)
        self.behind = []
        for found in re.finditer(b"EGJ", rest[1:]):
            if frame := frame_at(rest, found.start() + 1): self.behind.append(frame[0])

def segments(root, tier):
    names = sorted(name for name in os.listdir(os.path.join(root, tier)) if re.fullmatch(r"seg-\d{16}\.egl", name))
    return [Segment(os.path.join(root, tier, name)) for name in names], [int(name[4:20]) for name in names]

def verify(root, key, anchors):
    state = {"sealed": 0, "frames": 0}
    try:
        check(root, key, anchors, state)
        return "ok", 0, 0, state["sealed"], state["frames"], ""
    except Said as said:
        return said.args[0], said.args[1], said.args[2], state["sealed"], state["frames"], said.args[3]

def check(root, key, anchors, state):
    try:
        raw = open(os.path.join(root, "leaves"), "rb").read()
        tiers, firsts = zip(*(segments(root, tier) for tier in ("s", "d", "sum")))
    except OSError as error:
        unreadable(str(error))
    count = len(raw) // 32
    leaves = [raw[32 * n:32 * n + 32] for n in range(count)]
    there = os.path.exists(os.path.join(root, "checkpoints"))
    text = open(os.path.join(root, "checkpoints"), "rb").read().rstrip(b"\0").decode() if there else ""
    checkpoints, torn = notes_of(text) if text else ([], "")
    claimed = 0
    for note in checkpoints:
        try: claimed = max(claimed, checkpoint(read_note(note)[0])[1])
        except (ValueError, AssertionError): pass

    # What was deleted in order, as the journal says.
    retired, calls = {}, {}
    for segment in tiers[0]:
        for frame in segment.frames:
            if frame[1] == 9:
                said = json.loads(frame[7][64:])
                retired.update({n: (frame[0], said) for first, run in said["frames"] for n in range(first, first + run)})
                if tier_of(said) == 1: calls.setdefault(said["first_seq"], said["next_seq"])
                for first, after in said.get("only_counted", []): calls.setdefault(first, after)

    # Frame after frame. In each tier the next one is the only candidate; what does not begin with a valid frame stops it.
    queues = [[(frame, s) for s in tier for frame in s.frames] for tier in tiers]
    stops = [next((frames_before(tier, s) for s in tier if not s.clean), None) for tier in tiers]
    places, seqs, tree, epochs, last_leaf, open_times, roots, said_by, counted = [0] * 3, [0] * 3, Tree(), [], None, None, {0: sha()}, None, 0
    number, gone, said_gone = 0, {}, {}
    while number < count:
        heads = [queues[t][places[t]][0] if places[t] < len(queues[t]) and (stops[t] is None or places[t] < stops[t]) else None for t in TIERS]
        found = [t for t in TIERS if heads[t] and heads[t][0] == number]
        if not found:
            if number not in retired or any(stops[t] == places[t] for t in TIERS): tampered(number, number + 1, "it was written and is not there")
            by, said = retired[number]
            said_by = max(said_by or 0, by)
            if seqs[tier_of(said)] == said["first_seq"]: seqs[tier_of(said)] = said["next_seq"]
            if counted == said.get("counted", [None])[0]: counted = said["counted"][1]
            leaf = leaves[number]
        else:
            tier = found[0]
            _, kind, flags, n, seq, boot, epoch, whole = heads[tier]
            places[tier] += 1
            bad = lambda why: tampered(number, number + 1, why)
            leaf = sha(b"\0", whole[:64], covered(kind, flags, whole[64:]))
            if leaf != leaves[number]: bad("its digest is not its leaf")
            if tier not in {4: (1,), 5: (2,), 6: (0, 1, 2)}.get(kind, (0,)): bad("it is in the wrong tier")
            if (number == 0) != (kind == 1): bad("a first frame is frame 0")
            if epoch != len(epochs) + (kind == 7): bad("it is of another epoch")
            if seq != (reach(calls, seqs[1], seq) if tier == 1 else seqs[tier]): bad("it begins with another event")
            seqs[tier] = seq + n
            if kind == 5:
                try: first, after, window, only = coverage(whole[64:])
                except (IndexError, AssertionError): bad("what it counts does not parse")
                if first != counted: bad("it counts other calls than follow")
                if only and first != reach(calls, seqs[1], first): bad("calls that are nowhere else do not follow")
                if not only and after > reach(calls, seqs[1]): bad("it counts calls that are not there")
                counted, seqs[1] = after, after if only else seqs[1]
            if kind == 8 and counted != reach(calls, seqs[1], counted): bad("it was closed, and calls are not counted")
            if kind == 9 and tier_of(json.loads(whole[64:])) == 1 and json.loads(whole[64:])["next_seq"] > counted: bad("it deletes calls that are not counted")
            if kind == 2:
                boot_frame = json.loads(whole[64:])
                if boot_frame["head"] != (last_leaf.hex() if last_leaf else ""): bad("it was written behind another frame")
                if boot_frame["recovery"]["damage"]: bad("it was damaged then")
                for name in [name for name, by in said_gone.items() if by >= boot_frame.get("sealed", number)]: del said_gone[name]
            if kind == 6: gone.update({(number, index): number for index in erased(whole[64:], bad)})
            if kind == 12: [said_gone.setdefault((n, index), number) for n, indexes in json.loads(whole[64:])["names"] for index in indexes]
            if kind == 10: anchors = anchors + [whole[64:].decode()]
            if kind == 7: begin_epoch(number, whole[64:], key, epochs, tree, state)
            if kind == 7 or number < claimed: open_times = None
            elif tier == 0: open_times = (boot if open_times is None or kind == 2 else open_times[0], boot)
        tree.push(leaf)
        last_leaf, number = leaf, number + 1
        roots[number] = tree.root()
        state["frames"] = number
    if count == 0: incomplete("there is no frame")
    for name in sorted(set(gone) - set(said_gone)): tampered(name[0], name[0] + 1, "a name is erased, and no frame says so")
    seals(key, anchors, checkpoints, there, epochs, roots, count, said_by, open_times, state)
    for name in sorted(name for name in gone if said_gone[name] >= state["sealed"]): tampered(name[0], name[0] + 1, "the frame that says so is not sealed")
    unfinished(tiers, queues, places, count, raw, torn)

# Numbers of calls: which segment was deleted, how far those that are not there go, which ones a Summary frame counts.
def tier_of(said): return 2 if said["segment"].startswith("sum/") else 1
def reach(calls, at, upto=1 << 64):
    while at < upto and calls.get(at, 0) > at: at = calls[at]
    return at
def leb128(data, at):
    number = shift = 0
    while data[at] & 128: number, shift, at = number | (data[at] & 127) << shift, shift + 7, at + 1
    number |= data[at] << shift
    assert number < 1 << 64
    return number, at + 1
def coverage(payload):
    numbers, at = [], 0
    for _ in range(4):
        number, at = leb128(payload, at)
        numbers.append(number)
    first, count, window, flags = numbers
    assert count > 0 and first + count < 1 << 64 and window in (1, 10, 60) and flags in (0, 1)
    return first, first + count, window, flags == 1

def frames_before(tier, segment):
    return sum(len(s.frames) for s in tier[:tier.index(segment) + 1])

def begin_epoch(number, payload, key, epochs, tree, state):
    bad = lambda why, to=number + 1: tampered(state["sealed"], to, why)
    try:
        note = read_note(payload.decode())
        first, origin, epoch, public, identity, size, root = note[0].removesuffix("\n").split("\n")
    except (ValueError, AssertionError): tampered(number, number + 1, "its certificate does not parse")
    if first != EPOCH or (origin, base64.b64decode(identity)) != key: bad("it is of another journal")
    if int(epoch) != len(epochs) + 1: bad("it is another epoch")
    if not signed(note, key): bad("it is not signed with the identity key")
    if epochs and not signed(note, epochs[-1][1]): bad("it is not signed with the key of the epoch before")
    if int(size) != number or base64.b64decode(root) != tree.root(): bad("the frames before it are others", number)
    epochs.append((number, (f"{origin}/e{epoch}", base64.b64decode(public))))
    state["sealed"] = number

def seals(key, anchors, checkpoints, there, epochs, roots, count, said_by, open_times, state):
    if not epochs: tampered(0, count, "it is not sealed")
    turning, noted = epochs[-1][0] + 1 == count, 0
    for note in checkpoints:
        sealed = state["sealed"]
        try:
            note = read_note(note)
            origin, size, root = checkpoint(note[0])
        except (ValueError, AssertionError): tampered(sealed, count, "a checkpoint does not parse")
        epoch = [k for frame, k in epochs if frame < size]
        if origin != key[0] or not epoch or not all(signed(note, k) for k in (key, epoch[-1])): tampered(sealed, count, "a checkpoint is not signed")
        if size > count: tampered(count, size, "sealed frames are not there")
        if roots[size] != root: tampered(sealed, size, "other frames were sealed")
        if size < (noted if turning else sealed): tampered(sealed, sealed, "checkpoints are out of order")
        noted, state["sealed"] = size, max(size, sealed)
    sealed = state["sealed"]
    if not checkpoints and epochs[-1][0] + 1 < count: tampered(sealed, count, "there are no checkpoints")
    if count - sealed > MAX_OPEN or open_times and open_times[1] - open_times[0] > MAX_OPEN_NS: tampered(sealed, count, "seals were removed")
    if said_by is not None and said_by >= sealed: tampered(0, count, "the frame that says so is not sealed")
    for note in anchors:
        note = read_note(note)
        origin, size, root = checkpoint(note[0])
        if origin != key[0] or not any(signed(note, k) for k in [key] + [k for _, k in epochs]): tampered(0, count, "the anchor is another journal's")
        if size > count: tampered(count, size, "the end is gone")
        if roots[size] != root: tampered(0, size, "this is another history")

def unfinished(tiers, queues, places, count, raw, torn):
    rest = sorted(frame[0] for t in TIERS for frame, _ in queues[t][places[t]:])
    for tier in tiers:
        for segment in tier:
            if segment.behind: tampered(count, max(segment.behind) + 1, "valid frames behind bytes that are none")
    if any(number != expected for expected, number in enumerate(rest, count)): tampered(count, rest[-1] + 1, "a frame stands where another should")
    if rest or torn or len(raw) % 32 or any(not s.clean for tier in tiers for s in tier): incomplete("the end is unfinished")

def main(arguments):
    jobs = [line.rstrip("\n").split("\t") for line in open(arguments[1])] if arguments[0] == "--list" else [arguments]
    for root, key, *anchors in jobs:
        text = open(anchors[0]).read() if anchors else ""
        kept = re.findall(r"[^\n]+\n\d+\n[^\n]+\n\n(?:— [^\n]+\n)+", text)
        print(*verify(root, read_key(key), kept))

if __name__ == "__main__":
    main(sys.argv[1:])
