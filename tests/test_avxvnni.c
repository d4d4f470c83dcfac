/* The emulation of AVX-VNNI that lets tests run the tier avxvnni on other CPUs (tests/support/avxvnni.h): encodings as
 * an assembler wrote them against their meaning in plain C, registers and memory byte for byte. */
#include "tests/support/avxvnni.h"

#include "tests/support/unit.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void need_emulation(void) {
    const char *why = avxvnni_emulate();
    if (!why) return;
    print_message("Skipped: %s.\n", why);
    skip();
}

/* ---- the instructions */

typedef enum operation { BUSD, BUSDS, WSSD, WSSDS } operation;

/* One lane: four unsigned bytes of a times four signed ones of b, or two signed words each, and `start`. */
static uint32_t plain_lane(operation op, uint32_t start, const uint8_t *a, const uint8_t *b) {
    int64_t sum = (int32_t)start;
    for (int i = 0; i < 4 && op <= BUSDS; i++) sum += (int64_t)a[i] * (b[i] < 128 ? b[i] : b[i] - 256);
    for (int i = 0; i < 4 && op >= WSSD; i += 2)
        sum += (int64_t)(int16_t)(a[i] | a[i + 1] << 8) * (int16_t)(b[i] | b[i + 1] << 8);
    if (op == BUSDS || op == WSSDS) sum = sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum;
    return (uint32_t)sum;
}

/* All 64 bytes of the destination: what is above the operands becomes zero. */
static void plain(operation op, size_t bytes, uint8_t *destination, const uint8_t *a, const uint8_t *b) {
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t lane;
        memcpy(&lane, destination + i, 4);
        lane = plain_lane(op, lane, a + i, b + i);
        memcpy(destination + i, &lane, 4);
    }
    memset(destination + bytes, 0, 64 - bytes);
}

/* Bytes at the ends of their ranges are frequent, so that sums saturate, and wrap where they do not. */
static void draw(uint8_t *bytes, size_t n, uint64_t *seed) {
    static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < n; i++) {
        uint64_t r = unit_random(seed);
        bytes[i] = r & 1 ? (uint8_t)(r >> 8) : ends[r >> 8 & 3];
    }
}

/* ---- a context as a signal brings it */

enum { SSE = 2, AVX = 4, ZMM = 64, AREA = 8192, NOTHING = -1, MEMORY = -2, RIP = -3 };

