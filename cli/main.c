/* nibble: the command line. docs/cli.md is its contract, options.def the list of its commands and options. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/common.h"
#include "cli/options.h"
#include "simd/kernels.h"

/* A standard stream that the caller closed would give its number to the next file that is opened, and messages would
 * end up in there. Read-only in place of stdout: writing results must still fail. */
static void keep_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) == -1) exit(EXIT_FAILURE);
    }
}

static int version(void) {
    nb_kernels k;
    nb_error err;
    if (nb_kernels_choose(&k, NULL, &err)) return fail(&err);
    printf("nibble %s\ninstruction set in use: %s\nsupported by this CPU:", NIBBLE_VERSION, k.isa);
    for (size_t i = 0; nb_isa_name(i); i++) {
        if (nb_isa_supported(i)) printf(" %s", nb_isa_name(i));
    }
    putchar('\n');
    return EXIT_SUCCESS;
}

static int command(int argc, char **argv) {
    if (!strcmp(argv[1], "--version")) return version();
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        help_overview(stdout);
        return EXIT_SUCCESS;
    }
    int id = command_find(argv[1]);
    if (id == CMD_COUNT) return EXIT_USAGE;
    options o;
    int code = EXIT_USAGE;
    if (options_parse(&o, id, argc - 2, argv + 2)) {
        if (o.help) {
            help_command(stdout, id);
            code = EXIT_SUCCESS;
        } else {
            code = commands[id].run(&o);
        }
    }
    options_free(&o, id);
    return code;
}

int main(int argc, char **argv) {
    keep_standard_streams();
    signals_install();
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    return finish_output(command(argc, argv));
}
