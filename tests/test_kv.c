/* Whose leaves of the KV cache are whose: sharing, copies on write, rewinding and gaps against plain arrays, in random
 * order; and that every leaf comes back. */
#include "base/mem.h"
#include "core/kv.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TEXTS = 5, POSITIONS = 700, SINK = 1, LAYERS = 2 };

/* What a text should hold: a tag per position, and which positions are dropped. */
typedef struct expected {
    uint32_t length, gap_end[LAYERS];
    uint8_t tag[POSITIONS];
} expected;

static uint8_t *tag_at(const nb_kv *kv, const nb_kv_text *t, uint32_t layer, uint32_t head, uint32_t position) {
    uint8_t *page = nb_kv_page_at(kv, t, layer, head, position / NB_KV_PAGE);
    return page ? page + position % NB_KV_PAGE : NULL;
}

static void extend(nb_kv *kv, nb_kv_text *t, expected *e, uint32_t n, uint64_t *seed) {
    size_t left = nb_kv_left(kv), need = nb_kv_need(kv, t, n);
    nb_kv_extend(kv, t, n);
    assert_int_equal(nb_kv_left(kv), left - need);
    for (uint32_t p = e->length; p < e->length + n; p++) {
        e->tag[p] = (uint8_t)unit_random(seed);
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            for (uint32_t head = 0; head < kv->shape.n_kv_head; head++) {
                uint8_t *tag = tag_at(kv, t, layer, head, p);
                if (tag) *tag = (uint8_t)(e->tag[p] + layer + 2 * head); /* check_text finds what has no page */
            }
    }
    e->length += n;
}

static bool dropped(const expected *e, uint32_t layer, uint32_t page) {
    return page >= SINK && page < e->gap_end[layer];
}

static void check_text(const nb_kv *kv, const nb_kv_text *t, const expected *e) {
    assert_int_equal(t->length, e->length);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (uint32_t p = 0; p < e->length; p++) {
            uint32_t page = p / NB_KV_PAGE;
            for (uint32_t head = 0; head < kv->shape.n_kv_head; head++) {
                const uint8_t *tag = tag_at(kv, t, layer, head, p);
                assert_int_equal(tag == NULL, dropped(e, layer, page));
                if (tag) assert_int_equal(*tag, (uint8_t)(e->tag[p] + layer + 2 * head));
            }
        }
}

/* Every leaf is counted as often as tables have it. */
static void check_counts(const nb_kv *kv) {
    uint32_t *found = nb_calloc(kv->n_leaves, sizeof *found), used = 0;
    for (const nb_kv_text *t = kv->texts; t < kv->texts + kv->n_texts; t++)
        for (uint32_t i = 0; i < kv->n_layer * kv->n_pages; i++)
            if (t->table[i]) found[t->table[i] - 1]++;
    for (uint32_t leaf = 0; leaf < kv->n_leaves; leaf++) {
        assert_int_equal(found[leaf], kv->refs[leaf]);
        used += found[leaf] > 0;
    }
    assert_int_equal(nb_kv_left(kv), kv->n_leaves - used);
    nb_free(found);
}