static const struct {
    const char *text;
    uint8_t code[10];
    size_t length, bytes;
    operation op;
    int destination, first, second, base, index, scale, displacement; /* the last four: of memory */
} rows[] = {
    {"vpdpbusd %ymm6,%ymm7,%ymm0", {0xc4, 0xe2, 0x45, 0x50, 0xc6}, 5, 32, BUSD, 0, 7, 6, 0, 0, 0, 0},
    {"vpdpbusd %ymm8,%ymm3,%ymm4", {0xc4, 0xc2, 0x65, 0x50, 0xe0}, 5, 32, BUSD, 4, 3, 8, 0, 0, 0, 0},
    {"vpdpbusds %ymm1,%ymm13,%ymm11", {0xc4, 0x62, 0x15, 0x51, 0xd9}, 5, 32, BUSDS, 11, 13, 1, 0, 0, 0, 0},
    {"vpdpwssd %ymm15,%ymm0,%ymm9", {0xc4, 0x42, 0x7d, 0x52, 0xcf}, 5, 32, WSSD, 9, 0, 15, 0, 0, 0, 0},
    {"vpdpwssds %ymm10,%ymm14,%ymm15", {0xc4, 0x42, 0x0d, 0x53, 0xfa}, 5, 32, WSSDS, 15, 14, 10, 0, 0, 0, 0},
    {"vpdpbusd %xmm2,%xmm1,%xmm3", {0xc4, 0xe2, 0x71, 0x50, 0xda}, 5, 16, BUSD, 3, 1, 2, 0, 0, 0, 0},
    {"vpdpwssds %xmm12,%xmm2,%xmm8", {0xc4, 0x42, 0x69, 0x53, 0xc4}, 5, 16, WSSDS, 8, 2, 12, 0, 0, 0, 0},
    {"vpdpbusd %ymm5,%ymm5,%ymm5", {0xc4, 0xe2, 0x55, 0x50, 0xed}, 5, 32, BUSD, 5, 5, 5, 0, 0, 0, 0},
    {"vpdpbusd (%rax),%ymm1,%ymm2", {0xc4, 0xe2, 0x75, 0x50, 0x10}, 5, 32, BUSD, 2, 1, MEMORY, 0, NOTHING, 0, 0},
    {"vpdpbusd (%r12),%ymm1,%ymm2", {0xc4, 0xc2, 0x75, 0x50, 0x14, 0x24}, 6, 32, BUSD, 2, 1, MEMORY, 12, NOTHING, 0, 0},
    {"vpdpbusd 0(%rbp),%ymm1,%ymm2", {0xc4, 0xe2, 0x75, 0x50, 0x55, 0x00}, 6, 32, BUSD, 2, 1, MEMORY, 5, NOTHING, 0, 0},
    {"vpdpbusd 0(%r13),%ymm1,%ymm2",
     {0xc4, 0xc2, 0x75, 0x50, 0x55, 0x00}, 6, 32, BUSD, 2, 1, MEMORY, 13, NOTHING, 0, 0},
    {"vpdpbusd -96(%rsi),%ymm11,%ymm2",
     {0xc4, 0xe2, 0x25, 0x50, 0x56, 0xa0}, 6, 32, BUSD, 2, 11, MEMORY, 6, NOTHING, 0, -96},
    {"vpdpbusds 0x1234(%r9),%ymm1,%ymm12", {0xc4, 0x42, 0x75, 0x51, 0xa1, 0x34, 0x12, 0x00, 0x00},
     9, 32, BUSDS, 12, 1, MEMORY, 9, NOTHING, 0, 0x1234},
    {"vpdpbusd -0x10000(%rsp),%ymm1,%ymm2", {0xc4, 0xe2, 0x75, 0x50, 0x94, 0x24, 0x00, 0x00, 0xff, 0xff},
     10, 32, BUSD, 2, 1, MEMORY, 4, NOTHING, 0, -0x10000},
    {"vpdpbusd 32(%rdi,%rcx,4),%ymm1,%ymm2",
     {0xc4, 0xe2, 0x75, 0x50, 0x54, 0x8f, 0x20}, 7, 32, BUSD, 2, 1, MEMORY, 7, 1, 4, 32},
    {"vpdpwssd (%r14,%r12,8),%ymm9,%ymm10",
     {0xc4, 0x02, 0x35, 0x52, 0x14, 0xe6}, 6, 32, WSSD, 10, 9, MEMORY, 14, 12, 8, 0},
    {"vpdpbusd -8(%rbp,%r15,2),%ymm1,%ymm2",
     {0xc4, 0xa2, 0x75, 0x50, 0x54, 0x7d, 0xf8}, 7, 32, BUSD, 2, 1, MEMORY, 5, 15, 2, -8},
    {"vpdpbusd 0x400(,%rdx,8),%ymm1,%ymm2", {0xc4, 0xe2, 0x75, 0x50, 0x14, 0xd5, 0x00, 0x04, 0x00, 0x00},
     10, 32, BUSD, 2, 1, MEMORY, NOTHING, 2, 8, 0x400},
    {"vpdpbusd 0x200(%r13,%rax),%xmm1,%xmm2", {0xc4, 0xc2, 0x71, 0x50, 0x94, 0x05, 0x00, 0x02, 0x00, 0x00},
     10, 16, BUSD, 2, 1, MEMORY, 13, 0, 1, 0x200},
    {"vpdpbusd 0x60(%rip),%ymm1,%ymm2", {0xc4, 0xe2, 0x75, 0x50, 0x15, 0x60, 0x00, 0x00, 0x00},
     9, 32, BUSD, 2, 1, MEMORY, RIP, NOTHING, 0, 0x60},
    {"vpdpwssds 0x60(%rip),%ymm13,%ymm14", {0xc4, 0x62, 0x15, 0x53, 0x35, 0x60, 0x00, 0x00, 0x00},
     9, 32, WSSDS, 14, 13, MEMORY, RIP, NOTHING, 0, 0x60},
};

static const struct {
    const char *text;
    uint8_t code[6];
} others[] = {
    {"vpdpbusd of AVX-512", {0x62, 0xf2, 0x45, 0x28, 0x50, 0xc6}},
    {"vpmaddubsw %ymm6,%ymm7,%ymm0", {0xc4, 0xe2, 0x45, 0x04, 0xc6}},
    {"vpermd %ymm6,%ymm7,%ymm0", {0xc4, 0xe2, 0x45, 0x36, 0xc6}},
    {"opcode 4f", {0xc4, 0xe2, 0x45, 0x4f, 0xc6}},
    {"opcode 54", {0xc4, 0xe2, 0x45, 0x54, 0xc6}},
    {"W1", {0xc4, 0xe2, 0xc5, 0x50, 0xc6}},
    {"without 66, of AVX-VNNI-INT8", {0xc4, 0xe2, 0x44, 0x50, 0xc6}},
    {"f3, of AVX-VNNI-INT8", {0xc4, 0xe2, 0x46, 0x50, 0xc6}},
    {"map 0F3A", {0xc4, 0xe3, 0x45, 0x50, 0xc6}},
    {"map 0F", {0xc4, 0xe1, 0x45, 0x50, 0xc6}},
    {"two-byte VEX", {0xc5, 0xe2, 0x45, 0x50, 0xc6}},
    {"behind a prefix of the segment", {0x64, 0xc4, 0xe2, 0x75, 0x50, 0x10}},
    {"ud2", {0x0f, 0x0b}},
};

