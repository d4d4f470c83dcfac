/* Byte-level byte-pair encoding by ranks (Sennrich et al. 2016; as in tiktoken): the text is split into pieces; a piece
 * that is a token is that token, any other starts as its bytes and has the pair of neighbours with the lowest rank
 * merged, the leftmost first among equals, until no pair of neighbours is a token. */
#include <string.h>
#include "base/mem.h"
#include "core/split.h"
#include "core/token_map.h"
#include "core/tokenizer_kinds.h"

typedef struct bpe {
    nb_token_map map;
    nb_splitter *splitter;
    int32_t byte_id[256];
} bpe;

enum {
    NO_RANK = INT32_MAX, /* the pair is no token */
    SMALL = 96           /* bytes of a piece up to which scanning for the lowest rank beats the heap */
};

static void destroy(void *state) {
    bpe *b = state;
    if (!b) return;
    nb_token_map_free(&b->map);
    nb_splitter_free(b->splitter);
    nb_free(b);
}

static nb_status find_bytes(bpe *b, nb_error *err) {
    for (unsigned i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        b->byte_id[i] = nb_token_map_find(&b->map, &byte, 1);
        if (b->byte_id[i] == NB_NO_TOKEN)
            return nb_fail(err, NB_FORMAT, "vocabulary: byte 0x%02x is not a token; byte-pair encoding needs all 256",
                           i);
    }
    return NB_OK;
}

static nb_status build(void **state, const nb_vocab *v, nb_error *err) {
    if (!v->pattern) return nb_fail(err, NB_MISSING, "vocabulary: byte-pair encoding needs a pattern that splits text");
    bpe *b = nb_calloc(1, sizeof *b);
    if (!b) return nb_oom(err, "tokenizer", sizeof *b);
    nb_status st = nb_token_map_build(&b->map, v, err);
    if (!st) st = find_bytes(b, err);
    if (!st) st = nb_splitter_create(&b->splitter, v->pattern, true, err);
    if (st) destroy(b);
    else *state = b;
    return st;
}

static int32_t rank_of(const bpe *b, const uint8_t *bytes, size_t n) {
    int32_t id = nb_token_map_find(&b->map, bytes, n);
    return id == NB_NO_TOKEN ? NO_RANK : id;
}

/* n <= SMALL. Part i is piece[start[i], start[i + 1]), rank[i] that of parts i and i + 1 joined. Returns the number of
 * ids. */
static size_t merge_small(const bpe *b, const uint8_t *piece, size_t n, int32_t *ids) {
    uint8_t start[SMALL + 1];
    int32_t rank[SMALL];
    size_t parts = n;
    rank[0] = NO_RANK; /* also of no bytes at all */
    for (size_t i = 0; i <= n; i++) start[i] = (uint8_t)i;
    for (size_t i = 0; i < n; i++) {
        ids[i] = b->byte_id[piece[i]];
        rank[i] = i + 1 < n ? rank_of(b, piece + i, 2) : NO_RANK;
    }
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i < parts; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) return parts;
        ids[best] = rank[best];
        size_t after = parts - best - 2; /* parts behind the two that are joined */
        memmove(&start[best + 1], &start[best + 2], (after + 1) * sizeof *start);
        memmove(&ids[best + 1], &ids[best + 2], after * sizeof *ids);
        memmove(&rank[best + 1], &rank[best + 2], after * sizeof *rank);
        parts--;
        rank[best] = after ? rank_of(b, piece + start[best], (size_t)(start[best + 2] - start[best])) : NO_RANK;
        if (best) rank[best - 1] = rank_of(b, piece + start[best - 1], (size_t)(start[best + 1] - start[best - 1]));
    }
}

/* A long piece: parts as a linked list, and a heap of their joints ordered by rank, then position. A joint that has
 * changed since it was put on the heap is recognised by its rank: the same rank is the same token. */
typedef struct part {
    uint32_t next, prev; /* where the neighbours begin; n and UINT32_MAX at the ends */
    int32_t id;          /* NB_NO_TOKEN: joined to an earlier part */
    int32_t rank;        /* of this part and the next joined */
} part;

