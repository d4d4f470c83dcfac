/* AVX-VNNI on CPUs that lack it: a handler of SIGILL that carries out vpdpbusd and its three sisters in VEX encoding,
 * so that a tier made for other CPUs is run by the tests as it was compiled. Linux on x86-64 with AVX2. A signal takes
 * 2 to 8 microseconds (the more where the machine is virtual). Async-signal-safe; every thread may run such
 * instructions. */
#ifndef NB_TESTS_SUPPORT_AVXVNNI_H
#define NB_TESTS_SUPPORT_AVXVNNI_H

/* Install the handler for the process, while no such instructions run. Returns NULL, or why this machine cannot. cmocka
 * puts a handler of its own in the place for every test, so every test asks for this one. */
const char *avxvnni_emulate(void);

#if defined(__x86_64__) && defined(__linux__)
#include <stdbool.h>
#include <ucontext.h>

/* What the handler does: carry out the instruction at the context's RIP on its registers and go past it. False, and
 * nothing is changed, when it is another one or the context does not hold the AVX registers. After avxvnni_emulate. */
bool avxvnni_step(ucontext_t *context);
#endif

#endif
