/* Nibble: runs GPT-style language models from one compressed file on any CPU. The public interface.
 *
 * The same file, tokens, options and seed give the same bits on every CPU, with every number of threads, and however
 * tokens are cut into calls.
 *
 * Errors. Functions that can fail return nibble_status, NIBBLE_OK (0) for success. What failed, where, and what was
 *   expected is a sentence in the nibble_error that the caller passes; NULL when nobody reads it. After a failure
 *   out-parameters are NULL or as they were. Nothing prints, exits or aborts.
 * Ownership. What a function with `_create` or `_open` in its name, or with a `nibble_texts **`, gives out belongs to
 *   the caller and goes with the matching `_free` or `_close`, which accept NULL. Pointers that are `const` stay the
 *   object's; how long they live is said where they are given. What is passed in is copied, unless said otherwise.
 *   Objects and what receives a result must be there; an array of 0 may be NULL, other data that is NULL is
 *   NIBBLE_ARGUMENT.
 * Threads. A model is immutable: any number of threads may use it at once. Every other object belongs to one thread at
 *   a time; different objects, also of one model, may be used at the same time. A model outlives what was made from it.
 * Text is UTF-8 with an explicit length in bytes. Token ids are from 0 to the vocabulary's size - 1.
 * Options. A struct of options begins with its size, which says what version of it the caller knows: start with the
 *   macro NIBBLE_..._INIT, which also sets the defaults, and change members. NULL instead of a pointer to options: the
 *   defaults, which are those of `nibble run`. Members that a newer header has, and the library does not know, must be
 *   0, else the status is NIBBLE_UNSUPPORTED.
 * Versions. MAJOR changes when a program that worked may not work any more, MINOR when something is added. As long as
 *   MAJOR is 0, MINOR may do both. */
#ifndef NIBBLE_H
#define NIBBLE_H

#include <stddef.h>
#include <stdint.h>

#define NIBBLE_VERSION_MAJOR 0
#define NIBBLE_VERSION_MINOR 1
#define NIBBLE_VERSION_PATCH 0

#if defined(__GNUC__)
#define NIBBLE_API __attribute__((visibility("default")))
#else
#define NIBBLE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, as "0.1.0"; it may be newer than the header's. */
NIBBLE_API const char *nibble_version(void);

/* ---- errors */

typedef enum nibble_status {
    NIBBLE_OK,
    NIBBLE_IO,          /* input or output failed */
    NIBBLE_MEMORY,      /* out of memory */
    NIBBLE_FORMAT,      /* malformed file */
    NIBBLE_TRUNCATED,   /* file is cut short */
    NIBBLE_CHECKSUM,    /* checksum mismatch */
    NIBBLE_UNSUPPORTED, /* not supported */
    NIBBLE_LIMIT,       /* limit exceeded: no room for so much */
    NIBBLE_ARGUMENT,    /* invalid argument */
    NIBBLE_MISSING,     /* the model does not have it */
    NIBBLE_CANCELLED    /* a callback asked for it */
} nibble_status;

/* The last failure told to it. NULL from nibble_error_create: out of memory, and NULL serves everywhere. */
typedef struct nibble_error nibble_error;
NIBBLE_API nibble_error *nibble_error_create(void);
NIBBLE_API void nibble_error_free(nibble_error *error);
NIBBLE_API nibble_status nibble_error_status(const nibble_error *error);
NIBBLE_API const char *nibble_error_text(const nibble_error *error); /* one sentence; lives until the next failure */

/* ---- models */

typedef struct nibble_model nibble_model;

typedef struct nibble_model_options {
    size_t size;
    uint32_t threads; /* 0: one per core; also the default of what is made from the model. 1 to 256 */
    const char *isa;  /* instruction set by name, as "avx2"; NULL: NIBBLE_ISA of the environment, or this CPU's best */
} nibble_model_options;
#define NIBBLE_MODEL_OPTIONS_INIT { sizeof(nibble_model_options), 0, NULL }

/* Open a .nbl file. Checks all that is read; nothing in a file is trusted. */
NIBBLE_API nibble_status nibble_model_open(nibble_model **model, const char *path, const nibble_model_options *options,
                                           nibble_error *error);
NIBBLE_API void nibble_model_close(nibble_model *model);

