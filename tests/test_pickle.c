/* The pickle machine: hand-written opcode strings, every refusal, every truncation, every damaged byte. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"

/* ---- values as text ---- */

static void show(nb_buf *b, const nb_value *v, int depth);

static void show_items(nb_buf *b, const nb_value *v, const char *open, const char *close, int depth) {
    nb_buf_text(b, open);
    for (size_t i = 0; i < v->count; i++) {
        if (i) nb_buf_text(b, ", ");
        show(b, v->items[i], depth);
    }
    nb_buf_text(b, close);
}

static void show_dict(nb_buf *b, const nb_value *v, int depth) {
    nb_buf_text(b, "{");
    for (size_t i = 0; i < v->count; i++) {
        if (i) nb_buf_text(b, ", ");
        show(b, v->items[2 * i], depth);
        nb_buf_text(b, ": ");
        show(b, v->items[2 * i + 1], depth);
    }
    nb_buf_text(b, "}");
}

static void show_tensor(nb_buf *b, const nb_value_tensor *t) {
    nb_buf_printf(b, "tensor(%s '%s' %llu, %llu", nb_dtypes[t->storage->dtype].name, t->storage->key,
                  (unsigned long long)t->storage->count, (unsigned long long)t->offset);
    for (uint32_t i = 0; i < t->n_dims; i++)
        nb_buf_printf(b, ", %llu/%llu", (unsigned long long)t->dims[i], (unsigned long long)t->strides[i]);
    nb_buf_text(b, ")");
}

static void show(nb_buf *b, const nb_value *v, int depth) {
    if (depth <= 0 || b->size > 4096) {
        nb_buf_text(b, "...");
        return;
    }
    switch (v->kind) {
    case NB_VALUE_NONE: nb_buf_text(b, "None"); break;
    case NB_VALUE_BOOL: nb_buf_text(b, v->boolean ? "True" : "False"); break;
    case NB_VALUE_INT: nb_buf_printf(b, "%lld", (long long)v->integer); break;
    case NB_VALUE_FLOAT: nb_buf_printf(b, "%.17g", v->number); break;
    case NB_VALUE_BYTES: nb_buf_printf(b, "b'%s'", v->text); break;
    case NB_VALUE_STR: nb_buf_printf(b, "'%s'", v->text); break;
    case NB_VALUE_TUPLE: show_items(b, v, "(", ")", depth - 1); break;
    case NB_VALUE_LIST: show_items(b, v, "[", "]", depth - 1); break;
    case NB_VALUE_DICT: show_dict(b, v, depth - 1); break;
    case NB_VALUE_GLOBAL: nb_buf_printf(b, "<%s.%s>", v->global->module, v->global->name); break;
    case NB_VALUE_STORAGE: nb_buf_printf(b, "storage('%s')", v->storage->key); break;
    case NB_VALUE_TENSOR: show_tensor(b, v->tensor); break;
    case NB_VALUE_OBJECT:
        nb_buf_printf(b, "<%s", v->object->type->name);
        show(b, v->object->args, depth - 1);
        if (v->object->state) show(b, v->object->state, depth - 1);
        nb_buf_text(b, ">");
        break;
    case NB_VALUE_BIG: nb_buf_text(b, "big"); break;
    }
}

/* ---- what is accepted ---- */

#define P2 "\x80\x02"
#define BYTES(s) (s), sizeof(s) - 1

/* One float storage 'k' of 12 elements as a persistent id, and the tensor [3, 4] at its start. */
#define STORAGE(type, count) "(X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0kX\3\0\0\0cpuK" count "tQ"
#define TENSOR(storage, offset, shape, stride) \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset shape stride "\x89" "ccollections\nOrderedDict\n)RtR"

