/* Round trips through the container: every type and layout, odd shapes, both stores, levels and team sizes. */
#include "tests/test_format_util.h"

static const char file_name[] = "test_format.nbl";
static const char model_json[] = "{\"architecture\":\"llama\",\"hyperparameters\":{\"layers\":2,\"layers_again\":2}}";

/* Shapes: below, at and above a panel, a block, a strip; several chunks with a short last one; a panel above 1 MiB. */
static const uint64_t shapes[][2] = {{1, 1},    {1, 7},    {16, 32},  {15, 31},   {17, 33},    {33, 128},
                                     {31, 129}, {48, 160}, {5, 1000}, {300, 4097}, {17, 20001}};

/* Every type in every layout it has, in every shape. Names and fills vary with the row. */
static size_t all_samples(sample **out) {
    size_t n_shapes = sizeof shapes / sizeof *shapes, n = 0;
    sample *s = nb_calloc(NB_TYPE_COUNT * 2 * n_shapes, sizeof *s);
    assert_non_null(s);
    for (int type = 0; type < NB_TYPE_COUNT; type++)
        for (int layout = 0; layout < 2; layout++)
            for (size_t i = 0; i < n_shapes; i++) {
                const nb_type_info *info = &nb_types[type];
                if (layout == NB_LAYOUT_PLAIN ? info->plain_bytes == 0 : info->block_bytes == 0) continue;
                char name[64];
                snprintf(name, sizeof name, "%zu.%s.%d", i * 7 % n_shapes, info->name, layout);
                sample *one = &s[n++];
                *one = (sample){.fill = (fill)(n % 4)};
                one->t = (nb_tensor){.name = nb_strdup(name), .type = (nb_type)type, .layout = (nb_layout)layout,
                                     .n_dims = 2};
                memcpy(one->t.dims, shapes[i], sizeof shapes[i]);
                if (type == NB_TYPE_Q4)
                    for (int j = 0; j < NB_CODEBOOK_SIZE; j++) one->t.codebook[j] = (int8_t)(j * 8 - 64);
            }
    *out = s;
    return n;
}

static void free_samples(sample *s, size_t n) {
    for (size_t i = 0; i < n; i++) nb_free((char *)(uintptr_t)s[i].t.name);
    nb_free(s);
}

static void check_tensor(const nb_reader *r, const sample *s, const uint8_t *got, bool raw) {
    size_t n;
    uint8_t *want = sample_bytes(s, &n);
    const nb_tensor *t = nb_reader_find(r, s->t.name);
    assert_non_null(t);
    assert_int_equal(t->type, s->t.type);
    assert_int_equal(t->layout, s->t.layout);
    assert_int_equal(t->n_dims, s->t.n_dims);
    assert_memory_equal(t->dims, s->t.dims, sizeof t->dims);
    assert_memory_equal(t->codebook, s->t.codebook, sizeof t->codebook);
    assert_int_equal(t->raw_bytes, n);
    if (memcmp(got, want, n) != 0) fail_msg("tensor '%s' came back changed", s->t.name);
    const void *there = nb_reader_in_place(r, t);
    if (raw) {
        assert_non_null(there);
        assert_int_equal((uintptr_t)there % NB_ALIGN, 0);
        assert_int_equal(t->stored_bytes, n);
    }
    if (there) assert_memory_equal(there, want, n);
    nb_free(want);
}

