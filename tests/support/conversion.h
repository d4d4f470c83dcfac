/* Conversions under test: small synthetic checkpoints of every family in a folder of their own, and looking at what
 * became of them. */
#ifndef NB_TESTS_SUPPORT_CONVERSION_H
#define NB_TESTS_SUPPORT_CONVERSION_H

#include "base/buf.h"
#include "convert/convert.h"
#include "format/reader.h"
#include "tests/support/torch.h"
#include "tests/support/unit.h"

typedef struct fixture {
    char *folder;
    char source[UNIT_PATH], target[UNIT_PATH];
    torch_model model;
    nb_buf sentences; /* what the conversion said */
} fixture;

/* For every test: a new folder, the target in it; both failing the test when they cannot be. */
int conversion_setup(void **state);
int conversion_teardown(void **state);
#define CONVERSION_TEST(name) cmocka_unit_test_setup_teardown(name, conversion_setup, conversion_teardown)

/* A text file in the fixture's folder. */
void write_text(const fixture *f, const char *name, const char *text);
/* Synthetic checkpoints; f->source and f->model say what was written. `step` is the number in nanochat's file names. */
void make_nanochat(fixture *f, const char *step);
void write_encoding(const fixture *f, const char *name, unsigned n_special);
void make_gpt(torch_model *m, const char *block, const char *qkv, const char *out, bool bias_all, bool bias_some);
void save_nanogpt(fixture *f);
void make_nanogpt(fixture *f, bool biases);
void make_minigpt(fixture *f);
/* A Llama of Hugging Face in safetensors form, 2 blocks with 2 heads of 8 channels, 1 for keys and values, 24 tokens,
 * its head being the embedding: the weights, and what makes them a checkpoint. `config` is put into config.json's
 * object. */
void make_hf_weights(torch_model *m);
void make_hf(fixture *f, const char *config);
/* Converting f->source to f->target, which must succeed, and reading the result; the caller closes and frees (nb_free).
 */
nb_convert_options options_for(fixture *f, nb_type type);
void convert_ok(fixture *f, const nb_convert_options *o, nb_convert_report *r);
/* The same must fail, with this status and a sentence that holds `sentence`. */
void expect_failure(fixture *f, const nb_convert_options *o, nb_status status, const char *sentence);
nb_reader *open_target(const fixture *f);
const nb_tensor *find_tensor(nb_reader *r, const char *name);
uint8_t *load_tensor(nb_reader *r, const char *name);

#endif
