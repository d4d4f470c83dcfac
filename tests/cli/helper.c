/* What the scripts of this folder need and a shell cannot do.
 *
 *   helper json [PATH]...
 *       read one JSON object from stdin and print the value at each path (as samples.0.text), strings as they are; fail
 *       when the input is no single JSON object or a path is missing
 *   helper flip FILE OFFSET
 *       invert the bits of one byte
 *   helper unnamed DIRECTORY
 *       succeed when files without a name can be made there
 *   helper pty PROMPT COMMAND...
 *       run the command on a terminal of its own; lines of stdin are typed one by one ("^C" and "^D" are those keys),
 *       each when PROMPT has appeared since the last one and the output has been quiet for a while; the terminal's
 *       output goes to stdout; exit as the command did
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int complain(const char *what, const char *which) {
    fprintf(stderr, "helper: %s: %s\n", what, which);
    return 1;
}

static const json_t *at_path(const json_t *value, const char *path) {
    while (value && *path) {
        char key[64];
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10)) : json_object_get(value, key);
        path += n + (path[n] == '.');
    }
    return value;
}

static int print_json(int n_paths, char **paths) {
    json_error_t err;
    json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES, &err);
    if (!json_is_object(root)) return complain("no JSON object", root ? "another value" : err.text);
    int bad = 0;
    for (int i = 0; i < n_paths; i++) {
        const json_t *value = at_path(root, paths[i]);
        if (!value) {
            bad = complain("no such path", paths[i]);
        } else if (json_is_string(value)) {
            fwrite(json_string_value(value), 1, json_string_length(value), stdout);
            putchar('\n');
        } else {
            json_dumpf(value, stdout, JSON_ENCODE_ANY);
            putchar('\n');
        }
    }
    json_decref(root);
    return bad;
}

static int flip(const char *path, const char *offset) {
    FILE *f = fopen(path, "r+b");
    int c = EOF;
    if (!f) return complain("cannot open", path);
    if (!fseek(f, strtol(offset, NULL, 10), SEEK_SET)) c = fgetc(f);
    bool bad = c == EOF || fseek(f, -1, SEEK_CUR) || fputc(c ^ 0xff, f) == EOF;
    bad |= fclose(f) != 0;
    return bad ? complain("cannot change", path) : 0;
}

static int unnamed(const char *directory) {
    int fd = open(directory, O_TMPFILE | O_WRONLY, 0600);
    if (fd < 0) return 1;
    close(fd);
    return 0;
}

/* ---- pty */

static int start(char **command, pid_t *child) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) return -1;
    struct winsize size = {.ws_row = 24, .ws_col = 100};
    ioctl(master, TIOCSWINSZ, &size);
    *child = fork();
    if (*child) return *child < 0 ? -1 : master;
    setsid();
    int slave = open(ptsname(master), O_RDWR); /* becomes the controlling terminal */
    for (int fd = 0; fd <= 2; fd++) dup2(slave, fd);
    if (slave > 2) close(slave);
    close(master);
    execvp(*command, command);
    _exit(127);
}

/* Copy output to stdout until it holds `prompt` and has been quiet for a while; false when the other side is gone, or
 * says nothing more for too long. */
static bool copy_until(int master, const char *prompt) {
    enum { QUIET = 500, END = 120000 }; /* milliseconds */
    struct pollfd p = {.fd = master, .events = POLLIN};
    char last[512] = ""; /* the end of the output */
    size_t n_last = 0;
    for (;;) {
        bool seen = memmem(last, n_last, prompt, strlen(prompt)) != NULL;
        int n = poll(&p, 1, seen ? QUIET : END);
        if (n == 0) return seen;
        char buf[256];
        ssize_t got = n > 0 ? read(master, buf, sizeof buf) : -1;
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        fwrite(buf, 1, (size_t)got, stdout);
        size_t keep = n_last < sizeof buf ? n_last : sizeof buf;
        memmove(last, last + n_last - keep, keep);
        memcpy(last + keep, buf, (size_t)got);
        n_last = keep + (size_t)got;
    }
}

static bool type_line(int master, const char *line) {
    char keys[1024];
    if (!strcmp(line, "^C\n")) snprintf(keys, sizeof keys, "\x03");
    else if (!strcmp(line, "^D\n")) snprintf(keys, sizeof keys, "\x04");
    else snprintf(keys, sizeof keys, "%s", line);
    size_t n = strlen(keys);
    if (n && keys[n - 1] == '\n') keys[n - 1] = '\r'; /* what the Enter key sends */
    return write(master, keys, n) == (ssize_t)n;
}

static int on_terminal(const char *prompt, char **command) {
    pid_t child;
    char line[1024];
    int status, master = start(command, &child);
    if (master < 0) return complain("no terminal", strerror(errno));
    while (fgets(line, sizeof line, stdin) && copy_until(master, prompt) && type_line(master, line)) continue;
    copy_until(master, "\xff never said \xff");
    kill(child, SIGKILL); /* when it has not ended yet, it never will */
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    if (argc >= 2 && !strcmp(argv[1], "json")) return print_json(argc - 2, argv + 2);
    if (argc == 4 && !strcmp(argv[1], "flip")) return flip(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "unnamed")) return unnamed(argv[2]);
    if (argc >= 4 && !strcmp(argv[1], "pty")) return on_terminal(argv[2], argv + 3);
    return complain("usage: helper json|flip|unnamed|pty", "see the head of its source");
}
