/* Help, manual page and completion, all from the rows of options.def. */
#include <ctype.h>
#include <string.h>
#include "cli/common.h"
#include "cli/options.h"

enum { WIDTH = 100, OPTION_COLUMN = 26 };

static bool in_command(const option_info *p, int command) {
    return p->commands >> command & 1;
}

/* Print `text` in lines of at most WIDTH columns; the first begins at column `at`, the others at `indent`. */
static void print_wrapped(FILE *to, const char *text, size_t at, size_t indent) {
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at > indent && at + 1 + n > WIDTH) {
            fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', to);
            at++;
        }
        fwrite(text, 1, n, to);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

/* "one of f32, f16, bf16" and "default: q4", where the row has them */
static void append_values(const option_info *p, nb_buf *out) {
    if (p->kind == KIND_CHOICE) {
        nb_buf_text(out, ": ");
        for (size_t i = 0; p->choice(i); i++) nb_buf_printf(out, "%s%s", i ? ", " : "", p->choice(i));
    }
    if (p->def) nb_buf_printf(out, " (default: %s)", p->def);
}

void help_command(FILE *to, int command) {
    const command_info *c = &commands[command];
    fprintf(to, "Usage: nibble %s %s [options]\n\n%s.\n", c->name, c->arguments, c->summary);
    if (*c->notes) {
        fputc('\n', to);
        print_wrapped(to, c->notes, 0, 0);
    }
    fputs("\nOptions:\n", to);
    for (size_t i = 0; i < option_count; i++) {
        const option_info *p = &option_list[i];
        if (!in_command(p, command)) continue;
        char left[80];
        int n = p->letter ? snprintf(left, sizeof left, "  -%c, --%s", p->letter, p->name)
                          : snprintf(left, sizeof left, "      --%s", p->name);
        if (p->argument) n += snprintf(left + n, sizeof left - (size_t)n, " %s", p->argument);
        if (n > OPTION_COLUMN) fprintf(to, "%s\n%*s", left, OPTION_COLUMN + 1, "");
        else fprintf(to, "%-*s ", OPTION_COLUMN, left);
        nb_buf text = {0};
        nb_buf_text(&text, p->help);
        append_values(p, &text);
        print_wrapped(to, nb_buf_str(&text), OPTION_COLUMN + 1, OPTION_COLUMN + 1);
        nb_buf_free(&text);
    }
}

void help_overview(FILE *to) {
    fputs("Usage: nibble COMMAND [arguments] [options]\n\nRuns GPT-style language models from one compressed file on "
          "any CPU.\n\nCommands:\n",
          to);
    for (int i = 0; i < CMD_COUNT; i++) fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n'nibble COMMAND --help' explains a command, 'nibble --version' tells version and instruction sets.\n", to);
}

/* Text for troff: hyphens that stay hyphens, backslashes that stay. */
static void put_troff(const char *text) {
    for (; *text; text++) {
        if (*text == '-' || *text == '\\') putchar('\\');
        if (*text == '\\')
            putchar('e');
        else
            putchar(*text);
    }
}

static void man_option(const option_info *p) {
    fputs(".TP\n\\fB", stdout);
    if (p->letter) printf("\\-%c\\fR, \\fB", p->letter);
    fputs("\\-\\-", stdout);
    put_troff(p->name);
    fputs("\\fR", stdout);
    if (p->argument) {
        fputs(" \\fI", stdout);
        put_troff(p->argument);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    nb_buf text = {0};
    nb_buf_text(&text, p->help);
    append_values(p, &text);
    put_troff(nb_buf_str(&text));
    putchar('\n');
    nb_buf_free(&text);
}

static void man_command(int command) {
    const command_info *c = &commands[command];
    printf(".SS nibble %s ", c->name);
    put_troff(c->arguments);
    printf("\n");
    put_troff(c->summary);
    puts(".");
    if (*c->notes) {
        puts(".PP");
        put_troff(c->notes);
        putchar('\n');
    }
    for (size_t i = 0; i < option_count; i++) {
        if (in_command(&option_list[i], command) && strcmp(option_list[i].name, "help") != 0)
            man_option(&option_list[i]);
    }
}

static void print_man(void) {
    puts(".TH NIBBLE 1 \"\" \"nibble " NIBBLE_VERSION "\" \"User Commands\"\n"
         ".SH NAME\n"
         "nibble \\- runs GPT\\-style language models from one compressed file on any CPU\n"
         ".SH SYNOPSIS\n"
         ".B nibble\n"
         ".I COMMAND\n"
         "[arguments] [options]\n"
         ".SH COMMANDS");
    for (int i = 0; i < CMD_COUNT; i++) man_command(i);
    puts(".SH EXIT STATUS\n"
         ".TP\n0\ndone\n"
         ".TP\n1\nfailed; one sentence on standard error says why\n"
         ".TP\n2\nwrong usage\n"
         ".TP\n130\ninterrupted by a signal\n"
         ".TP\n141\na pipe that takes the results was closed before their end\n"
         ".SH ENVIRONMENT\n"
         ".TP\n.B NIBBLE_THREADS\n"
         "number of threads where \\-\\-threads is not given\n"
         ".TP\n.B NIBBLE_ISA\n"
         "instruction set to use instead of the best one of this CPU; \\fBnibble \\-\\-version\\fR lists them");
}

static void print_completion(void) {
    puts("_nibble() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=\n"
         "    if ((COMP_CWORD == 1)); then");
    fputs("        words='--version --help", stdout);
    for (int i = 0; i < CMD_COUNT; i++) printf(" %s", commands[i].name);
    puts("'\n"
         "    else\n"
         "        case $prev in");
    for (size_t i = 0; i < option_count; i++) {
        const option_info *p = &option_list[i];
        if (p->kind != KIND_CHOICE) continue;
        printf("        --%s) words='", p->name);
        for (size_t j = 0; p->choice(j); j++) printf("%s%s", j ? " " : "", p->choice(j));
        puts("' ;;");
    }
    puts("        *)\n"
         "            [[ $cur == -* ]] && case ${COMP_WORDS[1]} in");
    for (int i = 0; i < CMD_COUNT; i++) {
        printf("            %s) words='", commands[i].name);
        const char *space = "";
        for (size_t j = 0; j < option_count; j++) {
            if (!in_command(&option_list[j], i)) continue;
            printf("%s--%s", space, option_list[j].name);
            space = " ";
        }
        puts("' ;;");
    }
    puts("            esac ;;\n"
         "        esac\n"
         "    fi\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
         "}\n"
         "complete -o default -F _nibble nibble");
}

int cmd_help(const options *o) {
    if (o->man) {
        print_man();
    } else if (o->completion) {
        print_completion();
    } else if (o->n_args) {
        int command = command_find(o->args[0]);
        if (command == CMD_COUNT) return EXIT_USAGE;
        help_command(stdout, command);
    } else {
        help_overview(stdout);
    }
    return 0;
}
