#include "base/team.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include "base/checked.h"
#include "base/mem.h"

/* Waiting costs about as much as sleeping and being woken would: then spinning is at most twice as slow as the better
 * of the two. A team that is larger than the machine does not spin: it would keep the core from whom it waits for. */
enum { SPIN_NANOSECONDS = 30000, SPIN_PAUSES = 32, STACK_BYTES = 2 << 20 };

/* A member that waits fetches so much of what is expected: what memory delivers during the longest stretches of a pass
 * that one thread does alone, and a fraction of a second-level cache. In pieces, with a pause after each: Zen 4 drops
 * prefetches when too many are under way, most of them when they come without a pause; pieces of 8 lines, at 19 GB/s,
 * all arrive. */
enum { FETCH_BYTES = 192 << 10, FETCH_PIECE = 512, FETCH_LINE = 64 };

/* What a later nb_team_for will read. */
typedef struct expected {
    const uint8_t *data;
    size_t item_bytes, n_items, share;
} expected;

/* What of its own range nobody has taken: shares are taken from its beginning. */
typedef struct range {
    atomic_size_t next;
    size_t end;
} range;

/* What nb_team_for does. */
typedef struct shares {
    void (*fn)(void *arg, size_t begin, size_t end, int member);
    void *arg;
    size_t share;
} shares;

/* A job is announced by a new generation and is over when `pending` is 0. Both sides wait in the same way: spin on the
 * atomic, then announce in `sleeping` / `caller_sleeps` that a wake-up is needed and look again before sleeping. The
 * sequentially consistent order of these four variables makes sure that not both sides miss each other. */
struct nb_team {
    int size;
    long spin_nanoseconds;
    expected next; /* written while no job runs, read by members before they report the end of one */
    /* One cache line has all that a member wants to know: to fetch it from another core takes as long as thousands of
     * multiplications. The caller writes the job before the generation, members read it after that. */
    _Alignas(NB_ALIGN) atomic_uint generation;
    void (*fn)(void *arg, int member);
    void *arg;
    shares shares;
    _Alignas(NB_ALIGN) atomic_int pending;
    atomic_int sleeping;
    atomic_bool caller_sleeps;
    atomic_bool quit;
    pthread_mutex_t mutex;
    pthread_cond_t start, done;
    int n_started;
    struct member {
        _Alignas(NB_ALIGN) range range; /* of the job */
        nb_team *team;
        int index;
        pthread_t thread;    /* not the caller's, who is member 0 */
        const uint8_t *data; /* what `fetch` belongs to */
        const uint8_t *fetch;
        size_t n_fetch;
    } members[]; /* [size] */
};

#if defined(__x86_64__) || defined(__i386__)
static inline void relax(void) {
    __builtin_ia32_pause();
}
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
static inline void relax(void) {
    __asm__ volatile("yield" ::: "memory");
}
#else
static inline void relax(void) {
    atomic_signal_fence(memory_order_seq_cst);
}
#endif

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Where a member's part of n_items begins: parts are even and, in units of `share`, whole. */
static size_t range_begin(size_t n_items, size_t share, size_t members, size_t member) {
    size_t units = nb_div_up(n_items, share), more = units % members;
    return nb_min_size((units / members * member + nb_min_size(member, more)) * share, n_items);
}

/* What a member should fetch, which it may have begun to. */
static void look_ahead(struct member *m) {
    const expected *e = &m->team->next;
    if (m->data == e->data) return;
    m->data = e->data;
    m->n_fetch = 0;
    if (!e->data) return;
    size_t size = (size_t)m->team->size, begin = range_begin(e->n_items, e->share, size, (size_t)m->index);
    m->fetch = e->data + begin * e->item_bytes;
    m->n_fetch = nb_min_size(FETCH_BYTES,
                             (range_begin(e->n_items, e->share, size, (size_t)m->index + 1) - begin) * e->item_bytes);
}

