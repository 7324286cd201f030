// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of the fan-out share: fanout.c (life of a multicast, events of its casts), envelope.c (targets, groups
 * and messages), receipts.c (states, counts, replies).
 */
#include "base/buffer.h"
#include "core/fanout.h"

#define MST__ENVELOPE_IDS 1000u
#define MST__ENVELOPE_ID_BYTES (64u * 1024u)
#define MST__FANOUT_ACTIVE 1024u
#define MST__FANOUT_TARGETS 2000000u            /* of all multicasts under way; a single one may have more */
#define MST__FANOUT_TEXT (256u * 1024u * 1024u) /* subjects and envelopes of a multicast, but for 1 KiB per target */
#define MST__CODE_MAX 256u                      /* bytes of a failure that are kept */
#define MST__REPLY_MEMBERS 4000u                /* of a gateway's JSON reply */

struct mst_fanout {
    struct mst_messaging *messaging;
    struct mst_timers *timers;
    struct mst_log *log;
    struct mst_json_parser *parser;
    struct mst_buffer scratch; /* a reply, parsed */
    uint32_t active;
    uint64_t under_way; /* targets of the active ones */
    struct mst_fanout_stats stats;
    char prefix[];
};

/* One target. Its class follows from its state. */
struct mst__target {
    uint32_t id_offset;   /* in `ids` */
    uint32_t code_offset; /* in `codes`; 0: none */
    uint8_t id_length;
    uint8_t state;
    uint8_t shard; /* of the message, where it goes to the target itself */
};

/* One message: targets order[first .. first+count). */
struct mst__message {
    uint32_t first;
    uint32_t attempt; /* serial of the latest cast that carries it */
    uint16_t count;
    uint16_t tries; /* how often it was sent again */
    bool enveloped;
    bool sorted;  /* its part of `order` is in order of id */
    bool waiting; /* to be sent again */
};

/* One cast of a multicast: the first with all messages, later ones with what was lost. */
struct mst__attempt {
    struct mst_cast cast;
    struct mst_multicast *multicast;
    struct mst__attempt *next;
    uint32_t serial;
    uint32_t *messages; /* of cast message i: the message's index; NULL: i itself */
    bool releasing;
};

struct mst_multicast {
    struct mst_fanout *fanout; /* not to be touched once done and let go: it may be gone by then */
    char id[24];
    enum mst_ack ack;
    uint32_t retries;
    uint64_t started, deadline, ended;
    struct mst_timer timer; /* set from start to done, so that moving it cannot fail */
    void (*done)(struct mst_multicast *multicast, void *owner);
    void *owner;

    struct mst_buffer ids, codes, text; /* `text` begins with the payload */
    size_t payload_length;
    struct mst__target *targets;
    uint32_t target_count;
    uint32_t *order; /* target indices, by message */
    struct mst__message *messages;
    uint32_t message_count;
    struct mst_cast_message *cast_messages; /* as first sent */
    uint32_t shards, ends[MST_CAST_SHARDS]; /* of the messages, as in a cast */

    uint32_t counts[MST_RECEIPT_STATES];
    uint32_t open; /* targets that are waited for */
    uint32_t waiting;
    uint64_t digest;
    uint32_t last_code; /* offset of the latest code: a batch often fails for one reason */

    struct mst__attempt *attempts; /* that messaging holds */
    uint32_t serials;
    bool settled;   /* nothing is waited for any more, whatever the states */
    bool awake;     /* the timer was moved to now */
    bool finished;  /* done is called */
    bool destroyed; /* to be freed when messaging lets go */
};

/* envelope.c: fills ids, targets, order, messages, cast_messages and text. MST_ETOOBIG, MST_ENOMEM. */
int mst__multicast_build(struct mst_multicast *multicast, const struct mst_multicast_request *request,
                         struct mst_error *error);

static inline struct mst_span mst__target_id(const struct mst_multicast *multicast, uint32_t target)
{
    const struct mst__target *row = &multicast->targets[target];
    return (struct mst_span){multicast->ids.data + row->id_offset, row->id_length};
}

/* receipts.c */

/* Puts a target into a state, whatever it was in before; `code` is what mst__code_keep gave. */
void mst__target_set(struct mst_multicast *multicast, uint32_t target, enum mst_receipt_state state, uint32_t code);

/* Puts those targets of a message that are not final into a state. */
void mst__message_set(struct mst_multicast *multicast, uint32_t message, enum mst_receipt_state state, uint32_t code);

/* Whether no target of a message is left without a final state. */
bool mst__message_final(const struct mst_multicast *multicast, uint32_t message);

/*
 * Ends the waiting: what is queued gets one state, what is sent another, what is unknown becomes unreachable; what is
 * final stays so, received as well.
 */
void mst__multicast_settle(struct mst_multicast *multicast, enum mst_receipt_state queued, enum mst_receipt_state sent);

/* Keeps the text of a failure, cut to MST__CODE_MAX bytes; its offset, 0 where there is no room. */
uint32_t mst__code_keep(struct mst_multicast *multicast, struct mst_span code);

/* Applies a reply to the message `index`. */
void mst__message_reply(struct mst_multicast *multicast, uint32_t index, struct mst_span data);