static const struct {
    const char *what, *pickle;
    size_t size;
    const char *expected;
} accepted[] = {
    {"None", BYTES(P2 "N."), "None"},
    {"bools", BYTES(P2 "\x88\x89\x86."), "(True, False)"},
    {"BININT", BYTES(P2 "J\xfe\xff\xff\xff."), "-2"},
    {"BININT1", BYTES(P2 "K\xff."), "255"},
    {"BININT2", BYTES(P2 "M\x01\x02."), "513"},
    {"LONG1 empty", BYTES(P2 "\x8a\x00."), "0"},
    {"LONG1", BYTES(P2 "\x8a\x05\xff\xff\xff\xff\x00."), "4294967295"},
    {"LONG1 negative", BYTES(P2 "\x8a\x01\xff."), "-1"},
    {"LONG1 of 8", BYTES(P2 "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), "-9223372036854775808"},
    {"LONG1 of 9", BYTES(P2 "\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09."), "big"},
    {"LONG4", BYTES(P2 "\x8b\x02\x00\x00\x00\x00\x80."), "-32768"},
    {"BINFLOAT", BYTES(P2 "G\x3f\xf8\0\0\0\0\0\0."), "1.5"},
    {"BINUNICODE", BYTES(P2 "X\3\0\0\0abc."), "'abc'"},
    {"SHORT_BINUNICODE", BYTES("\x80\x04\x8c\x02hi."), "'hi'"},
    {"BINUNICODE8", BYTES("\x80\x04\x8d\x02\0\0\0\0\0\0\0hi."), "'hi'"},
    {"BINSTRING", BYTES(P2 "T\2\0\0\0hiU\1x\x86."), "('hi', 'x')"},
    {"bytes",
     BYTES("\x80\x03"
           "C\2hiB\1\0\0\0x\x8e\1\0\0\0\0\0\0\0y\x87."),
     "(b'hi', b'x', b'y')"},
    {"BYTEARRAY8", BYTES("\x80\x05\x96\1\0\0\0\0\0\0\0y."), "b'y'"},
    {"tuples", BYTES(P2 ")N\x85NN\x86NNN\x87(NNNNtt."), NULL},
    {"TUPLE", BYTES(P2 "(K\1K\2K\3K\4t."), "(1, 2, 3, 4)"},
    {"empty TUPLE", BYTES(P2 "(t."), "()"},
    {"LIST", BYTES(P2 "(K\1K\2l."), "[1, 2]"},
    {"APPEND", BYTES(P2 "]K\1aK\2a."), "[1, 2]"},
    {"APPENDS", BYTES(P2 "](K\1K\2K\3K\4K\5e(e."), "[1, 2, 3, 4, 5]"},
    {"DICT", BYTES(P2 "(K\1K\2d."), "{1: 2}"},
    {"SETITEM", BYTES(P2 "}K\1K\2s."), "{1: 2}"},
    {"SETITEMS", BYTES(P2 "}(K\1K\2K\3K\4u(u."), "{1: 2, 3: 4}"},
    {"POP",
     BYTES(P2 "K\1K\2"
              "0."),
     "1"},
    {"POP of a mark", BYTES(P2 "K\1(0."), "1"},
    {"POP_MARK",
     BYTES(P2 "K\1(K\2K\3"
              "1."),
     "1"},
    {"DUP",
     BYTES(P2 "K\1"
              "2\x86."),
     "(1, 1)"},
    {"BINPUT, BINGET",
     BYTES(P2 "K\1q\0K\2q\1h\0h\1\x87"
              "0h\0."),
     NULL},
    {"memo", BYTES(P2 "K\1q\0K\2h\0\x87."), "(1, 2, 1)"},
    {"LONG_BINPUT, LONG_BINGET", BYTES(P2 "K\1r\5\0\0\0j\5\0\0\0\x86."), "(1, 1)"},
    {"MEMOIZE",
     BYTES("\x80\x04K\1\x94K\2\x94h\1h\0\x87"
           "0."),
     NULL},
    {"MEMOIZE counts", BYTES("\x80\x04K\7\x94K\x08\x94\x86h\1h\0\x87."), "((7, 8), 8, 7)"},
    {"FRAME", BYTES("\x80\x04\x95\2\0\0\0\0\0\0\0N."), "None"},
    {"a list in itself", BYTES(P2 "]q\0h\0a."), "[[[[[[[[[...]]]]]]]]]"},
    {"a tuple in its list",
     BYTES(P2 "]q\0h\0\x85"
              "ah\0a."),
     NULL},
    {"OrderedDict()", BYTES(P2 "ccollections\nOrderedDict\n)R."), "{}"},
    {"OrderedDict(pairs)", BYTES(P2 "ccollections\nOrderedDict\n](K\1K\2\x86](K\3K\4ee\x85R."), "{1: 2, 3: 4}"},
    {"OrderedDict and its attributes", BYTES(P2 "ccollections\nOrderedDict\n)R}K\1K\2sb."), "{}"},
    {"torch.Size", BYTES(P2 "ctorch\nSize\n(K\2K\3t\x85R."), "(2, 3)"},
    {"torch.device", BYTES(P2 "ctorch\ndevice\nX\3\0\0\0cpu\x85R."), "<device('cpu')>"},
    {"a dtype", BYTES(P2 "ctorch\nbfloat16\n."), "<torch.bfloat16>"},
    {"STACK_GLOBAL", BYTES("\x80\x04\x8c\x0btiktokenxcorX0\x8c\x05torch\x8c\x04Size\x93."), NULL},
    {"Encoding",
     BYTES("\x80\x04\x8c\x0dtiktoken.core\x8c\x08"
           "Encoding\x93)\x81}\x8c\x04nameK\1sb."),
     "<Encoding(){'name': 1}>"},
    {"Encoding by name",
     BYTES("\x80\x04\x8c\x0dtiktoken.core\x8c\x08"
           "Encoding\x93)\x81\x8c\x04gpt2b."),
     "<Encoding()'gpt2'>"},
    {"INST", BYTES(P2 "(icollections\nOrderedDict\n."), "{}"},
    {"INST with arguments", BYTES(P2 "(X\3\0\0\0cpuitorch\ndevice\n."), "<device('cpu')>"},
    {"OBJ", BYTES(P2 "(ctorch\ndevice\nX\3\0\0\0cpuo."), "<device('cpu')>"},
    {"a storage", BYTES(P2 STORAGE("FloatStorage", "\x0c") "."), "storage('k')"},
    {"a tensor", BYTES(P2 TENSOR(STORAGE("HalfStorage", "\x0c"), "\0", "K\3K\4\x86", "K\4K\1\x86") "."),
     "tensor(f16 'k' 12, 0, 3/4, 4/1)"},
    {"a scalar", BYTES(P2 TENSOR(STORAGE("DoubleStorage", "\1"), "\0", ")", ")") "."), "tensor(f64 'k' 1, 0)"},
    {"a view", BYTES(P2 TENSOR(STORAGE("BFloat16Storage", "\x0c"), "\2", "K\5\x85", "K\2\x85") "."), NULL},
    {"an expanded tensor",
     BYTES(P2 TENSOR(STORAGE("LongStorage", "\x0c"), "\x0b", "J\xff\xff\xff\x7fK\1\x86", "K\0K\1\x86") "."),
     "tensor(i64 'k' 12, 11, 2147483647/0, 1/1)"},
    {"an empty tensor", BYTES(P2 TENSOR(STORAGE("FloatStorage", "\0"), "\0", "K\0\x85", "K\1\x85") "."),
     "tensor(f32 'k' 0, 0, 0/1)"},
    {"a parameter",
     BYTES(P2
           "ctorch._utils\n_rebuild_parameter\n" TENSOR(STORAGE("FloatStorage", "\1"), "\0", ")", ")") "\x88N\x87R."),
     "tensor(f32 'k' 1, 0)"},
};

static nb_status run(const void *pickle, size_t size, nb_buf *text, nb_error *err) {
    nb_arena arena = {.limit = 4 << 20};
    const nb_value *root = NULL;
    nb_status st = nb_pickle_run(pickle, size, &arena, &root, NULL, err);
    if (!st && text) show(text, root, 9);
    nb_arena_free(&arena);
    return st;
}

static bool is_accepted(size_t i) {
    return accepted[i].expected != NULL; /* rows without a result leave two values: they only feed the damage tests */
}

static void accepted_pickles_give_their_values(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        nb_buf text = {0};
        nb_error err = {0};
        nb_status st = run(accepted[i].pickle, accepted[i].size, &text, &err);
        if (is_accepted(i) && st) fail_msg("%s: %s", accepted[i].what, err.text);
        if (is_accepted(i) && strcmp(nb_buf_str(&text), accepted[i].expected) != 0)
            fail_msg("%s: %s, expected %s", accepted[i].what, nb_buf_str(&text), accepted[i].expected);
        nb_buf_free(&text);
    }
}

/* ---- what is refused, with a part of the sentence ---- */

static const struct {
    const char *pickle;
    size_t size;
    const char *sentence;
} refused[] = {
    {BYTES(""), "ends in the middle"},
    {BYTES("\x80"), "ends in the middle"},
    {BYTES("\x80\x01N."), "protocol 1, expected 2 to 5"},
    {BYTES("\x80\x06N."), "protocol 6, expected 2 to 5"},
    {BYTES(P2 "N"), "ends in the middle"},
    {BYTES(P2 "."), "stops with 0 values"},
    {BYTES(P2 "NN."), "stops with 2 values"},
    {BYTES(P2 "N(."), "on the stack"},
    {BYTES(P2 "\xff"), "0xff is no opcode"},
    {BYTES("\x80\x04\x95\3\0\0\0\0\0\0\0N."), "FRAME"},
    /* the code of others */
    {BYTES(P2 "cos\nsystem\n."), "asks for 'os.system', which is not allowed"},
    {BYTES(P2 "cposix\nsystem\n(X\4\0\0\0true\x85R."), "asks for 'posix.system', which is not allowed"},
    {BYTES(P2 "cnt\nsystem\n."), "asks for 'nt.system', which is not allowed"},
    {BYTES("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."), "asks for 'os.system', which is not allowed"},
    {BYTES("\x80\x04\x8c\x08"
           "builtins\x94\x8c\x04"
           "eval\x94h\0h\1\x93."),
     "asks for 'builtins.eval', which is not allowed"},
    {BYTES(P2 "(X\4\0\0\0trueios\nsystem\n."), "asks for 'os.system', which is not allowed"},
    {BYTES(P2 "(cos\nsystem\nX\4\0\0\0trueo."), "asks for 'os.system', which is not allowed"},
    {BYTES(P2 "c__builtin__\nexec\n."), "asks for '__builtin__.exec', which is not allowed"},
    {BYTES(P2 "ctorch\nload\n."), "asks for 'torch.load', which is not allowed"},
    {BYTES(P2 "ctorch\nFloatStorage\0\n."), "asks for 'torch.FloatStorage?', which is not allowed"},
    {BYTES(P2 "ccollections\nOrderedDict.__init__\n."), "OrderedDict.__init__', which is not allowed"},
    {BYTES(P2 "ctorch\n\x1b[31m\n."), "asks for 'torch.?[31m'"},
    {BYTES(P2 "ctorch\nFloatStorage\n)R."), "calls 'torch.FloatStorage', which is not allowed"},
    {BYTES(P2 "NN\x93."), "a global's name is None and None"},
    {BYTES(P2 "N)R."), "None is called with a tuple"},
    {BYTES(P2 "ctorch\nSize\nNR."), "a global name is called with None"},
    {BYTES(P2 "ctorch\nSize\n)R."), "expects one tuple"},
    {BYTES(P2 "(o."), "without a class"},
    {BYTES(P2 "K\1}b."), "a state is given to an integer"},
    {BYTES(P2 "ccollections\nOrderedDict\nK\1\x85R."), "expects one list of pairs"},
    {BYTES(P2 "ccollections\nOrderedDict\n](K\1K\1e\x85R."), "expected a pair"},
    /* opcodes that are not needed */
    {BYTES(P2 "\x82\x01."), "uses EXT1"},
    {BYTES(P2 "\x83\x01\0."), "uses EXT2"},
    {BYTES(P2 "\x84\x01\0\0\0."), "uses EXT4"},
    {BYTES("\x80\x04\x8f."), "uses EMPTY_SET"},
    {BYTES("\x80\x04"
           "N)}\x92."),
     "uses NEWOBJ_EX"},
    {BYTES("\x80\x04(\x91."), "uses FROZENSET"},
    {BYTES("\x80\x05\x97."), "uses NEXT_BUFFER"},
    {BYTES("\x80\x05\x98."), "uses READONLY_BUFFER"},
    {BYTES(P2 "I1\n."), "uses INT"},
    {BYTES(P2 "L1L\n."), "uses LONG"},
    {BYTES(P2 "F1\n."), "uses FLOAT"},
    {BYTES(P2 "S'a'\n."), "uses STRING"},
    {BYTES(P2 "Va\n."), "uses UNICODE"},
    {BYTES(P2 "g0\n."), "uses GET"},
    {BYTES(P2 "Np0\n."), "uses PUT"},
    {BYTES(P2 "Pa\n."), "uses PERSID"},
    /* the stack */
    {BYTES(P2 "0."), "the stack holds 0 values, 1 are needed"},
    {BYTES(P2 "1."), "no mark"},
    {BYTES(P2 "t."), "no mark"},
    {BYTES(P2 "2."), "1 are needed"},
    {BYTES(P2 "N(\x85."), "1 are needed"},
    {BYTES(P2 "N\x86."), "2 are needed"},
    {BYTES(P2 "NN\x87."), "3 are needed"},
    {BYTES(P2 "]a."), "2 are needed"},
    {BYTES(P2 "NNa."), "appended to None"},
    {BYTES(P2 "(e."), "1 are needed"},
    {BYTES(P2 "N(e."), "appended to None"},
    {BYTES(P2 "}K\1s."), "3 are needed"},
    {BYTES(P2 "}K"), "ends in the middle"},
    {BYTES(P2 "NNNs."), "set in None"},
    {BYTES(P2 "}(Nu."), "a key without a value"},
    {BYTES(P2 "(Nd."), "a key without a value"},
    {BYTES(P2 "b."), "2 are needed"},
    {BYTES(P2 "R."), "2 are needed"},
    {BYTES(P2 "Q."), "1 are needed"},
    {BYTES(P2 "q\0."), "1 are needed"},
    {BYTES(P2 "h\0."), "memo entry 0 does not exist"},
    {BYTES(P2 "Nq\2h\1."), "memo entry 1 does not exist"},
    {BYTES(P2 "Nr\xff\xff\xff\xff."), "memo index 4294967295 is absurd"},
    /* counts */
    {BYTES(P2 "X\xff\xff\xff\xff"
              "abc."),
     "ends in the middle"},
    {BYTES("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
           "abc."),
     "ends in the middle"},
    {BYTES("\x80\x04\x8e\0\0\0\0\0\0\0\x80"
           "abc."),
     "ends in the middle"},
    {BYTES(P2 "\x8b\xff\xff\xff\x7f"
              "abc."),
     "ends in the middle"},
    {BYTES(P2 "ctorch\nFloatStorage."), "ends in the middle"},
    /* storages and tensors */
    {BYTES(P2 "NQ."), "a persistent id is None"},
    {BYTES(P2 "(X\7\0\0\0storageNX\1\0\0\0kX\3\0\0\0cpuK\1tQ."), "a storage's type is None"},
    {BYTES(P2 "(X\7\0\0\0storagectorch\nSize\nX\1\0\0\0kX\3\0\0\0cpuK\1tQ."), "expected a torch storage type"},
    {BYTES(P2 "(X\7\0\0\0storagectorch\nFloatStorage\nK\1X\3\0\0\0cpuK\1tQ."), "a storage's key is an integer"},
    {BYTES(P2 "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuJ\xff\xff\xff\xfftQ."),
     "no count of elements"},
    {BYTES(P2
           "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpu\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7ftQ."),
     "no count of elements"},
    {BYTES(P2 "ctorch._utils\n_rebuild_tensor_v2\n)R."), "has 0 arguments"},
    {BYTES(P2 "ctorch._utils\n_rebuild_tensor_v2\n(NK\0))tR."), "the storage is None"},
    {BYTES(P2 "ctorch._utils\n_rebuild_parameter\nN\x85R."), "expects a tensor"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\1", "K\3K\4\x86", "K\4K\1\x86") "."),
     "beyond its storage 'k' of 12 elements"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0", "K\3K\4\x86", "K\5K\1\x86") "."), "beyond its storage"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0", "K\3\x85", "K\4K\1\x86") "."),
     "1 dimensions but 2 strides"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0", "K\3\x85", "J\xff\xff\xff\xff\x85") "."),
     "something other than counts"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0", "N", "N") "."), "shape is None"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", ")") "."),
     "9 dimensions, at most 8"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\0"), "\0", ")", ")") "."), "beyond its storage"},
    {BYTES(P2 TENSOR(STORAGE("FloatStorage", "\x0c"), "\0",
                     "J\xff\xff\xff\x7f\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86",
                     "K\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86") "."),
     "beyond its storage"},
};