static void check_file(const sample *s, size_t n, nb_team *team, bool raw) {
    nb_error err;
    nb_reader *r;
    OK(nb_reader_open(&r, file_name, NULL, &err));
    assert_int_equal(nb_reader_count(r), n);
    size_t size;
    assert_string_equal(nb_reader_model_json(r, &size), model_json);
    assert_int_equal(size, strlen(model_json));
    assert_string_equal(nb_reader_provenance_json(r, NULL), "{}");
    nb_load *loads = nb_calloc(n, sizeof *loads);
    for (size_t i = 0; i < n; i++) {
        loads[i].tensor = nb_reader_at(r, n - 1 - i); /* the caller's order does not matter */
        loads[i].dst = nb_alloc((size_t)loads[i].tensor->raw_bytes);
        if (i) assert_true(strcmp(loads[i].tensor->name, loads[i - 1].tensor->name) < 0);
    }
    OK(nb_reader_load(r, loads, n, team, NULL, &err));
    OK(nb_reader_verify(r, team, NULL, NULL, NULL, &err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (strcmp(loads[j].tensor->name, s[i].t.name) == 0) check_tensor(r, &s[i], loads[j].dst, raw);
    for (size_t i = 0; i < n; i++) nb_free(loads[i].dst);
    nb_free(loads);
    assert_null(nb_reader_find(r, "no such tensor"));
    nb_reader_close(r);
}

/* Rows with the same `same_file` must give the same bytes; all give the same identity. */
static const struct config {
    nb_store store;
    int level, team, same_file;
} configs[] = {
    {NB_STORE_ZSTD, 0, 1, 0}, {NB_STORE_ZSTD, 1, 2, 0}, {NB_STORE_ZSTD, 1, 4, 0}, {NB_STORE_ZSTD, 3, 2, 1},
    {NB_STORE_RAW, 0, 1, 2},  {NB_STORE_RAW, 0, 2, 2},  {NB_STORE_RAW, 9, 4, 2},
};

static void round_trip(void **state) {
    (void)state;
    sample *s;
    size_t n = all_samples(&s);
    nb_buf first = {0}, again = {0};
    uint64_t identity = 0;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const struct config *c = &configs[i];
        nb_team *team = make_team(c->team);
        recipe r = {.samples = s, .n = n, .model = model_json, .provenance = "{}",
                    .options = {.store = c->store, .level = c->level, .team = team}};
        write_file(file_name, &r);
        check_file(s, n, team, c->store == NB_STORE_RAW);
        nb_team_free(team);
        if (i == 0) identity = r.identity;
        assert_int_equal(r.identity, identity);
        bool same = i > 0 && configs[i - 1].same_file == c->same_file;
        read_bytes(file_name, same ? &again : &first);
        assert_int_equal(r.file_bytes, same ? again.size : first.size);
        if (same) assert_int_equal(again.size, first.size);
        if (same &&
            memcmp(again.data, first.data, first.size) != 0) fail_msg("row %zu wrote other bytes than the row before",
                                                                      i);
    }
    nb_buf_free(&first);
    nb_buf_free(&again);
    free_samples(s, n);
    unlink(file_name);
}

/* What the identity depends on, and what not. */
static void identity(void **state) {
    (void)state;
    static const sample ab[] = {PLAIN("a", U8, NOISE, .n_dims = 1, .dims = {9}), PANELS("b", Q8, NARROW, 3, 40)};
    static const sample ba[] = {PANELS("b", Q8, NARROW, 3, 40), PLAIN("a", U8, NOISE, .n_dims = 1, .dims = {9})};
    static const sample other_name[] = {PLAIN("a", U8, NOISE, .n_dims = 1, .dims = {9}),
                                        PANELS("c", Q8, NARROW, 3, 40)};
    static const sample other_dims[] = {PLAIN("a", U8, NOISE, .n_dims = 2, .dims = {3, 3}),
                                        PANELS("b", Q8, NARROW, 3, 40)};
    static const sample other_bytes[] = {PLAIN("a", U8, ZERO, .n_dims = 1, .dims = {9}),
                                         PANELS("b", Q8, NARROW, 3, 40)};
    static const struct {
        const sample *samples;
        size_t n;
        const char *model, *provenance;
        bool same;
    } rows[] = {
        {ab, 2, "{}", "{}", true},           {ba, 2, "{}", "{\"from\":1}", true},  {ab, 2, "{ }", "{}", false},
        {other_name, 2, "{}", "{}", false},  {other_dims, 2, "{}", "{}", false}, {other_bytes, 2, "{}", "{}", false},
        {ab, 1, "{}", "{}", false},          {ab, 0, "{}", "{}", false},
    };
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        recipe r = {.samples = rows[i].samples, .n = rows[i].n, .model = rows[i].model,
                    .provenance = rows[i].provenance};
        write_file(file_name, &r);
        nb_error err;
        nb_reader *reader;
        OK(nb_reader_open(&reader, file_name, NULL, &err));
        OK(nb_reader_verify(reader, NULL, NULL, NULL, NULL, &err));
        assert_int_equal(nb_reader_identity(reader), r.identity);
        nb_reader_close(reader);
        if (i == 0) first = r.identity;
        if ((r.identity == first) != rows[i].same) fail_msg("row %zu: identity %llx", i,
                                                            (unsigned long long)r.identity);
    }
    unlink(file_name);
}

