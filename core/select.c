#include "core/select.h"

#include <stdbool.h>
#include <string.h>

/* The bits that a pass looks at; together all 32. Keys are bits of floats: the first 14 are sign, exponent and five more. */
static const struct pass {
    unsigned shift, bits;
} passes[] = {{18, 14}, {9, 9}, {0, 9}};
enum { N_PASSES = sizeof passes / sizeof *passes };

static double mass_of(const float *mass, size_t i) { return mass ? (double)mass[i] : 1; }

/* The items at place[n] whose bits of pass p are `bin`; place NULL: at 0, 1, ..., n - 1. Without a branch: which they are is hard
 * to foresee. Returns how many there are. */
static size_t narrow(struct pass p, uint32_t bin, const uint32_t *key, const uint32_t *place, size_t n, uint32_t *out) {
    uint32_t low = (UINT32_C(1) << p.bits) - 1;
    size_t m = 0;
    for (size_t j = 0; j < n; j++) {
        uint32_t i = place ? place[j] : (uint32_t)j;
        out[m] = i;
        m += (key[i] >> p.shift & low) == bin;
    }
    return m;
}

nb_cut nb_select(const uint32_t *key, const float *mass, size_t n, double target, nb_select_room room) {
    const uint32_t *place = NULL; /* of the items that agree with the cut so far */
    double reached = 0;           /* by the items below those */
    nb_cut cut = {0};
    for (size_t k = 0; k < N_PASSES; k++) {
        struct pass p = passes[k];
        uint32_t bin = 0, low = (UINT32_C(1) << p.bits) - 1;
        memset(room.bins, 0, (low + 1) * sizeof *room.bins);
        for (size_t j = 0; j < n; j++) {
            size_t i = place ? place[j] : j;
            room.bins[key[i] >> p.shift & low] += mass_of(mass, i);
        }
        while (bin < low && reached + room.bins[bin] < target) reached += room.bins[bin++];
        cut.key = cut.key << p.bits | bin;
        n = narrow(p, bin, key, place, n, room.place);
        place = room.place;
    }
    for (size_t j = 0; j < n && reached < target; j++) {
        reached += mass_of(mass, place[j]);
        cut.before = place[j] + 1;
    }
    return cut;
}

nb_cut nb_cut_wider(nb_cut a, nb_cut b) {
    bool first = a.key != b.key ? a.key > b.key : a.before > b.before;
    return first ? a : b;
}
