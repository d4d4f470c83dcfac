#include "convert/hash.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/xxh3.h"

enum { EARLY = 16 }; /* pieces of which bytes are kept until what precedes them comes */

typedef struct piece {
    uint64_t hash;        /* when all of it is done */
    uint32_t done;        /* bytes from its beginning */
    XXH3_state_t *state;  /* of a part; NULL when none or all is done */
    struct early *early;  /* NULL: nothing is kept */
} piece;

/* Bytes of a piece that were read before those that precede them, as happens where one member of a team ends and
 * another has begun already. */
typedef struct early {
    piece *of;      /* NULL: none */
    uint8_t *bytes; /* [NB_HASH_PIECE], owned; NULL: not needed yet */
    size_t at, n;
} early;

typedef struct hashed_file {
    nb_hasher *hasher;
    nb_file own;      /* for what is left */
    nb_file *handle;  /* that is seen, or NULL */
    piece *pieces;    /* [n_pieces] */
    size_t n_pieces;
} hashed_file;

struct nb_hasher {
    hashed_file *files; /* [n] */
    size_t n;
    early early[EARLY]; /* a piece more than these takes the place of the one that came first */
    size_t next_early;
    bool failed; /* no memory for the state of a piece */
    pthread_mutex_t lock; /* of all that changes */
};

static size_t piece_bytes(const hashed_file *f, size_t i) {
    return i + 1 < f->n_pieces ? NB_HASH_PIECE : (size_t)(f->own.size - (uint64_t)i * NB_HASH_PIECE);
}

static void keep(nb_hasher *h, piece *p, size_t at, const uint8_t *bytes, size_t n) {
    early *e = p->early ? p->early : &h->early[h->next_early++ % EARLY];
    if (!e->bytes && !(e->bytes = nb_alloc(NB_HASH_PIECE))) return; /* it is read again in the end */
    if (!p->early) {
        if (e->of) e->of->early = NULL;
        p->early = e;
        e->of = p;
        e->at = at;
        e->n = 0;
    }
    if (at != e->at + e->n) return;
    memcpy(e->bytes + e->n, bytes, n);
    e->n += n;
}

/* Bytes of piece i from `at` on: what is known of them, what leaves a gap, and what is new. */
static void add(hashed_file *f, size_t i, size_t at, const uint8_t *bytes, size_t n) {
    piece *p = &f->pieces[i];
    if (at > p->done) keep(f->hasher, p, at, bytes, n);
    if (at > p->done || at + n <= p->done) return;
    bytes += p->done - at;
    n -= p->done - at;
    bool all = p->done + n == piece_bytes(f, i);
    if (!p->done && all) {
        p->hash = XXH3_64bits(bytes, n);
    } else {
        if (!p->state && (p->state = XXH3_createState())) XXH3_64bits_reset(p->state);
        if (!p->state) {
            f->hasher->failed = true;
            return;
        }
        XXH3_64bits_update(p->state, bytes, n);
        if (all) {
            p->hash = XXH3_64bits_digest(p->state);
            XXH3_freeState(p->state);
            p->state = NULL;
        }
    }
    p->done += (uint32_t)n;
    early *e = p->early;
    if (!e || e->at > p->done) return;
    p->early = NULL;
    e->of = NULL;
    add(f, i, e->at, e->bytes, e->n);
}

static void see(void *user, uint64_t offset, const void *bytes, size_t n) {
    hashed_file *f = user;
    const uint8_t *from = bytes;
    pthread_mutex_lock(&f->hasher->lock);
    while (n) {
        size_t i = (size_t)(offset / NB_HASH_PIECE), at = (size_t)(offset % NB_HASH_PIECE);
        if (i >= f->n_pieces) break; /* the file has grown since */
        size_t part = nb_min_size(n, NB_HASH_PIECE - at);
        add(f, i, at, from, nb_min_size(part, piece_bytes(f, i) - nb_min_size(at, piece_bytes(f, i))));
        from += part;
        offset += part;
        n -= part;
    }
    pthread_mutex_unlock(&f->hasher->lock);
}