/* A moment of waiting. */
static inline void pass_time(struct member *m) {
    size_t n = nb_min_size(m->n_fetch, FETCH_PIECE);
    if (n) {
        for (size_t at = 0; at < n; at += FETCH_LINE) __builtin_prefetch(m->fetch + at, 0, 2);
        m->fetch += n;
        m->n_fetch -= n;
    }
    relax();
}

/* Whether the team has a job other than `seen`. */
static inline bool has_job(const nb_team *t, unsigned seen) {
    return atomic_load_explicit(&t->generation, memory_order_acquire) != seen;
}
static inline bool has_ended(const nb_team *t, unsigned seen) {
    (void)seen;
    return atomic_load_explicit(&t->pending, memory_order_acquire) == 0;
}

/* False when it is time to sleep. */
static inline bool spin(struct member *m, bool (*is)(const nb_team *t, unsigned seen), unsigned seen) {
    if (!m->team->spin_nanoseconds) return is(m->team, seen);
    int64_t end = now_ns() + m->team->spin_nanoseconds;
    do {
        for (int i = 0; i < SPIN_PAUSES; i++) {
            if (is(m->team, seen)) return true;
            pass_time(m);
        }
    } while (now_ns() < end);
    return false;
}

static void wait_for_job(struct member *m, unsigned seen) {
    nb_team *t = m->team;
    if (spin(m, has_job, seen)) return;
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->sleeping, 1);
    while (atomic_load(&t->generation) == seen) pthread_cond_wait(&t->start, &t->mutex);
    atomic_fetch_sub(&t->sleeping, 1);
    pthread_mutex_unlock(&t->mutex);
}

static void wait_for_end(nb_team *t) {
    look_ahead(&t->members[0]);
    if (spin(&t->members[0], has_ended, 0)) return;
    pthread_mutex_lock(&t->mutex);
    /* Exchanged, not stored: the load below must not overtake it. Both forms say so, but qemu (7.2 at least) emulates
     * arm's stlr and ldar without a barrier between them. */
    (void)atomic_exchange(&t->caller_sleeps, true);
    while (atomic_load(&t->pending) != 0) pthread_cond_wait(&t->done, &t->mutex);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->mutex);
}

static void announce(nb_team *t) {
    atomic_fetch_add(&t->generation, 1);
    if (atomic_load(&t->sleeping) == 0) return;
    pthread_mutex_lock(&t->mutex);
    pthread_cond_broadcast(&t->start);
    pthread_mutex_unlock(&t->mutex);
}

static void report_done(nb_team *t) {
    if (atomic_fetch_sub(&t->pending, 1) != 1 || !atomic_load(&t->caller_sleeps)) return;
    pthread_mutex_lock(&t->mutex);
    pthread_cond_signal(&t->done);
    pthread_mutex_unlock(&t->mutex);
}

static void *member_main(void *arg) {
    struct member *self = arg;
    nb_team *t = self->team;
    /* Every generation ends before the next begins, so a member is never more than one behind. */
    for (unsigned seen = 0;; seen++) {
        wait_for_job(self, seen);
        if (atomic_load(&t->quit)) return NULL;
        t->fn(t->arg, self->index);
        look_ahead(self);
        report_done(t);
    }
}

/* Signals belong to the program's own threads; only those that a fault raises stay open. */
static void block_signals(sigset_t *old) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