/* Texts live as long as the model. */
NIBBLE_API uint64_t nibble_model_identity(const nibble_model *model);         /* equal identities: equal results */
NIBBLE_API const char *nibble_model_architecture(const nibble_model *model);
NIBBLE_API const char *nibble_model_chat_style(const nibble_model *model);
NIBBLE_API const char *nibble_model_isa(const nibble_model *model);           /* in use */
NIBBLE_API uint32_t nibble_model_vocab_size(const nibble_model *model);
NIBBLE_API uint32_t nibble_model_context(const nibble_model *model);          /* tokens it was trained for */
NIBBLE_API int nibble_model_has_tokenizer(const nibble_model *model);         /* without one, there are ids only */
NIBBLE_API const char *nibble_model_json(const nibble_model *model);          /* the file's metadata, a JSON object */
NIBBLE_API const char *nibble_model_provenance(const nibble_model *model);    /* where it comes from, a JSON object */

/* Hyperparameters: the name of the i-th (NULL past the end), and the value of one by name, an enumeration as its
 * number. NIBBLE_ARGUMENT for an unknown name. */
NIBBLE_API const char *nibble_hparam_name(size_t i);
NIBBLE_API nibble_status nibble_model_hparam(const nibble_model *model, const char *name, double *value,
                                             nibble_error *error);

/* ---- text and tokens; NIBBLE_MISSING for a model without a tokenizer */

enum {
    NIBBLE_TOKENIZE_CONTROL = 1, /* control tokens' texts become these tokens; else they are ordinary text */
    NIBBLE_TOKENIZE_ENDS = 2     /* the vocabulary's BOS before and EOS behind, where it has them */
};

/* The ids of text[n], any bytes. *n_ids becomes how many there are; ids[capacity] receives them when they fit, else the
 * status is NIBBLE_LIMIT and ids is not touched (it may be NULL with capacity 0). NIBBLE_ARGUMENT for unknown flags. */
NIBBLE_API nibble_status nibble_tokenize(const nibble_model *model, const char *text, size_t n, unsigned flags,
                                         int32_t *ids, size_t capacity, size_t *n_ids, nibble_error *error);

/* The bytes of ids[n_ids] as a text of its own, without control tokens; sizes as in nibble_tokenize, no NUL is added.
 * Bytes need not be UTF-8. NIBBLE_ARGUMENT for an id outside the vocabulary. */
NIBBLE_API nibble_status nibble_detokenize(const nibble_model *model, const int32_t *ids, size_t n_ids, char *text,
                                           size_t capacity, size_t *n, nibble_error *error);

/* The control token with this text, as "<|bos|>", or -1; and the text of a control token, or NULL for any other id. */
NIBBLE_API int32_t nibble_control_token(const nibble_model *model, const char *text);
NIBBLE_API const char *nibble_control_text(const nibble_model *model, int32_t id);

/* Decoding that streams: every token gives the text that is complete with it. What can no longer become UTF-8 is
 * U+FFFD. */
typedef struct nibble_decoder nibble_decoder;
NIBBLE_API nibble_status nibble_decoder_create(nibble_decoder **decoder, const nibble_model *model,
                                               nibble_error *error);
NIBBLE_API void nibble_decoder_free(nibble_decoder *decoder);
/* *text, [*n], with a NUL behind it, lives until the decoder's next call; _finish gives what is still held back, and
 * starts anew. */
NIBBLE_API nibble_status nibble_decoder_add(nibble_decoder *decoder, int32_t id, const char **text, size_t *n,
                                            nibble_error *error);
NIBBLE_API nibble_status nibble_decoder_finish(nibble_decoder *decoder, const char **text, size_t *n,
                                               nibble_error *error);

/* ---- conversations */

typedef enum nibble_role { NIBBLE_SYSTEM, NIBBLE_USER, NIBBLE_ASSISTANT } nibble_role;
typedef struct nibble_message {
    nibble_role role;
    const char *text; /* NUL-terminated; control tokens' texts in it are ordinary text */
} nibble_message;

/* The ids of a conversation in a chat style (NULL: the model's own), up to where the model speaks.
 * messages[n_messages]: a system message may stand first (without one, in the model's own style, that which its
 * checkpoint's template has); user and assistant alternate, the user begins and ends. Sizes as in nibble_tokenize.
 * NIBBLE_UNSUPPORTED for a style that is not known, or a system message in one without them; NIBBLE_MISSING when the
 * vocabulary lacks a control token of the style. */