/* Tensors that the writer refuses. */
static void refused_tensors(void **state) {
    (void)state;
    char long_name[NB_MAX_NAME + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    const struct {
        sample s;
        const char *fragment;
    } rows[] = {
        {PLAIN("", U8, ZERO, .n_dims = 1, .dims = {1}), "name has 1 to 255 bytes"},
        {PLAIN(long_name, U8, ZERO, .n_dims = 1, .dims = {1}), "not 256"},
        {PLAIN("tab\t", U8, ZERO, .n_dims = 1, .dims = {1}), "0x09"},
        {PLAIN("\xc3\xa4", U8, ZERO, .n_dims = 1, .dims = {1}), "0xc3"},
        {PLAIN("there", U8, ZERO, .n_dims = 1, .dims = {1}), "in the file already"},
        {PLAIN("x", U8, ZERO, .n_dims = 0), "has 0 dimensions"},
        {PLAIN("x", U8, ZERO, .n_dims = 5), "has 5 dimensions"},
        {PLAIN("x", U8, ZERO, .n_dims = 2, .dims = {3, 0}), "dimension 1 is 0"},
        {PLAIN("x", U8, ZERO, .n_dims = 1, .dims = {3, 2}), "dimension 1 is 2 and not 0"},
        {PLAIN("x", U8, ZERO, .n_dims = 2, .dims = {1ull << 40, 1ull << 40}), "at most 2^48"},
        {PLAIN("x", F32, ZERO, .n_dims = 1, .dims = {1ull << 47}), "at most 2^48"},
        {PLAIN("x", Q8, ZERO, .n_dims = 1, .dims = {8}), "no plain layout"},
        {PLAIN("x", U8, ZERO, .n_dims = 1, .dims = {8}, .codebook = {1}), "only q4 has one"},
        {PLAIN("x", COUNT, ZERO, .n_dims = 1, .dims = {8}), "is not known"},
        {PANELS("x", U8, ZERO, 1, 1), "no panel layout"},
        {PANELS("x", Q4, ZERO, 1, NB_MAX_PANEL_COLS + 1), "panels take at most 1048576"},
        {{.t = {.name = "x", .layout = NB_LAYOUT_PANELS, .n_dims = 3, .dims = {1, 1, 1}}}, "panels take 2"},
        {{.t = {.name = "x", .layout = (nb_layout)7, .n_dims = 1, .dims = {1}}}, "layout 7"},
        {{.t = {.name = "x", .type = NB_TYPE_Q4, .layout = NB_LAYOUT_PANELS, .n_dims = 2, .dims = {1, 1},
                .codebook = {64}}}, "outside"},
    };
    static const sample there = PLAIN("there", U8, ZERO, .n_dims = 1, .dims = {1});
    nb_error err;
    nb_writer *w;
    OK(nb_writer_create(&w, file_name, &(nb_writer_options){.overwrite = true}, &err));
    OK(write_sample(w, &there, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(nb_writer_tensor_begin(w, &rows[i].s.t, &err), NB_ARGUMENT);
        if (!strstr(err.text, rows[i].fragment)) fail_msg("row %zu: \"%s\" lacks \"%s\"", i, err.text,
                                                          rows[i].fragment);
    }
    OK(nb_writer_commit(w, "{}", "{}", NULL, NULL, &err)); /* refusals leave the writer usable */
    assert_int_equal(nb_writer_tensor_begin(w, &rows[0].s.t, &err), NB_ARGUMENT);
    nb_writer_close(w);
    unlink(file_name);
}

static void misuse(void **state) {
    (void)state;
    static const sample s = PLAIN("four", U8, ZERO, .n_dims = 1, .dims = {4});
    nb_error err;
    nb_writer *w;
    assert_int_equal(nb_writer_create(&w, file_name, &(nb_writer_options){.level = 99}, &err), NB_ARGUMENT);
    OK(nb_writer_create(&w, file_name, NULL, &err));
    assert_int_equal(nb_writer_tensor_append(w, "x", 1, &err), NB_ARGUMENT);
    assert_int_equal(nb_writer_tensor_end(w, &err), NB_ARGUMENT);
    OK(nb_writer_tensor_begin(w, &s.t, &err));
    assert_int_equal(nb_writer_tensor_begin(w, &s.t, &err), NB_ARGUMENT);
    OK(nb_writer_tensor_append(w, "abc", 3, &err));
    assert_int_equal(nb_writer_tensor_append(w, "de", 2, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "takes 4 bytes; 3 were appended already, and now 2"));
    assert_int_equal(nb_writer_tensor_end(w, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "only 3 were appended"));
    assert_int_equal(nb_writer_commit(w, "{}", "{}", NULL, NULL, &err), NB_ARGUMENT);
    OK(nb_writer_tensor_append(w, "d", 1, &err));
    OK(nb_writer_tensor_end(w, &err));
    assert_int_equal(nb_writer_last_stored(w), 4);
    assert_int_equal(nb_writer_commit(w, "", "{}", NULL, NULL, &err), NB_ARGUMENT);
    nb_writer_close(w);
    assert_false(nb_file_exists(file_name)); /* nothing was committed */
}

static bool stop_at_once(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    (void)what;
    assert_null(unit); /* bytes */
    assert_true(done <= total);
    ++*(int *)user;
    return false;
}

static void limits_and_progress(void **state) {
    (void)state;
    static const sample s = PLAIN("t", U8, NARROW, .n_dims = 1, .dims = {3000000});
    recipe rec = {.samples = &s, .n = 1, .model = "{}", .provenance = "{}"};
    write_file(file_name, &rec);
    nb_error err;
    nb_reader *r = NULL;
    assert_int_equal(nb_reader_open(&r, file_name, &(nb_reader_limits){.max_raw_bytes = 2999999}, &err), NB_LIMIT);
    assert_null(r);
    OK(nb_reader_open(&r, file_name, &(nb_reader_limits){.max_raw_bytes = 3000000}, &err));
    int calls = 0;
    nb_progress p = {.step = stop_at_once, .user = &calls};
    uint8_t *dst = nb_alloc(3000000);
    assert_int_equal(nb_reader_load(r, &(nb_load){nb_reader_at(r, 0), dst}, 1, NULL, &p, &err), NB_CANCELLED);
    assert_int_equal(calls, 1);
    assert_int_equal(nb_reader_verify(r, NULL, &p, NULL, NULL, &err), NB_CANCELLED);
    OK(nb_reader_load(r, NULL, 0, NULL, NULL, &err));
    nb_free(dst);
    nb_reader_close(r);
    unlink(file_name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(identity),            cmocka_unit_test(refused_tensors),
        cmocka_unit_test(misuse),     cmocka_unit_test(limits_and_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