static void refused_pickles_say_why(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        nb_error err = {0};
        nb_status st = run(refused[i].pickle, refused[i].size, NULL, &err);
        if (!st) fail_msg("row %zu (%s) was accepted", i, refused[i].sentence);
        if (!strstr(err.text, refused[i].sentence))
            fail_msg("row %zu: \"%s\", expected \"%s\"", i, err.text, refused[i].sentence);
    }
}

/* ---- what Python itself writes (tests/bad/torch/make.py) ---- */

static const struct {
    const char *name;
    int first; /* protocol */
    const char *expected;
} written[] = {
    {"chars", 2,
     "{'vocab_size': 3, 'itos': {0: '\n', 1: 'a', 2: '\xe4\xbd\xa0'}, 'stoi': {'\n': 0, 'a': 1, '\xe4\xbd\xa0': 2}}"},
    {"encoding", 3,
     "<Encoding(){'name': 'rustbpe', 'pat_str': '\\p{L}+|[^\\p{L}]', 'mergeable_ranks': {b'': 0, b'\1': 1"},
    {"mixed", 3,
     "[None, True, False, 0, 255, 65535, -1, 2147483648, -1099511627776, 1.5, 'text', b'bytes', (), (1), (1, 2), (1, "
     "2, 3), "
     "(1, 2, 3, 4), [], {}, big]"},
    {"tensor", 2, "{'w': tensor(f32 '0' 12, 0, 3/4, 4/1)}"},
};