static const int gprs[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

typedef struct machine {
    ucontext_t context;
    _Alignas(64) uint8_t area[AREA];
    _Alignas(64) uint8_t memory[256]; /* code at 64 */
} machine;

static void prepare(machine *m, const uint8_t *code, size_t length, uint64_t in_use, uint64_t *seed) {
    const uint32_t magic = 0x46505853; /* asm/sigcontext.h */
    const uint64_t saved = SSE | AVX | ZMM;
    memset(&m->context, 0, sizeof m->context);
    draw(m->area, sizeof m->area, seed);
    draw(m->memory, sizeof m->memory, seed);
    memcpy(m->area + 464, &magic, sizeof magic);
    memcpy(m->area + 472, &saved, sizeof saved);
    memcpy(m->area + 512, &in_use, sizeof in_use);
    memcpy(m->memory + 64, code, length);
    for (size_t i = 0; i < 16; i++) m->context.uc_mcontext.gregs[gprs[i]] = (greg_t)unit_random(seed);
    m->context.uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(m->memory + 64);
    m->context.uc_mcontext.fpregs = (void *)m->area;
}

static size_t offset_of(uint32_t component) {
    uint32_t size, offset = 0, c, d;
    __get_cpuid_count(13, component, &size, &offset, &c, &d);
    assert_in_range(offset, 0, AREA - 1024);
    return offset;
}

/* All 16 registers, of which the area holds what is in use. */
static void look(const uint8_t *area, uint8_t registers[16][64]) {
    size_t avx = offset_of(2), zmm = offset_of(6);
    uint64_t in_use;
    memcpy(&in_use, area + 512, sizeof in_use);
    memset(registers, 0, 16 * 64);
    for (size_t i = 0; i < 16; i++) {
        if (in_use & SSE) memcpy(registers[i], area + 160 + 16 * i, 16);
        if (in_use & AVX) memcpy(registers[i] + 16, area + avx + 16 * i, 16);
        if (in_use & ZMM && zmm) memcpy(registers[i] + 32, area + zmm + 32 * i, 32);
    }
}

/* Let the row's memory operand be at `target` by way of one of its registers. */
static void point_to(machine *m, size_t row, uint64_t target) {
    greg_t *r = m->context.uc_mcontext.gregs;
    uint64_t rest = target - (uint64_t)rows[row].displacement;
    int base = rows[row].base, index = rows[row].index;
    uint64_t scale = (uint64_t)rows[row].scale;
    if (base >= 0) r[gprs[base]] = (greg_t)(rest - (index >= 0 ? (uint64_t)r[gprs[index]] * scale : 0));
    else if (index >= 0) r[gprs[index]] = (greg_t)(rest / scale);
}

static void row_case(machine *m, size_t row, uint64_t in_use, uint64_t *seed) {
    uint8_t expected[16][64], found[16][64];
    uint8_t *operand = m->memory + (rows[row].base == RIP ? 64 + (int)rows[row].length + rows[row].displacement : 128);
    prepare(m, rows[row].code, rows[row].length, in_use, seed);
    if (rows[row].second == MEMORY) point_to(m, row, (uint64_t)(uintptr_t)operand);
    look(m->area, expected);
    ucontext_t before = m->context;
    if (!avxvnni_step(&m->context)) fail_msg("%s is not known", rows[row].text);
    uint8_t a[64], b[64];
    memcpy(a, expected[rows[row].first], 64);
    memcpy(b, rows[row].second == MEMORY ? operand : expected[rows[row].second], rows[row].bytes);
    plain(rows[row].op, rows[row].bytes, expected[rows[row].destination], a, b);
    look(m->area, found);
    for (size_t i = 0; i < 16; i++)
        if (memcmp(found[i], expected[i], 64) != 0)
            fail_msg("%s, components %#llx: register %zu", rows[row].text, (unsigned long long)in_use, i);
    before.uc_mcontext.gregs[REG_RIP] += (greg_t)rows[row].length;
    if (memcmp(&before, &m->context, sizeof before) != 0) fail_msg("%s: general registers", rows[row].text);
}

static void encodings(void **state) {
    (void)state;
    need_emulation();
    static const uint64_t in_use[] = {SSE | AVX | ZMM, SSE | AVX, SSE, AVX, 0};
    static machine m;
    uint64_t seed = 1;
    for (size_t row = 0; row < COUNT_OF(rows); row++)
        for (size_t i = 0; i < COUNT_OF(in_use); i++)
            for (int turn = 0; turn < 20; turn++) row_case(&m, row, in_use[i], &seed);
}

static void others_are_left(void **state) {
    (void)state;
    need_emulation();
    static machine m, before;
    uint64_t seed = 2;
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        prepare(&m, others[i].code, sizeof others[i].code, SSE | AVX, &seed);
        before = m;
        if (avxvnni_step(&m.context)) fail_msg("%s was taken for another instruction", others[i].text);
        assert_memory_equal(&m, &before, sizeof m);
    }
    prepare(&m, rows[0].code, rows[0].length, SSE | AVX, &seed);
    m.area[464] ^= 1; /* no area beyond 512 bytes */
    assert_false(avxvnni_step(&m.context));
    m.area[464] ^= 1;
    m.area[472] &= (uint8_t)~AVX;
    assert_false(avxvnni_step(&m.context));
    m.context.uc_mcontext.fpregs = NULL;
    assert_false(avxvnni_step(&m.context));
}

