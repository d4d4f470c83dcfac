#include "core/lookup.h"

uint32_t nb_lookup(const int32_t *text, size_t n, int32_t next, int32_t *draft, uint32_t most) {
    size_t longest = NB_LOOKUP_SHORTEST - 1, from = 0;
    for (size_t p = n; most && p > longest && longest < NB_LOOKUP_LONGEST; p--) {
        if (text[p - 1] != next) continue;
        size_t alike = 1; /* tokens before p, and at the text's end */
        while (alike < NB_LOOKUP_LONGEST && alike < p && text[p - 1 - alike] == text[n - alike]) alike++;
        if (alike <= longest) continue;
        longest = alike;
        from = p;
    }
    if (!from) return 0;
    for (uint32_t i = 0; i < most; i++) {
        size_t at = from + i;
        draft[i] = at < n ? text[at] : at == n ? next : draft[at - n - 1];
    }
    return most;
}