static void any_order(void **state) {
    (void)state;
    nb_hparams h = tiny_hparams("n_layer=2 n_head=4 n_kv_head=2");
    nb_error err = {0};
    const uint64_t start = unit_seed();
    for (int type = NB_KV_F32; nb_kv_type_name((size_t)type); type++) {
        nb_kv kv;
        const nb_kv_plan plan = {.n_texts = TEXTS, .n_positions = POSITIONS, .n_sink = SINK, .types = {(nb_kv_type)type, (nb_kv_type)type}};
        expected texts[TEXTS] = {0};
        uint64_t seed = start;
        assert_int_equal(nb_kv_create(&kv, &h, &plan, &err), NB_OK);
        for (int step = 0; step < 6000; step++) {
            uint32_t i = (uint32_t)(unit_random(&seed) % TEXTS), j = (uint32_t)(unit_random(&seed) % TEXTS);
            uint32_t any = (uint32_t)unit_random(&seed) % 1000, layer = any % LAYERS;
            nb_kv_text *t = &kv.texts[i];
            expected *e = &texts[i];
            switch (unit_random(&seed) % 6) {
            case 0: /* empty, and then perhaps the beginning of another, as far as that has no gap */
                nb_kv_rewind(&kv, t, 0);
                *e = (expected){0};
                if (i == j || texts[j].gap_end[0] || texts[j].gap_end[1]) break;
                *e = texts[j];
                e->length = any % (e->length + 1);
                nb_kv_share(&kv, t, &kv.texts[j], e->length);
                break;
            case 1: /* back, but not into a gap */
                if (e->gap_end[0] || e->gap_end[1]) break;
                e->length = any % (e->length + 1);
                nb_kv_rewind(&kv, t, e->length);
                break;
            case 2:
                if (any % 5) break; /* seldom: gaps stay */
                nb_kv_drop(&kv, t, layer, e->length * (any / 5) / 200 / NB_KV_PAGE);
                e->gap_end[layer] = t->first[layer];
                break;
            default:
                extend(&kv, t, e, any % (POSITIONS - e->length < 130 ? POSITIONS - e->length + 1 : 130), &seed);
            }
            check_text(&kv, t, e);
            if (step % 50 == 0)
                for (uint32_t k = 0; k < TEXTS; k++) check_text(&kv, &kv.texts[k], &texts[k]);
            if (step % 50 == 0) check_counts(&kv);
        }
        for (uint32_t k = 0; k < TEXTS; k++) nb_kv_rewind(&kv, &kv.texts[k], 0);
        assert_int_equal(nb_kv_left(&kv), kv.n_leaves);
        nb_kv_free(&kv);
    }
}

/* A prefix is shared without leaves of its own; continuing it copies one page per layer, for whoever comes first. */
static void a_shared_prefix_is_held_once(void **state) {
    (void)state;
    nb_hparams h = tiny_hparams("n_layer=2");
    nb_error err = {0};
    nb_kv kv;
    expected e[2] = {0};
    uint64_t seed = 1;
    assert_int_equal(nb_kv_create(&kv, &h, &(nb_kv_plan){.n_texts = 2, .n_positions = 256}, &err), NB_OK);
    extend(&kv, &kv.texts[0], &e[0], 100, &seed);
    assert_int_equal(nb_kv_left(&kv), kv.n_leaves - 4);
    nb_kv_share(&kv, &kv.texts[1], &kv.texts[0], 100);
    e[1] = e[0];
    assert_int_equal(nb_kv_left(&kv), kv.n_leaves - 4);
    assert_int_equal(nb_kv_need(&kv, &kv.texts[1], 1), 2);
    extend(&kv, &kv.texts[1], &e[1], 1, &seed);
    assert_int_equal(nb_kv_need(&kv, &kv.texts[0], 28), 0); /* the copy is the other's */
    extend(&kv, &kv.texts[0], &e[0], 28, &seed);
    check_text(&kv, &kv.texts[0], &e[0]);
    check_text(&kv, &kv.texts[1], &e[1]);
    assert_ptr_equal(nb_kv_page_at(&kv, &kv.texts[0], 1, 0, 0), nb_kv_page_at(&kv, &kv.texts[1], 1, 0, 0));
    nb_kv_free(&kv);
}

static void what_cannot_be_had(void **state) {
    (void)state;
    nb_hparams h = tiny_hparams("n_layer=1024 n_kv_head=1 head_dim=1024 n_head=1");
    nb_error err = {0};
    nb_kv kv;
    const nb_kv_plan most = {.n_texts = 4096, .n_positions = UINT32_MAX};
    assert_int_equal(nb_kv_create(&kv, &h, &most, &err), NB_LIMIT);
    assert_non_null(strstr(err.text, "4294967295 positions of 4096 texts"));
    h = tiny_hparams("");
    for (long n = 0;; n++) {
        nb_mem_fail_at(n);
        nb_status st = nb_kv_create(&kv, &h, &(nb_kv_plan){.n_texts = 3, .n_positions = 100}, &err);
        nb_mem_fail_at(-1);
        nb_kv_free(&kv);
        if (!st) break;
        assert_int_equal(st, NB_MEMORY);
        assert_true(n < 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order),
        cmocka_unit_test(a_shared_prefix_is_held_once),
        cmocka_unit_test(what_cannot_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
