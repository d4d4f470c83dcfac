#include "core/select.h"

#include <stdbool.h>
#include <string.h>
#include "base/checked.h"

/* The bits that a pass looks at; together all 32. Keys are bits of floats: the first 14 are sign, exponent and five
 * more. */
static const struct pass {
    unsigned shift, bits;
} passes[] = {{18, 14}, {9, 9}, {0, 9}};
enum { N_PASSES = sizeof passes / sizeof *passes };

static double mass_of(const float *mass, size_t i) { return mass ? (double)mass[i] : 1; }

/* The places of all items whose bits of pass p are `bin`; how many there are. Of most stretches it is soon clear, by
 * vectors, that they have none; in the others there is no branch, as which items they are is hard to foresee. */
static size_t find_all(struct pass p, uint32_t bin, const uint32_t *key, size_t n, uint32_t *out) {
    enum { STRETCH = 32 };
    uint32_t low = (UINT32_C(1) << p.bits) - 1, m = 0;
    for (size_t begin = 0; begin < n; begin += STRETCH) {
        size_t end = nb_min_size(begin + STRETCH, n);
        uint32_t here = 0;
        for (size_t i = begin; i < end; i++) here += (key[i] >> p.shift & low) == bin;
        if (!here) continue;
        for (size_t i = begin; i < end; i++) {
            out[m] = (uint32_t)i;
            m += (key[i] >> p.shift & low) == bin;
        }
    }
    return m;
}

/* The same among the items at place[n], which it leaves at the beginning of `place`. */
static size_t narrow(struct pass p, uint32_t bin, const uint32_t *key, uint32_t *place, size_t n) {
    uint32_t low = (UINT32_C(1) << p.bits) - 1;
    size_t m = 0;
    for (size_t j = 0; j < n; j++) {
        uint32_t i = place[j];
        place[m] = i;
        m += (key[i] >> p.shift & low) == bin;
    }
    return m;
}

nb_cut nb_select(const uint32_t *key, const float *mass, size_t n, double target, nb_select_room room) {
    const uint32_t *place = room.place; /* from the second pass on: of the items that agree with the cut so far */
    double reached = 0;                 /* by the items below those */
    nb_cut cut = {0};
    for (size_t k = 0; k < N_PASSES; k++) {
        struct pass p = passes[k];
        uint32_t bin = 0, low = (UINT32_C(1) << p.bits) - 1;
        memset(room.bins, 0, (low + 1) * sizeof *room.bins);
        for (size_t j = 0; j < n; j++) {
            size_t i = k ? place[j] : j;
            room.bins[key[i] >> p.shift & low] += mass_of(mass, i);
        }
        while (bin < low && reached + room.bins[bin] < target) reached += room.bins[bin++];
        cut.key = cut.key << p.bits | bin;
        n = k ? narrow(p, bin, key, room.place, n) : find_all(p, bin, key, n, room.place);
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