static void read_written(const char *name, int protocol, nb_buf *pickle) {
    char path[UNIT_PATH];
    nb_error err = {0};
    snprintf(path, sizeof path, "%s/bad/torch/good/%s_%d.pkl", NIBBLE_TEST_DATA, name, protocol);
    if (nb_read_file(path, 1 << 20, pickle, &err)) fail_msg("%s", err.text);
}

static void pickles_of_python_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(written); i++)
        for (int protocol = written[i].first; protocol <= 5; protocol++) {
            nb_buf pickle = {0}, text = {0};
            nb_error err = {0};
            read_written(written[i].name, protocol, &pickle);
            if (run(pickle.data, pickle.size, &text, &err)) fail_msg("%s_%d: %s", written[i].name, protocol, err.text);
            if (strncmp(nb_buf_str(&text), written[i].expected, strlen(written[i].expected)) != 0)
                fail_msg("%s_%d: %s, expected %s", written[i].name, protocol, nb_buf_str(&text), written[i].expected);
            for (size_t n = 0; n < pickle.size; n++) assert_int_not_equal(run(pickle.data, n, NULL, &err), NB_OK);
            for (size_t at = 0; at < pickle.size; at++)
                for (unsigned flip = 1; flip < 256; flip = flip * 2 + (flip == 16)) {
                    pickle.data[at] ^= (uint8_t)flip;
                    (void)run(pickle.data, pickle.size, NULL, &err);
                    pickle.data[at] ^= (uint8_t)flip;
                }
            nb_buf_free(&pickle);
            nb_buf_free(&text);
        }
}