/* ---- the instructions themselves, by the CPU or by the handler; two in a row */

#define EXECUTE(bytes)                                                                                               \
    __asm__ volatile("vmovdqu (%0), %%ymm6\n vmovdqu (%1), %%ymm1\n vmovdqu (%2), %%ymm0\n .byte " bytes ", " bytes \
                     "\n vmovdqu %%ymm6, (%0)\n vzeroupper"                                                         \
                     :                                                                                              \
                     : "r"(sum), "r"(b), "r"(a)                                                                     \
                     : "xmm0", "xmm1", "xmm6", "memory")

static void execute(operation op, size_t bytes, uint8_t *sum, const uint8_t *a, const uint8_t *b) {
    switch (op + (bytes == 32 ? 4 : 0)) { /* destination ymm6, first ymm0, second ymm1 */
    case BUSD: EXECUTE("0xc4, 0xe2, 0x79, 0x50, 0xf1"); break;
    case BUSDS: EXECUTE("0xc4, 0xe2, 0x79, 0x51, 0xf1"); break;
    case WSSD: EXECUTE("0xc4, 0xe2, 0x79, 0x52, 0xf1"); break;
    case WSSDS: EXECUTE("0xc4, 0xe2, 0x79, 0x53, 0xf1"); break;
    case BUSD + 4: EXECUTE("0xc4, 0xe2, 0x7d, 0x50, 0xf1"); break;
    case BUSDS + 4: EXECUTE("0xc4, 0xe2, 0x7d, 0x51, 0xf1"); break;
    case WSSD + 4: EXECUTE("0xc4, 0xe2, 0x7d, 0x52, 0xf1"); break;
    case WSSDS + 4: EXECUTE("0xc4, 0xe2, 0x7d, 0x53, 0xf1"); break;
    default: fail();
    }
}

static void runs_in_place(void **state) {
    (void)state;
    need_emulation();
    uint8_t a[64], b[64], sum[64], expected[64];
    uint64_t seed = 3;
    for (int op = BUSD; op <= WSSDS; op++)
        for (size_t bytes = 16; bytes <= 32; bytes *= 2)
            for (int turn = 0; turn < 100; turn++) {
                draw(a, sizeof a, &seed);
                draw(b, sizeof b, &seed);
                draw(sum, sizeof sum, &seed);
                memcpy(expected, sum, sizeof sum);
                execute((operation)op, bytes, sum, a, b);
                for (int twice = 0; twice < 2; twice++) plain((operation)op, bytes, expected, a, b);
                assert_memory_equal(sum, expected, 32);
            }
}

/* Another illegal instruction ends the process as ever. */
static void others_end_the_process(void **state) {
    (void)state;
    need_emulation();
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        signal(SIGILL, SIG_DFL); /* not cmocka's */
        alarm(10);
        if (!avxvnni_emulate()) __asm__ volatile("ud2");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGILL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodings),
        cmocka_unit_test(others_are_left),
        cmocka_unit_test(runs_in_place),
        cmocka_unit_test(others_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void skipped(void **state) {
    (void)state;
    print_message("Skipped: %s.\n", avxvnni_emulate());
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(skipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
