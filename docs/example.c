/* Continue a text: cc example.c $(pkg-config --cflags --libs nibble) && ./a.out model.nbl "Once upon a time" */
#include <nibble.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called with every step's tokens: print the text that they complete. */
static int print(void *user, const nibble_item *items, size_t n) {
    FILE *to = user;
    for (size_t i = 0; i < n; i++) fwrite(items[i].text, 1, items[i].text_size, to);
    return fflush(to) != 0; /* anything but 0 cancels */
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.nbl TEXT\n", argv[0]);
        return 2;
    }
    nibble_error *error = nibble_error_create();
    nibble_model *model = NULL;
    nibble_session *session = NULL;
    nibble_texts *texts = NULL;
    int32_t *ids = NULL;
    size_t n = 0;

    nibble_status st = nibble_model_open(&model, argv[1], NULL, error);
    if (!st) {
        nibble_tokenize(model, argv[2], strlen(argv[2]), NIBBLE_TOKENIZE_ENDS, NULL, 0, &n, NULL); /* how many? */
        ids = malloc((n + 1) * sizeof *ids);
        st = nibble_tokenize(model, argv[2], strlen(argv[2]), NIBBLE_TOKENIZE_ENDS, ids, n, &n, error);
    }
    if (!st) st = nibble_session_create(&session, model, NULL, error);
    if (!st) st = nibble_session_append(session, ids, n, NULL, NULL, error);

    nibble_sampling sampling = NIBBLE_SAMPLING_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    sampling.temperature = 0.5f;
    options.sampling = &sampling;
    options.max_tokens = 40;
    if (!st) st = nibble_generate(session, &options, print, stdout, &texts, error);
    if (!st) printf("\n(%s)\n", nibble_finish_name(nibble_texts_finish(texts, 0)));
    if (st) fprintf(stderr, "%s: %s\n", argv[0], nibble_error_text(error));

    free(ids);
    nibble_texts_free(texts);
    nibble_session_free(session);
    nibble_model_close(model);
    nibble_error_free(error);
    return st != NIBBLE_OK;
}