/* ---- limits ---- */

static void repeat(nb_buf *b, const char *piece, size_t n_piece, size_t times) {
    for (size_t i = 0; i < times; i++) nb_buf_append(b, piece, n_piece);
}

static nb_status run_buf(nb_buf *b, nb_error *err) {
    assert_false(b->failed);
    nb_status st = run(b->data, b->size, NULL, err);
    nb_buf_free(b);
    return st;
}

static void nesting_takes_no_recursion(void **state) {
    (void)state;
    nb_buf b = {0};
    nb_error err = {0};
    enum { DEEP = 30000 };
    nb_buf_text(&b, P2);
    repeat(&b, "]", 1, DEEP);
    repeat(&b, "a", 1, DEEP - 1);
    nb_buf_text(&b, ".");
    assert_int_equal(run_buf(&b, &err), NB_OK);
    nb_buf_text(&b, P2 "N");
    repeat(&b, "\x85", 1, DEEP);
    nb_buf_text(&b, ".");
    assert_int_equal(run_buf(&b, &err), NB_OK);
}

static void limits_are_kept(void **state) {
    (void)state;
    nb_buf b = {0};
    nb_error err = {0};
    nb_buf_text(&b, P2);
    repeat(&b, "(", 1, NB_PICKLE_MAX_MARKS + 1);
    assert_int_equal(run_buf(&b, &err), NB_LIMIT);
    nb_buf_text(&b, P2 "N");
    repeat(&b, "2", 1, NB_PICKLE_MAX_STACK);
    assert_int_equal(run_buf(&b, &err), NB_LIMIT);
    /* An arena of 4 MiB holds no 200000 dictionaries. */
    nb_buf_text(&b, P2);
    repeat(&b, "}0", 2, 200000);
    nb_buf_text(&b, "N.");
    assert_int_equal(run_buf(&b, &err), NB_LIMIT);
    assert_non_null(strstr(err.text, "4 MiB"));
    /* Appending a list's copies to itself, again and again, grows by the bytes of the pickle only. */
    nb_buf_append(&b, P2 "]q\0", 5);
    repeat(&b, "h\0a", 3, 400000);
    nb_buf_text(&b, ".");
    assert_int_equal(run_buf(&b, &err), NB_LIMIT);
}