NIBBLE_API nibble_status nibble_chat_render(const nibble_model *model, const char *style,
                                            const nibble_message *messages,
                                            size_t n_messages, int32_t *ids, size_t capacity, size_t *n_ids,
                                            nibble_error *error);

/* ---- sessions: a text and what the model remembers of it */

typedef enum nibble_kv { NIBBLE_KV_F32, NIBBLE_KV_F16, NIBBLE_KV_Q8 } nibble_kv;

/* What becomes of a text that is as long as `context`. */
typedef enum nibble_overflow {
    NIBBLE_OVERFLOW_STOP, /* it takes no more */
    NIBBLE_OVERFLOW_SLIDE /* it goes on; the model sees its first 64 tokens and the latest. context is 128 or more */
} nibble_overflow;

typedef struct nibble_session_options {
    size_t size;
    uint32_t context; /* room for so many tokens; 0: nibble_model_context */
    uint32_t threads; /* that work for the session; 0: as many as for the model */
    /* Types in which the cache remembers. q8 takes a quarter of the memory of f32 and is the fastest; it costs less
     * than weights in q8 do (docs/api.md). f32 is for measuring: logits are then those of the model's own
     * arithmetic. */
    nibble_kv keys, values;
    uint32_t ahead;   /* most tokens that generation may draft ahead (`lookup` below); takes memory for their logits */
    nibble_overflow overflow;
} nibble_session_options;
#define NIBBLE_SESSION_OPTIONS_INIT \
    { sizeof(nibble_session_options), 0, 0, NIBBLE_KV_Q8, NIBBLE_KV_Q8, 0, NIBBLE_OVERFLOW_STOP }

typedef struct nibble_session nibble_session;
NIBBLE_API nibble_status nibble_session_create(nibble_session **session, const nibble_model *model,
                                               const nibble_session_options *options, nibble_error *error);
NIBBLE_API void nibble_session_free(nibble_session *session);

/* Called with the logits [vocab_size] after the token at `position`, in order; 0 goes on, anything else cancels. It may
 * not use the session. */
typedef int (*nibble_logits_fn)(void *user, size_t position, const float *logits);

/* Append ids[n]. With `each`, it is called for every one of them; else only the logits after the last are computed.
 * NIBBLE_LIMIT when there is no room, NIBBLE_ARGUMENT for an id outside the vocabulary (nothing is appended),
 * NIBBLE_CANCELLED when `each` asked for it (tokens that it saw are part of the session; more may be). */
NIBBLE_API nibble_status nibble_session_append(nibble_session *session, const int32_t *ids, size_t n,
                                               nibble_logits_fn each, void *user, nibble_error *error);
/* Logits [vocab_size] after the last token, as the last append without `each` or the last generation left them; NULL
 * when there are none. They live until the session's next call. */
NIBBLE_API const float *nibble_session_logits(const nibble_session *session);
NIBBLE_API uint32_t nibble_session_length(const nibble_session *session);
NIBBLE_API uint32_t nibble_session_room(const nibble_session *session);        /* tokens in all */
NIBBLE_API const int32_t *nibble_session_ids(const nibble_session *session);   /* [length], until the next call */
/* Forget all but the first `length` tokens; there are no logits then. Returns the length that is left, which is 0 where
 * the model has forgotten what the next token would see (sliding windows). */
NIBBLE_API uint32_t nibble_session_rewind(nibble_session *session, uint32_t length);

/* Write the session to a file, which is replaced when it exists: the text, the cache, and how generation goes on.
 * Restoring makes a session of the same model and options what it was, on any machine; it has logits then.
 * NIBBLE_ARGUMENT for a file of another model or other types of the cache, NIBBLE_LIMIT when the text does not fit;
 * NIBBLE_FORMAT, NIBBLE_TRUNCATED or NIBBLE_CHECKSUM for a bad file. After a failure to restore the session is
 * empty. */
NIBBLE_API nibble_status nibble_session_save(nibble_session *session, const char *path, nibble_error *error);
NIBBLE_API nibble_status nibble_session_restore(nibble_session *session, const char *path, nibble_error *error);

/* ---- sampling */

typedef struct nibble_logit_bias {
    int32_t id;
    float bias; /* finite, or -infinity, which bans the token */
} nibble_logit_bias;

