#include "bench/shim.h"

#include <benchmark/benchmark.h>

static benchmark::State *real(shim_state *s) { return reinterpret_cast<benchmark::State *>(s); }
static const benchmark::State *real(const shim_state *s) { return reinterpret_cast<const benchmark::State *>(s); }

void shim_register(const char *name, void (*fn)(shim_state *state, void *arg), void *arg) {
    benchmark::RegisterBenchmark(
        name, [fn, arg](benchmark::State &state) { fn(reinterpret_cast<shim_state *>(&state), arg); });
}

bool shim_next(shim_state *s) { return real(s)->KeepRunning(); }
double shim_iterations(const shim_state *s) { return static_cast<double>(real(s)->iterations()); }
void shim_counter(shim_state *s, const char *name, double value) { real(s)->counters[name] = value; }
void shim_skip(shim_state *s, const char *why) { real(s)->SkipWithError(why); }
void shim_context(const char *key, const char *value) { benchmark::AddCustomContext(key, value); }

int shim_main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