static int start_members(nb_team *t) {
    pthread_attr_t attributes;
    int reason = pthread_attr_init(&attributes);
    if (reason) return reason;
    /* The default differs between systems by a factor of 64. */
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t old;
    block_signals(&old);
    for (int i = 1; i < t->size && !reason; i++) {
        reason = pthread_create(&t->members[i].thread, &attributes, member_main, &t->members[i]);
        if (!reason) t->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return reason;
}

nb_status nb_team_create(nb_team **team, int n_threads, nb_error *err) {
    *team = NULL;
    if (n_threads < 0 || n_threads > NB_TEAM_MAX)
        return nb_fail(err, NB_ARGUMENT, "%d threads asked for; possible are 1 to %d", n_threads, NB_TEAM_MAX);
    int size = n_threads ? n_threads : nb_physical_cores();
    if (size > NB_TEAM_MAX) size = NB_TEAM_MAX;
    size_t bytes = sizeof(nb_team) + sizeof(struct member) * (size_t)size;
    nb_team *t = nb_calloc(1, bytes);
    if (!t) return nb_oom(err, "thread team", bytes);
    t->size = size;
    for (int i = 0; i < size; i++) {
        t->members[i].team = t;
        t->members[i].index = i;
    }
    t->spin_nanoseconds = size <= nb_usable_cpus() ? SPIN_NANOSECONDS : 0;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->start, NULL);
    pthread_cond_init(&t->done, NULL);
    int reason = start_members(t);
    if (reason) {
        nb_status status = nb_fail_errno(err, reason, "cannot start thread %d of %d", t->n_started + 2, size);
        nb_team_free(t);
        return status;
    }
    *team = t;
    return NB_OK;
}

void nb_team_free(nb_team *t) {
    if (!t) return;
    atomic_store(&t->quit, true);
    announce(t);
    for (int i = 1; i <= t->n_started; i++) pthread_join(t->members[i].thread, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->start);
    pthread_mutex_destroy(&t->mutex);
    nb_free(t);
}

int nb_team_size(const nb_team *team) {
    return team ? team->size : 1;
}

void nb_team_run(nb_team *t, void (*fn)(void *arg, int member), void *arg) {
    if (nb_team_size(t) == 1) {
        fn(arg, 0);
        return;
    }
    t->fn = fn;
    t->arg = arg;
    atomic_store(&t->pending, t->size - 1);
    announce(t);
    fn(arg, 0);
    wait_for_end(t);
}

/* Half of what is left: memory is read in long runs, and yet all members end at about the same time. */
static bool take_share(range *r, size_t share, size_t *begin, size_t *end) {
    *begin = atomic_load_explicit(&r->next, memory_order_relaxed);
    do {
        if (*begin >= r->end) return false;
        size_t left = r->end - *begin, part = left / 2 / share * share;
        *end = *begin + nb_min_size(left, nb_max_size(part, share));
    } while (!atomic_compare_exchange_weak_explicit(&r->next, begin, *end, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* A member's own range first, then what is left of the others'. */
static void run_shares(void *arg, int member) {
    nb_team *t = arg;
    const shares *s = &t->shares;
    for (int i = 0; i < t->size; i++) {
        range *r = &t->members[(member + i) % t->size].range;
        size_t begin, end;
        while (take_share(r, s->share, &begin, &end)) s->fn(s->arg, begin, end, member);
    }
}

void nb_team_for(nb_team *team, size_t n_items, size_t share,
                 void (*fn)(void *arg, size_t begin, size_t end, int member), void *arg) {
    if (n_items == 0) return;
    if (share == 0) share = 1;
    if (n_items <= share || nb_team_size(team) == 1) { /* not worth waking anybody */
        fn(arg, 0, n_items, 0);
        return;
    }
    size_t size = (size_t)team->size;
    for (size_t i = 0; i < size; i++) {
        range *r = &team->members[i].range;
        atomic_store_explicit(&r->next, range_begin(n_items, share, size, i), memory_order_relaxed);
        r->end = range_begin(n_items, share, size, i + 1);
    }
    team->shares = (shares){.fn = fn, .arg = arg, .share = share};
    nb_team_run(team, run_shares, team);
}

void nb_team_expect(nb_team *team, const void *data, size_t item_bytes, size_t n_items, size_t share) {
    if (nb_team_size(team) > 1) team->next = (expected){.data = data, .item_bytes = item_bytes, .n_items = n_items,
                                                     .share = share ? share : 1};
}