/* Stages in this order; each sees what the one before it left. Definitions and their sources: docs/api.md. */
typedef struct nibble_sampling {
    size_t size;
    const nibble_logit_bias *bias; /* [n_bias] */
    size_t n_bias;
    float repeat_penalty;          /* 1: none */
    float frequency_penalty, presence_penalty; /* 0: none */
    uint32_t repeat_last_n;        /* tokens that the penalties look at; 0: none */
    float temperature;             /* 0: always the best token, the lowest id among equals; no stage below is reached */
    uint32_t top_k;                /* 0: all */
    float typical_p, top_p;        /* 1: all */
    float min_p;                   /* 0: all */
    uint32_t min_keep;             /* that typical_p, top_p and min_p leave */
    uint64_t seed;
} nibble_sampling;
#define NIBBLE_SAMPLING_INIT { sizeof(nibble_sampling), NULL, 0, 1.0f, 0.0f, 0.0f, 64, 0.8f, 0, 1.0f, 1.0f, 0.0f, 1, 0 }

/* A sampler for logits of the caller's choice. `stream` tells texts with the same seed apart. NIBBLE_ARGUMENT when a
 * parameter is out of its range. */
typedef struct nibble_sampler nibble_sampler;
NIBBLE_API nibble_status nibble_sampler_create(nibble_sampler **sampler, const nibble_model *model,
                                               const nibble_sampling *sampling, uint64_t stream, nibble_error *error);
NIBBLE_API void nibble_sampler_free(nibble_sampler *sampler);
/* The next token by logits [vocab_size]; -1 when logits is NULL. Tokens that are part of the text are told by _accept,
 * for the penalties. */
NIBBLE_API int32_t nibble_sampler_next(nibble_sampler *sampler, const float *logits);
NIBBLE_API void nibble_sampler_accept(nibble_sampler *sampler, int32_t id);

/* ---- tools of one's own, beside those that the library has (the calculator of nanochat) */

/* Where a tool's result goes: texts that are added join. They may be any bytes. */
typedef struct nibble_tool_result nibble_tool_result;
NIBBLE_API void nibble_tool_result_add(nibble_tool_result *result, const char *text, size_t n);

/* The model has called a tool with text[n], what it wrote between the tool's control tokens; a NUL follows. 0: the
 * result, which may be empty, is forced into the text, between the tool's other two control tokens. Anything else: the
 * call has no result, and the text goes on without one. Called by the thread that generates, once for each call in the
 * order in which texts make them, while all texts wait; text and result live during the call, which may use no object
 * that takes part in the generation. Results that depend on the call's text alone keep texts reproducible. */
typedef int (*nibble_tool_fn)(void *user, const char *text, size_t n, nibble_tool_result *result);

/* Texts of control tokens of the vocabulary: which begins a call and which ends it, and which stand around its result.
 * A token that begins calls of a tool of the library's too means this one. `name` tells tools apart in saved sessions:
 * a text that was saved in the middle of a call goes on with the tool of that name. An empty call is none. */
typedef struct nibble_tool {
    const char *name;
    const char *call_start, *call_end;
    const char *output_start, *output_end;
    nibble_tool_fn call;
    void *user;
} nibble_tool;

/* ---- generation */

typedef enum nibble_finish {
    NIBBLE_UNFINISHED,
    NIBBLE_STOP,            /* a stop token or a stop text */
    NIBBLE_LENGTH,          /* max_tokens, or no room */
    NIBBLE_FINISH_CANCELLED
} nibble_finish;
NIBBLE_API const char *nibble_finish_name(nibble_finish finish); /* "stop", "length", "cancelled"; "": unfinished */

typedef struct nibble_generate_options {
    size_t size;
    const nibble_sampling *sampling; /* NULL: NIBBLE_SAMPLING_INIT */
    uint64_t stream;                 /* of the first text; the s-th of several from one prompt draws from stream + s */
    uint32_t max_tokens;             /* 0: until the room ends */
    const char *const *stops;        /* [n_stops] texts: the text ends before the first of them. Need a tokenizer */
    size_t n_stops;
    const int32_t *stop_tokens;      /* [n_stop_tokens] besides the vocabulary's */
    size_t n_stop_tokens;
    int ignore_stop_tokens;          /* the vocabulary's */
    int tools;                       /* run the library's tools that the vocabulary has control tokens for */
    uint32_t lookup;                 /* draft so many tokens ahead where the text repeats itself; changes no result */
    int resume;                      /* nibble_generate only: go on where the session's last generation stopped, also
                                      * before it was saved: in its random stream, in a tool's call or result.
                                      * NIBBLE_ARGUMENT when there is none, or tokens came or went since */
    const nibble_tool *own_tools;    /* [n_own_tools] whether or not `tools`. Used until the generation ends.
                                      * NIBBLE_ARGUMENT for one that lacks something, and for two of one name or one
                                      * call_start; NIBBLE_MISSING when the vocabulary lacks a control token */
    size_t n_own_tools;
} nibble_generate_options;
#define NIBBLE_GENERATE_OPTIONS_INIT \
    { sizeof(nibble_generate_options), NULL, 0, 0, NULL, 0, NULL, 0, 0, 1, 0, 0, NULL, 0 }