static nb_status watch(nb_hasher *h, const char *path, nb_file *handle, nb_error *err) {
    hashed_file *f = &h->files[h->n];
    nb_status st = nb_file_open(&f->own, path, err);
    if (st) return st;
    h->n++; /* to be closed */
    f->hasher = h;
    uint64_t n = f->own.size / NB_HASH_PIECE + (f->own.size % NB_HASH_PIECE != 0);
    if (n > SIZE_MAX / sizeof *f->pieces) return nb_fail(err, NB_LIMIT, "'%s' is too large", path);
    f->n_pieces = (size_t)n;
    f->pieces = nb_calloc(f->n_pieces ? f->n_pieces : 1, sizeof *f->pieces);
    if (!f->pieces) return nb_oom(err, "hashing", f->n_pieces * sizeof *f->pieces);
    f->handle = handle;
    if (handle) handle->tap = (nb_file_tap){see, f};
    return NB_OK;
}

nb_status nb_hasher_start(nb_hasher **hasher, const char *const *files, nb_file *const *handles, size_t n,
                          uint64_t *bytes, nb_error *err) {
    nb_hasher *h = *hasher = nb_calloc(1, sizeof *h);
    *bytes = 0;
    if (h) pthread_mutex_init(&h->lock, NULL);
    if (h) h->files = nb_calloc(n ? n : 1, sizeof *h->files);
    nb_status st = h && h->files ? NB_OK : nb_oom(err, "hashing", n * sizeof *h->files);
    for (size_t i = 0; !st && i < n; i++) {
        st = watch(h, files[i], handles[i], err);
        if (!st && !nb_add_u64(*bytes, h->files[i].own.size, bytes))
            st = nb_fail(err, NB_LIMIT, "the checkpoint is too large");
    }
    if (st) {
        nb_hasher_free(h);
        *hasher = NULL;
    }
    return st;
}

static nb_status read_rest(hashed_file *f, uint8_t *room, uint64_t *left, nb_error *err) {
    for (size_t i = 0; i < f->n_pieces;) {
        const piece *p = &f->pieces[i];
        size_t at = p->done, n = (p->early ? p->early->at : piece_bytes(f, i)) - at;
        nb_status st = n ? nb_file_read(&f->own, (uint64_t)i * NB_HASH_PIECE + at, n, room, err) : NB_OK;
        if (st) return st;
        if (n) add(f, i, at, room, n);
        else i++;
        if (f->hasher->failed) return nb_oom(err, "hashing", NB_HASH_PIECE);
        *left += n;
    }
    return NB_OK;
}

nb_status nb_hasher_finish(nb_hasher *h, uint64_t *hash, uint64_t *left, nb_error *err) {
    uint64_t ignored;
    uint8_t *room = nb_alloc(NB_HASH_PIECE), number[8];
    XXH3_state_t *all = XXH3_createState();
    nb_status st = room && all ? NB_OK : nb_oom(err, "hashing", NB_HASH_PIECE);
    if (!left) left = &ignored;
    *left = 0;
    if (!st) XXH3_64bits_reset(all);
    for (size_t i = 0; !st && i < h->n; i++) {
        st = read_rest(&h->files[i], room, left, err);
        for (size_t k = 0; !st && k < h->files[i].n_pieces; k++) {
            nb_put_u64(number, h->files[i].pieces[k].hash);
            XXH3_64bits_update(all, number, sizeof number);
        }
    }
    *hash = st ? 0 : XXH3_64bits_digest(all);
    XXH3_freeState(all);
    nb_free(room);
    return st;
}

void nb_hasher_free(nb_hasher *h) {
    if (!h) return;
    for (size_t i = 0; h->files && i < h->n; i++) {
        hashed_file *f = &h->files[i];
        if (f->handle) f->handle->tap = (nb_file_tap){0};
        for (size_t k = 0; f->pieces && k < f->n_pieces; k++) XXH3_freeState(f->pieces[k].state);
        nb_free(f->pieces);
        nb_file_close(&f->own);
    }
    for (size_t i = 0; i < EARLY; i++) nb_free(h->early[i].bytes);
    pthread_mutex_destroy(&h->lock);
    nb_free(h->files);
    nb_free(h);
}
