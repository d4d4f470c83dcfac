/* Encodings: Intel SDM vol. 2, sections 2.1 (ModRM, SIB), 2.3 (VEX) and VPDPBUSD, VPDPBUSDS, VPDPWSSD, VPDPWSSDS.
 * Registers in the frame of a signal: the XSAVE area in its standard form, SDM vol. 1, section 13.4, and the Linux
 * header asm/sigcontext.h. */
#include "tests/support/avxvnni.h"

#include <stddef.h>

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "simd/cpu.h"

/* The XSAVE area. Components are as in XCR0; one whose bit in XSTATE_BV is clear is zero, whatever its bytes. */
enum { SSE = 1 << 1, AVX = 1 << 2, ZMM_HI256 = 1 << 6 };
enum { AREA_XMM = 160, AREA_MAGIC = 464, AREA_COMPONENTS = 472, AREA_XSTATE_BV = 512 };
static const uint32_t MAGIC = 0x46505853; /* FP_XSTATE_MAGIC1: the area goes on after the 512 bytes of FXSAVE */

static struct here {
    size_t avx, zmm;
    struct sigaction before;
} here; /* offsets of the components in the area; written before the handler is there */

typedef struct vector {
    uint8_t byte[32];
} vector;

typedef struct instruction {
    bool words, saturate, wide; /* vpdpw..., vpdp...s, 256 bits */
    int destination, first;
    int second; /* -1: memory at `address` */
    uint64_t address, next;
} instruction;

/* ---- decoding */

static const int gprs[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t gpr(const ucontext_t *c, int i) { return (uint64_t)c->uc_mcontext.gregs[gprs[i]]; }

static uint64_t displacement(const uint8_t **at, size_t bytes) {
    int32_t value = 0;
    if (bytes == 1) value = (int8_t)**at;
    else if (bytes == 4) memcpy(&value, *at, sizeof value);
    *at += bytes;
    return (uint64_t)(int64_t)value;
}

/* The memory operand of a ModRM byte, *at just after it. more_index, more_base: 8 where VEX says so, to be added. */
static uint64_t effective_address(const ucontext_t *c, uint8_t modrm, int more_index, int more_base,
                                  const uint8_t **at) {
    int mode = modrm >> 6, low = modrm & 7;
    uint64_t address = 0;
    if (mode == 0 && low == 5) { /* relative to the next instruction; no immediate follows here */
        address = displacement(at, 4);
        return (uint64_t)(uintptr_t)*at + address;
    }
    if (low == 4) {
        uint8_t sib = *(*at)++;
        int index = more_index + (sib >> 3 & 7);
        if (index != 4) address = gpr(c, index) << (sib >> 6);
        low = sib & 7;
        if (mode == 0 && low == 5) return address + displacement(at, 4); /* no base */
    }
    return address + gpr(c, more_base + low) + displacement(at, mode == 1 ? 1 : mode == 2 ? 4 : 0);
}

/* VEX.128 or VEX.256, 66, 0F38, W0, 50 to 53 /r, without a prefix for the segment or the size of addresses. Not a byte
 * beyond the instruction is read. */
static bool decode(const ucontext_t *c, instruction *i) {
    const uint8_t *at = (const uint8_t *)(uintptr_t)c->uc_mcontext.gregs[REG_RIP];
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x83) != 1 || (at[3] & 0xfc) != 0x50) return false;
    uint8_t inverted = (uint8_t)~at[1], modrm = at[4]; /* R, X, B */
    *i = (instruction){.words = at[3] & 2, .saturate = at[3] & 1, .wide = at[2] & 4, .first = ~at[2] >> 3 & 15};
    i->destination = (inverted >> 7 << 3) + (modrm >> 3 & 7);
    int more_index = (inverted >> 6 & 1) << 3, more_base = (inverted >> 5 & 1) << 3;
    at += 5;
    i->second = modrm >> 6 == 3 ? more_base + (modrm & 7) : -1;
    if (i->second < 0) i->address = effective_address(c, modrm, more_index, more_base, &at);
    i->next = (uint64_t)(uintptr_t)at;
    return true;
}

/* ---- registers */

static uint64_t components(const uint8_t *area, int offset) {
    uint64_t bits;
    memcpy(&bits, area + offset, sizeof bits);
    return bits;
}