/* One token as it joins a text. */
typedef struct nibble_item {
    uint32_t text_index;   /* which text */
    int32_t id;            /* -1: the prompt left no room for a token */
    int sampled;           /* the mask: 1 sampled, 0 forced by a tool */
    int terminal;          /* a stop token: it ends the text and is not part of it */
    nibble_finish finish;  /* NIBBLE_UNFINISHED: the text goes on */
    const char *text;      /* [text_size] that is complete with this token; a NUL need not follow */
    size_t text_size;
} nibble_item;

/* A step of generation: the tokens of the texts that took one (with lookup, perhaps several of one text, in their
 * order). 0 goes on, anything else cancels: texts that have not ended do so as NIBBLE_FINISH_CANCELLED. items[n] live
 * during the call, which may use no object that takes part in the generation. */
typedef int (*nibble_column_fn)(void *user, const nibble_item *items, size_t n);

/* Generated texts. Arrays live as long as the object. */
typedef struct nibble_texts nibble_texts;
NIBBLE_API void nibble_texts_free(nibble_texts *texts);
NIBBLE_API size_t nibble_texts_count(const nibble_texts *texts); /* i below is less than this */
/* The whole sequence of text i, prompt included, without the stop token; and for each token 1 where it was sampled, 0
 * where it was prompt or forced. *n is their length; n may be NULL. */
NIBBLE_API const int32_t *nibble_texts_ids(const nibble_texts *texts, size_t i, size_t *n);
NIBBLE_API const uint8_t *nibble_texts_mask(const nibble_texts *texts, size_t i, size_t *n);
/* What was generated, as it is meant to be read: without control tokens, tool calls and their results; a NUL
 * follows. */
NIBBLE_API const char *nibble_texts_text(const nibble_texts *texts, size_t i, size_t *n);
NIBBLE_API nibble_finish nibble_texts_finish(const nibble_texts *texts, size_t i);
NIBBLE_API int32_t nibble_texts_end_token(const nibble_texts *texts, size_t i); /* that ended it, or -1 */

/* Continue a session's text, which must not be empty and must have logits. When it ends, the session holds all of it
 * but the stop token. `column` and `texts` may be NULL. A cancelled text is no failure. */
NIBBLE_API nibble_status nibble_generate(nibble_session *session, const nibble_generate_options *options,
                                         nibble_column_fn column, void *user, nibble_texts **texts,
                                         nibble_error *error);

typedef struct nibble_prompt {
    const int32_t *ids; /* [n], n >= 1 */
    size_t n;
    uint32_t n_texts;   /* that continue it */
} nibble_prompt;

typedef struct nibble_batch_options {
    size_t size;
    const nibble_session_options *session; /* context: the room of each text. NULL: NIBBLE_SESSION_OPTIONS_INIT */
    uint32_t rows;                         /* texts that grow side by side; 0: all, up to 64 */
} nibble_batch_options;
#define NIBBLE_BATCH_OPTIONS_INIT { sizeof(nibble_batch_options), NULL, 0 }

/* Texts side by side: each prompt is read once, prompts that begin alike share that, and all texts' tokens go through
 * the model together. Texts are numbered by prompt, then by sample. Each is what nibble_generate would give it. All
 * prompts are checked before the first is read: NIBBLE_ARGUMENT for an empty one or an id outside the vocabulary,
 * NIBBLE_LIMIT when one does not fit. */
NIBBLE_API nibble_status nibble_generate_batch(const nibble_model *model, const nibble_prompt *prompts,
                                               size_t n_prompts, const nibble_batch_options *batch,
                                               const nibble_generate_options *options, nibble_column_fn column,
                                               void *user, nibble_texts **texts, nibble_error *error);

#ifdef __cplusplus
}
#endif

#endif
