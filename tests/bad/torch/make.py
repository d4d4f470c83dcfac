"""Writes the kept bad checkpoints of this folder, and a few good pickles as Python itself writes them (good/).

Only the standard library. Run in this folder: python3 make.py. Files that an attack or a bug report brought are added by
hand; expected.txt says for every file here the sentence (a part of it) that `convert` must give.
"""
import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

EXPECTED = []


def module(name):
    m = types.ModuleType(name)
    sys.modules[name] = m
    return m


def stub(where, name):
    """A class or function that pickles under another module's name; never run."""
    c = type(name, (), {"__module__": where.__name__})
    setattr(where, name, c)
    return c


torch, utils = module("torch"), module("torch._utils")
torch._utils = utils
tiktoken = module("tiktoken")
tiktoken.core = module("tiktoken.core")
FloatStorage, HalfStorage = stub(torch, "FloatStorage"), stub(torch, "HalfStorage")
rebuild = stub(utils, "_rebuild_tensor_v2")
Encoding = stub(tiktoken.core, "Encoding")


class Storage:
    def __init__(self, key, count, kind=FloatStorage):
        self.id = ("storage", kind, key, "cpu", count)


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.args = (storage, offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return rebuild, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.id if isinstance(value, Storage) else None


def dumps(value, protocol=2):
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def write(name, data, sentence):
    with open(name, "wb") as f:
        f.write(data)
    EXPECTED.append((name, sentence))


def archive(entries, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in entries:
            info = zipfile.ZipInfo(name, (2025, 11, 23, 0, 0, 0))
            info.compress_type = method
            z.writestr(info, data)
    return out.getvalue()


def checkpoint(value, storages=(("0", bytes(48)),), more=(), method=zipfile.ZIP_STORED):
    pickled = value if isinstance(value, bytes) else dumps(value)
    return archive([("x/data.pkl", pickled), *(("x/data/" + k, b) for k, b in storages), *more, ("x/version", b"3\n")], method)


def matrix(rows=3, cols=4, count=12, offset=0, stride=None, key="0"):
    return Tensor(Storage(key, count), offset, (rows, cols), stride or (cols, 1))


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s


def evil():
    call = text(b"touch owned") + b"\x85R."
    write("evil_global_posix_system.pt", checkpoint(b"\x80\x02cposix\nsystem\n" + call), "the pickle asks for 'posix.system', which is not allowed")
    write("evil_global_os_system.pt", checkpoint(b"\x80\x02cos\nsystem\n" + call), "the pickle asks for 'os.system', which is not allowed")
    write("evil_global_nt_system.pt", checkpoint(b"\x80\x02cnt\nsystem\n" + call), "the pickle asks for 'nt.system', which is not allowed")
    write("evil_stack_global.pt", checkpoint(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93" + call), "the pickle asks for 'os.system', which is not allowed")
    write("evil_stack_global_memo.pt", checkpoint(b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94h\x01h\x00\x93" + call), "the pickle asks for 'os.system', which is not allowed")
    write("evil_inst.pt", checkpoint(b"\x80\x02(" + text(b"true") + b"ios\nsystem\n."), "the pickle asks for 'os.system', which is not allowed")
    write("evil_obj.pt", checkpoint(b"\x80\x02(csubprocess\nPopen\n" + text(b"true") + b"o."), "the pickle asks for 'subprocess.Popen', which is not allowed")
    write("evil_builtins_eval.pt", checkpoint(b"\x80\x02cbuiltins\neval\n" + call), "the pickle asks for 'builtins.eval', which is not allowed")
    write("evil_getattr.pt", checkpoint(b"\x80\x02c__builtin__\ngetattr\n" + call), "the pickle asks for '__builtin__.getattr', which is not allowed")
    write("evil_dotted_name.pt", checkpoint(b"\x80\x04\x8c\x0bcollections\x8c\x1fOrderedDict.__reduce__.__self__\x93."), "which is not allowed")
    write("evil_nul_in_name.pt", checkpoint(b"\x80\x02ctorch\nFloatStorage\0x\n."), "which is not allowed")
    write("evil_call_of_storage.pt", checkpoint(b"\x80\x02ctorch\nFloatStorage\n)R."), "the pickle calls 'torch.FloatStorage', which is not allowed")
    write("evil_in_config.pt", checkpoint(b"\x80\x02}(" + text(b"config") + b"cposix\nsystem\n" + text(b"true") + b"\x85Ru."), "the pickle asks for 'posix.system', which is not allowed")
    write("evil_extension.pt", checkpoint(b"\x80\x02\x82\x01."), "the pickle uses EXT1")


def pickles():
    write("pickle_protocol_0.pt", checkpoint(b"(dp0\nVa\np1\nI1\ns."), "the pickle uses PUT")
    write("pickle_protocol_6.pt", checkpoint(b"\x80\x06}."), "pickle protocol 6, expected 2 to 5")
    write("pickle_empty.pt", checkpoint(b""), "the pickle ends in the middle")
    write("pickle_cut.pt", checkpoint(dumps({"w": matrix()})[:-30]), "the pickle ends in the middle")
    write("pickle_huge_string.pt", checkpoint(b"\x80\x04\x8d" + b"\xff" * 8 + b"abc."), "the pickle ends in the middle")
    write("pickle_huge_memo.pt", checkpoint(b"\x80\x02}r\xff\xff\xff\x7f."), "memo index 2147483647 is absurd")
    write("pickle_many_marks.pt", checkpoint(b"\x80\x02" + b"(" * 5000 + b"."), "more than 1024 open tuples")
    write("pickle_deep.pt", checkpoint(b"\x80\x02" + b"]" * 50000 + b"a" * 49999 + b"."), "it holds a list without tensors")
    write("pickle_in_itself.pt", checkpoint(b"\x80\x02}q\0(" + text(b"a") + b"h\0u."), "it holds a dict without tensors")


def tensors():
    write("tensor_beyond_storage.pt", checkpoint({"w": matrix(offset=1)}), "reaches beyond its storage '0' of 12 elements")
    write("tensor_beyond_entry.pt", checkpoint({"w": matrix(count=10**9, offset=10**9 - 12)}), "has 48 bytes, expected 1000000000 elements")
    write("tensor_overflow.pt", checkpoint({"w": Tensor(Storage("0", 12), 0, (2**62, 4), (2**62, 1))}), "reaches beyond its storage")
    write("tensor_count_overflow.pt", checkpoint({"w": Tensor(Storage("0", 12), 0, (2**40, 2**20), (0, 0))}), "more elements than any machine holds")
    write("tensor_negative.pt", checkpoint({"w": Tensor(Storage("0", 12), 0, (-3, 4), (4, 1))}), "something other than counts")
    write("tensor_negative_stride.pt", checkpoint({"w": Tensor(Storage("0", 12), 11, (3, 4), (-4, -1))}), "something other than counts")
    write("tensor_many_dimensions.pt", checkpoint({"w": Tensor(Storage("0", 12), 0, (1,) * 70, (1,) * 70)}), "70 dimensions, at most 8 are read")
    write("tensor_empty.pt", checkpoint({"w": Tensor(Storage("0", 12), 0, (0, 4), (4, 1))}), "tensor 'w' has no elements")
    write("tensor_storage_count.pt", checkpoint({"w": matrix(count=2**62)}), "is no count of elements")
    write("tensor_no_entry.pt", checkpoint({"w": matrix(key="../../etc/passwd")}), "the archive has no entry 'x/data/../../etc/passwd'")
    write("tensor_twice.pt", checkpoint({"w": matrix(), "module.w": matrix()}), "tensor 'w' is in the checkpoint twice")
    write("tensor_name_with_escape.pt", checkpoint({"\x1b[2Jw": matrix()}), "a tensor's name is no plain text")
    write("tensor_unknown_family.pt", checkpoint({"w": matrix()}), "holds 1 tensors of no family that is known")


def zips():
    good = checkpoint({"w": matrix()})
    write("zip_cut.pt", good[:-40], "it is not a whole zip file")
    write("zip_head_only.pt", good[:30], "it is not a whole zip file")
    write("zip_no_pickle.pt", archive([("x/data/0", bytes(48))]), "has no entry 'data.pkl'")
    write("zip_empty.pt", b"PK\5\6" + bytes(18), "is no checkpoint of a known form")
    write("zip_two_pickles.pt", archive([("x/data.pkl", dumps({})), ("y/data.pkl", dumps({}))]), "two entries 'data.pkl'")
    write("zip_same_name_twice.pt", checkpoint({"w": matrix()}, (("0", bytes(48)), ("1", bytes(48)))).replace(b"x/data/1", b"x/data/0"), "it is in the archive twice")
    write("zip_big_endian.pt", checkpoint({"w": matrix()}, more=[("x/byteorder", b"big")]), "byte order 'big', expected 'little'")
    write("zip_bomb.pt", checkpoint(b"\x80\x02" + bytes(64 << 20), method=zipfile.ZIP_DEFLATED), "at most 67108864 are read")
    flags = bytearray(good)  # general purpose bit 0 in every local and central header: encrypted
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        i = flags.find(magic)
        while i >= 0:
            flags[i + at] |= 1
            i = flags.find(magic, i + 1)
    write("zip_encrypted.pt", bytes(flags), "it is encrypted")
    end = good.rfind(b"PK\5\6")
    write("zip_absurd_count.pt", good[: end + 8] + b"\xfe\xff\xfe\xff" + good[end + 12 :], "it is not a whole zip file")
    size = bytearray(good)  # the size of the first storage in the directory
    i = size.rfind(b"x/data/0", 0, end) - 46
    size[i + 20 : i + 28] = b"\xff\xff\xff\x7f" * 2
    write("zip_absurd_size.pt", bytes(size), "entry 'x/data/0': its size is more than the file holds")
    write("zip_torchscript.pt", archive([("x/data.pkl", b"\x80\x02c__torch__\nModel\n)\x81."), ("x/code/__torch__.py", b""), ("x/constants.pkl", b"\x80\x02).")]),
          "the pickle asks for '__torch__.Model', which is not allowed")


def legacy():
    """The container of PyTorch before 1.6."""
    def file(tree=None, keys=("0",), data=struct.pack("<Q", 12) + bytes(48), protocol=1001, little=True):
        tree = {"w": matrix()} if tree is None else tree
        head = dumps(0x1950A86A20F9469CFC6C) + dumps(protocol) + dumps({"little_endian": little})
        return head + dumps(tree) + dumps(list(keys)) + data

    twice = {"a": matrix(), "b": Tensor(Storage("0", 12, HalfStorage), 0, (3, 4), (4, 1))}
    write("legacy_no_list.pt", file()[:-90], "the pickle ends in the middle")
    write("legacy_protocol.pt", file(protocol=1000), "its protocol is not 1001")
    write("legacy_big_endian.pt", file(little=False), "byte order 'big', expected 'little'")
    write("legacy_unknown_key.pt", file(keys=["1"]), "key 0 of its list of storages is no storage")
    write("legacy_key_twice.pt", file(keys=["0", "0"]), "key 1 of its list of storages is no storage, or is there twice")
    write("legacy_key_missing.pt", file(keys=[]), "the archive has no storage '0'")
    write("legacy_count.pt", file(data=struct.pack("<Q", 11) + bytes(48)), "storage '0' holds 11 elements, expected 12")
    write("legacy_cut.pt", file()[:-1], "storage '0' has 48 bytes, of which 47 are there")
    write("legacy_no_count.pt", file()[:-52], "8 more are needed")
    write("legacy_two_types.pt", file(twice), "storage '0' has two types or sizes")
    write("legacy_evil.pt", dumps(0x1950A86A20F9469CFC6C) + b"\x80\x02cos\nsystem\n" + text(b"true") + b"\x85R.", "the pickle asks for 'os.system', which is not allowed")


def others():
    write("bare_pickle.pt", dumps({"w": 1}), "it is a bare pickle")
    write("nothing.pt", b"", "is no checkpoint of a known form")
    write("text.pt", b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer to a large file that was not fetched")


def good():
    """What Python writes: the same values in every protocol."""
    os.makedirs("good", exist_ok=True)
    encoding = Encoding.__new__(Encoding)
    encoding.__dict__.update(name="rustbpe", pat_str=r"\p{L}+|[^\p{L}]", mergeable_ranks={**{bytes([i]): i for i in range(256)}, b"he": 256},
                             special_tokens={"<|bos|>": 257, "<|assistant_end|>": 258})
    chars = {"vocab_size": 3, "itos": {0: "\n", 1: "a", 2: "\u4f60"}, "stoi": {"\n": 0, "a": 1, "\u4f60": 2}}
    mixed = [None, True, False, 0, 255, 65535, -1, 2**31, -(2**40), 1.5, "text", b"bytes", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, 2**100]
    for protocol in range(2, 6):
        for name, value in (("encoding", encoding), ("chars", chars), ("mixed", mixed), ("tensor", {"w": matrix()})):
            if name == "encoding" and protocol == 2:
                continue  # Python 3 writes bytes through _codecs.encode there, which no tokenizer file does
            if name == "mixed" and protocol == 2:
                value = [v for v in mixed if not isinstance(v, bytes)]
            with open(f"good/{name}_{protocol}.pkl", "wb") as f:
                f.write(dumps(value, protocol))


if __name__ == "__main__":
    for part in (evil, pickles, tensors, zips, legacy, others, good):
        part()
    with open("expected.txt", "w", encoding="utf-8") as f:
        f.writelines(f"{name}\t{sentence}\n" for name, sentence in EXPECTED)