static vector read_register(const uint8_t *area, int i) {
    uint64_t in_use = components(area, AREA_XSTATE_BV);
    vector v = {{0}};
    if (in_use & SSE) memcpy(v.byte, area + AREA_XMM + 16 * i, 16);
    if (in_use & AVX) memcpy(v.byte + 16, area + here.avx + (size_t)(16 * i), 16);
    return v;
}

/* All that is above the vector becomes zero, as VEX has it. */
static void write_register(uint8_t *area, int i, const vector *v) {
    uint64_t in_use = components(area, AREA_XSTATE_BV), both = in_use | SSE | AVX;
    if (!(in_use & SSE)) memset(area + AREA_XMM, 0, 256);
    if (!(in_use & AVX)) memset(area + here.avx, 0, 256);
    memcpy(area + AREA_XSTATE_BV, &both, sizeof both);
    memcpy(area + AREA_XMM + 16 * i, v->byte, 16);
    memcpy(area + here.avx + (size_t)(16 * i), v->byte + 16, 16);
    if (in_use & ZMM_HI256) memset(area + here.zmm + (size_t)(32 * i), 0, 32);
}

/* ---- computing */

/* Four products of an unsigned and a signed byte, or two of signed words, in 32 bits. */
static int64_t dot(const uint8_t *a, const uint8_t *b, bool words) {
    if (!words) return a[0] * (int8_t)b[0] + a[1] * (int8_t)b[1] + a[2] * (int8_t)b[2] + a[3] * (int8_t)b[3];
    int16_t x[2], y[2];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    return (int64_t)x[0] * y[0] + (int64_t)x[1] * y[1];
}

static void accumulate(const instruction *i, vector *sum, const vector *a, const vector *b) {
    for (size_t at = 0; at < sizeof sum->byte; at += 4) {
        int32_t start;
        memcpy(&start, sum->byte + at, sizeof start);
        int64_t total = start + dot(a->byte + at, b->byte + at, i->words);
        if (i->saturate) total = total > INT32_MAX ? INT32_MAX : total < INT32_MIN ? INT32_MIN : total;
        uint32_t lane = !i->wide && at >= 16 ? 0 : (uint32_t)total;
        memcpy(sum->byte + at, &lane, sizeof lane);
    }
}

bool avxvnni_step(ucontext_t *c) {
    uint8_t *area = (uint8_t *)c->uc_mcontext.fpregs;
    instruction i;
    uint32_t magic = 0;
    if (area) memcpy(&magic, area + AREA_MAGIC, sizeof magic);
    if (magic != MAGIC || !(components(area, AREA_COMPONENTS) & AVX) || !decode(c, &i)) return false;
    vector sum = read_register(area, i.destination), a = read_register(area, i.first), b = {{0}};
    if (i.second >= 0) b = read_register(area, i.second);
    else memcpy(b.byte, (const void *)(uintptr_t)i.address, i.wide ? 32 : 16);
    accumulate(&i, &sum, &a, &b);
    write_register(area, i.destination, &sum);
    c->uc_mcontext.gregs[REG_RIP] = (greg_t)i.next;
    return true;
}

/* Instructions that follow at once are spared a signal. What is none of ours happens again, without the handler. */
static void on_illegal(int number, siginfo_t *info, void *context) {
    (void)info;
    if (!avxvnni_step(context)) sigaction(number, &here.before, NULL);
    else
        while (avxvnni_step(context)) {}
}

const char *avxvnni_emulate(void) {
    uint32_t size, offset, c, d;
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO}, before;
    if (!(nb_cpu_features() & NB_CPU_AVX2)) return "this CPU lacks AVX2";
    if (!__get_cpuid_count(13, 2, &size, &offset, &c, &d) || size != 256)
        return "the CPU does not say where XSAVE puts AVX";
    here.avx = offset;
    if (__get_cpuid_count(13, 6, &size, &offset, &c, &d)) here.zmm = offset;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGILL, &action, &before) != 0) return "SIGILL cannot be handled";
    if (!(before.sa_flags & SA_SIGINFO) || before.sa_sigaction != on_illegal) here.before = before;
    return NULL;
}

#else

const char *avxvnni_emulate(void) { return "it is emulated on x86-64 Linux only"; }

#endif