typedef struct long_piece {
    const bpe *b;
    const uint8_t *bytes;
    uint32_t n;
    part *parts;    /* [n], indexed by the part's first byte */
    uint64_t *heap; /* [2 n]: rank << 32 | position; n - 1 at first, and a merge takes one and puts two */
    size_t heap_size;
} long_piece;

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t moving = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (moving <= heap[child]) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static void heap_push(long_piece *p, uint64_t key) {
    size_t i = p->heap_size++;
    for (; i && key < p->heap[(i - 1) / 2]; i = (i - 1) / 2) p->heap[i] = p->heap[(i - 1) / 2];
    p->heap[i] = key;
}

static uint64_t heap_pop(long_piece *p) {
    uint64_t key = p->heap[0];
    p->heap[0] = p->heap[--p->heap_size];
    if (p->heap_size) sift_down(p->heap, p->heap_size, 0);
    return key;
}

static uint64_t joint_key(int32_t rank, uint32_t at) {
    return (uint64_t)(uint32_t)rank << 32 | at;
}

/* The rank of the part at `at` joined with the next one. */
static int32_t joint_rank(const long_piece *p, uint32_t at) {
    uint32_t next = p->parts[at].next;
    return next == p->n ? (int32_t)NO_RANK : rank_of(p->b, p->bytes + at, p->parts[next].next - at);
}

static void renew_joint(long_piece *p, uint32_t at) {
    int32_t rank = joint_rank(p, at);
    p->parts[at].rank = rank;
    if (rank != NO_RANK) heap_push(p, joint_key(rank, at));
}

static void start_parts(long_piece *p) {
    for (uint32_t i = 0; i < p->n; i++)
        p->parts[i] = (part){.next = i + 1, .prev = i - 1, .id = p->b->byte_id[p->bytes[i]]};
    for (uint32_t i = 0; i < p->n; i++) {
        int32_t rank = p->parts[i].rank = joint_rank(p, i);
        if (rank != NO_RANK) p->heap[p->heap_size++] = joint_key(rank, i);
    }
    for (size_t i = p->heap_size / 2; i-- > 0;) sift_down(p->heap, p->heap_size, i);
}

static void merge_parts(long_piece *p) {
    while (p->heap_size) {
        uint64_t key = heap_pop(p);
        uint32_t at = (uint32_t)key;
        int32_t rank = (int32_t)(key >> 32);
        part *left = &p->parts[at];
        if (left->id == NB_NO_TOKEN || left->rank != rank) continue;
        part *right = &p->parts[left->next];
        right->id = NB_NO_TOKEN;
        left->id = rank;
        left->next = right->next;
        if (left->next < p->n) p->parts[left->next].prev = at;
        renew_joint(p, at);
        if (at) renew_joint(p, left->prev);
    }
}

static nb_status merge_long(const bpe *b, const uint8_t *piece, size_t n, nb_ids *out, nb_error *err) {
    nb_status st = NB_OK;
    long_piece p = {.b = b, .bytes = piece, .n = (uint32_t)n};
    p.parts = nb_alloc(n * sizeof *p.parts);
    p.heap = nb_alloc(2 * n * sizeof *p.heap);
    if (!p.parts || !p.heap) {
        st = nb_oom(err, "a long word's parts", n * (sizeof *p.parts + 2 * sizeof *p.heap));
        goto out;
    }
    start_parts(&p);
    merge_parts(&p);
    for (uint32_t i = 0; !st && i < p.n; i = p.parts[i].next) st = nb_ids_push(out, p.parts[i].id, err);
out:
    nb_free(p.parts);
    nb_free(p.heap);
    return st;
}

typedef struct encoder {
    const bpe *b;
    nb_ids *out;
} encoder;

static nb_status encode_piece(void *user, const uint8_t *piece, size_t n, nb_error *err) {
    encoder *e = user;
    int32_t id = nb_token_map_find(&e->b->map, piece, n);
    if (id != NB_NO_TOKEN) return nb_ids_push(e->out, id, err);
    if (n > SMALL) return merge_long(e->b, piece, n, e->out, err);
    nb_status st = nb_ids_reserve(e->out, n, err);
    if (!st) e->out->size += merge_small(e->b, piece, n, e->out->data + e->out->size);
    return st;
}

static nb_status encode(const void *state, const char *text, size_t n, nb_ids *out, nb_error *err) {
    const bpe *b = state;
    encoder e = {.b = b, .out = out};
    return nb_split(b->splitter, text, n, encode_piece, &e, err);
}

const nb_tokenizer_kind nb_tokenizer_bpe = {.name = "bpe-ranks", .build = build, .destroy = destroy, .encode = encode};
