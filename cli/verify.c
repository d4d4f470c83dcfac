/* nibble verify: every checksum of a file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "cli/common.h"

static void print_damage(void *user, const nb_tensor *t, const char *sentence) {
    (void)user;
    printf("%s: %s\n", t->name, sentence);
}

int cmd_verify(const options *o) {
    nb_error err = {0};
    nb_reader *reader = NULL;
    nb_team *team = NULL;
    progress_bar bar;
    nb_status st = nb_reader_open(&reader, o->args[0], NULL, &err);
    if (!st) st = team_open(&team, o, &err);
    if (!st) {
        st = nb_reader_verify(reader, team, progress_begin(&bar), print_damage, NULL, &err);
        progress_end(&bar);
    }
    if (!st) {
        char size[SIZE_TEXT];
        printf("%s: %zu tensors, %s, identity %016" PRIx64 ": undamaged\n", o->args[0], nb_reader_count(reader),
               size_text(nb_reader_file_bytes(reader), size), nb_reader_identity(reader));
    }
    nb_team_free(team);
    nb_reader_close(reader);
    return st ? fail(&err) : EXIT_SUCCESS;
}