/* ---- damage ---- */

static void truncation_at_every_byte(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++)
        for (size_t n = 0; n < accepted[i].size; n++) {
            uint8_t *exact = n ? malloc(n) : NULL; /* so that a sanitizer sees the byte behind */
            if (n) memcpy(exact, accepted[i].pickle, n);
            nb_error err = {0};
            if (!run(exact ? exact : (const uint8_t *)"", n, NULL, &err))
                fail_msg("%s cut at %zu was accepted", accepted[i].what, n);
            assert_true(err.text[0]);
            free(exact);
        }
}

static void damage_of_every_byte(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        uint8_t *copy = malloc(accepted[i].size);
        memcpy(copy, accepted[i].pickle, accepted[i].size);
        for (size_t at = 0; at < accepted[i].size; at++)
            for (unsigned flip = 1; flip < 256; flip++) {
                nb_buf text = {0};
                nb_error err = {0};
                copy[at] ^= (uint8_t)flip;
                nb_status st = run(copy, accepted[i].size, &text, &err);
                assert_true(!st || err.text[0]);
                nb_buf_free(&text);
                copy[at] ^= (uint8_t)flip;
            }
        free(copy);
    }
}

/* Random programs of valid opcodes reach states that damage does not. */
static void random_programs(void **state) {
    (void)state;
    static const char *const pieces[] = {"N",
                                         "K\1",
                                         "(",
                                         "t",
                                         "]",
                                         "}",
                                         "a",
                                         "e",
                                         "s",
                                         "u",
                                         "0",
                                         "1",
                                         "2",
                                         "q\1",
                                         "q\2",
                                         "h\1",
                                         "h\2",
                                         "\x85",
                                         "\x86",
                                         "\x87",
                                         ")",
                                         "l",
                                         "d",
                                         "R",
                                         "b",
                                         "Q",
                                         "o",
                                         "\x81",
                                         "\x93",
                                         "\x94",
                                         "X\1\0\0\0k",
                                         "ccollections\nOrderedDict\n",
                                         "ctorch\nSize\n",
                                         "ctorch\ndevice\n",
                                         "ctorch._utils\n_rebuild_tensor_v2\n",
                                         STORAGE("FloatStorage", "\1")};
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        nb_buf b = {0};
        nb_error err = {0};
        nb_buf_text(&b, P2);
        for (int i = 0; i < 40; i++) {
            size_t p = (size_t)(unit_random(&seed) % COUNT_OF(pieces));
            size_t n = p == 1                      ? 2
                       : p == 30                   ? 6
                       : p == COUNT_OF(pieces) - 1 ? sizeof STORAGE("FloatStorage", "\1") - 1
                                                   : strlen(pieces[p]);
            nb_buf_append(&b, pieces[p], n);
        }
        nb_buf_text(&b, ".");
        run_buf(&b, &err);
    }
}

static void failing_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++)
        for (long n = 0; is_accepted(i); n++) {
            nb_error err = {0};
            nb_mem_fail_at(n);
            nb_status st = run(accepted[i].pickle, accepted[i].size, NULL, &err);
            nb_mem_fail_at(-1);
            if (!st) break;
            assert_int_equal(st, NB_MEMORY);
            assert_true(n < 100);
        }
}

static void used_bytes_are_told(void **state) {
    (void)state;
    nb_arena arena = {.limit = 1 << 20};
    const nb_value *root = NULL;
    size_t used = 0;
    nb_error err = {0};
    assert_int_equal(nb_pickle_run((const uint8_t *)P2 "K\5.rest", 9, &arena, &root, &used, &err), NB_OK);
    assert_int_equal(used, 5);
    assert_int_equal(root->integer, 5);
    nb_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_pickles_give_their_values), cmocka_unit_test(refused_pickles_say_why),
        cmocka_unit_test(pickles_of_python_are_read),
        cmocka_unit_test(nesting_takes_no_recursion),         cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(truncation_at_every_byte),           cmocka_unit_test(damage_of_every_byte),
        cmocka_unit_test(random_programs),                    cmocka_unit_test(failing_memory),
        cmocka_unit_test(used_bytes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
