/* Two texts from every prompt, all of them side by side:
 * cc example_batch.c $(pkg-config --cflags --libs nibble) && ./a.out model.nbl "Once upon a time" "There was a boy" */
#include <nibble.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPTS = 16, TOKENS = 256, TEXTS = 2 };

int main(int argc, char **argv) {
    static int32_t ids[PROMPTS][TOKENS];
    nibble_prompt prompts[PROMPTS];
    size_t n_prompts = 0;
    nibble_error *error = nibble_error_create();
    nibble_model *model = NULL;
    nibble_texts *texts = NULL;
    if (argc < 3 || argc > 2 + PROMPTS) {
        fprintf(stderr, "usage: %s MODEL.nbl TEXT... (at most %d)\n", argv[0], PROMPTS);
        return 2;
    }

    nibble_status st = nibble_model_open(&model, argv[1], NULL, error);
    for (; !st && n_prompts + 2 < (size_t)argc; n_prompts++) {
        const char *text = argv[n_prompts + 2];
        nibble_prompt *p = &prompts[n_prompts];
        *p = (nibble_prompt){.ids = ids[n_prompts], .n_texts = TEXTS};
        st = nibble_tokenize(model, text, strlen(text), NIBBLE_TOKENIZE_ENDS, ids[n_prompts], TOKENS, &p->n, error);
    }
    nibble_session_options room = NIBBLE_SESSION_OPTIONS_INIT;
    nibble_batch_options batch = NIBBLE_BATCH_OPTIONS_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    room.context = TOKENS + 40; /* of each text */
    batch.session = &room;
    options.max_tokens = 40;
    if (!st) st = nibble_generate_batch(model, prompts, n_prompts, &batch, &options, NULL, NULL, &texts, error);
    for (size_t i = 0; !st && i < nibble_texts_count(texts); i++)
        printf("%s ...%s\n", argv[2 + i / TEXTS], nibble_texts_text(texts, i, NULL));
    if (st) fprintf(stderr, "%s: %s\n", argv[0], nibble_error_text(error));

    nibble_texts_free(texts);
    nibble_model_close(model);
    nibble_error_free(error);
    return st != NIBBLE_OK;
}
