// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the files of the load tester share.
 *
 *   loadtest.c             the run: its phases, signals
 *   loadtest_clean.c       what a run leaves behind, its own and that of others
 *   loadtest_options.c     reading the options
 *   loadtest_schedule.c    what is done when: the same for the same seed
 *   loadtest_operations.c  firing operations, answers, latencies, failures
 *   loadtest_receivers.c   the receiver processes and what they count
 *   loadtest_delivery.c    what ought to have been received, compared with what was
 *   loadtest_progress.c    the lines during the run
 *   loadtest_report.c      the report as text
 *   loadtest_json.c        the report as JSON
 *   loadtest_thresholds.c  pass or fail
 *
 * Open model: operation k is planned at start + k / rate, whatever became of those before it, and its latency counts
 * from that moment. One thread, but for the receivers, which are processes.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/hdr.h"
#include "base/timers.h"
#include "core/fanout.h"
#include "host/host.h"
#include "host/loadtest.h"

enum mst__load_kind { MST__LOAD_REGISTER, MST__LOAD_ENUMERATE, MST__LOAD_MULTICAST, MST__LOAD_KINDS };
extern const char *const mst__load_kind_names[MST__LOAD_KINDS];

enum mst__load_class { MST__LOAD_TIMEOUT, MST__LOAD_CONNECTION, MST__LOAD_LOGIC, MST__LOAD_CLASSES };
extern const char *const mst__load_class_names[MST__LOAD_CLASSES];

enum {
    MST__LOAD_RECEIVERS = 64,
    MST__LOAD_IDENTITIES = 4000000, /* most of one run */
    MST__LOAD_THRESHOLDS = 64,
    MST__LOAD_FAILURES = 32, /* distinct ones that are kept */
    MST__LOAD_BANDS = 15,
    MST__LOAD_TICK = 100,   /* ns: the unit of all histograms; they reach 360 s */
    MST__LOAD_EXPIRE = 600, /* seconds after which Redis itself removes what a run that was killed has left */
};

/* Upper bounds of the bands of the distribution in milliseconds; the last is infinite. */
extern const double mst__load_bands[MST__LOAD_BANDS];

/* ------------------------------------------------------------------------------------------------ options */

struct mst__load_threshold {
    char *metric, *text;
    char operator_[3];
    double value;  /* seconds, a share, or operations a second */
    double actual; /* NAN: nothing was measured */
    bool passed;
};

struct mst__load_options {
    char *mode, *redis_host, *redis_user, *redis_password, *nats_servers, *filter, *status, *payload;
    char *argv; /* JSON text */
    int redis_port, redis_db;
    double rate, duration, interval, ttl;
    double mix[MST__LOAD_KINDS]; /* per cent */
    uint64_t seed, preload;
    uint32_t receivers, gateways, in_flight;
    enum mst_ack ack;
    enum { MST__LOAD_TEXT, MST__LOAD_JSON, MST__LOAD_SILENT } progress;
    bool verbose, embedded, json, quiet;
    struct mst__load_threshold thresholds[MST__LOAD_THRESHOLDS];
    uint32_t threshold_count;
};

/* MST_EJSON, MST_EINVAL, MST_ERANGE. To be deinitialised in both cases. */
int mst__load_options_read(struct mst__load_options *options, const char *text, size_t length, struct mst_error *error);
void mst__load_options_deinit(struct mst__load_options *options);

/* ------------------------------------------------------------------------------------------------ schedule */

struct mst__load_schedule {
    uint64_t random[4];
    double rate, limits[MST__LOAD_KINDS]; /* a draw below limits[kind] is of that kind */
    uint64_t total;
    uint64_t counts[MST__LOAD_KINDS]; /* what the whole run will consist of */
    uint64_t identities;              /* preloaded and registered */
    uint64_t digest;                  /* of kinds and identities, in their order */
};

int mst__load_schedule_init(struct mst__load_schedule *schedule, const struct mst__load_options *options,
                            struct mst_error *error);
enum mst__load_kind mst__load_schedule_next(struct mst__load_schedule *schedule); /* kind of the next operation */
uint64_t mst__load_schedule_at(const struct mst__load_schedule *schedule, uint64_t operation); /* ns after the start */
uint64_t mst__load_mix(uint64_t number); /* one step of splitmix64 */

/* ------------------------------------------------------------------------------------------------ receivers */

/* What has come for one identity: in shared memory, with one writer. */
struct mst__load_tally {
    _Atomic uint64_t sum; /* of mst__load_mix(number of the multicast) */
    _Atomic uint32_t count;
};

struct mst__load_receivers {
    uint32_t count; /* 0: nobody subscribes, or (in_process) this process does */
    bool in_process;
    uint64_t identities, multicasts;
    uint32_t gateways;
    enum mst_ack ack;
    bool numbered;  /* payloads carry the number of their multicast */
    char head[160]; /* `<prefix>.<namespace>.` */
    size_t head_length;

    struct mst__load_shared *shared;
    size_t shared_size;
    struct mst__load_tally *tallies; /* of identity 1 .. identities at [0 ..] */
    _Atomic uint64_t *arrivals;      /* of each multicast: monotonic ns of the last message that came */

    struct mst__load_process {
        pid_t pid;
        int stop;   /* closing it ends the process */
        int status; /* one line, empty: it has subscribed */
    } processes[MST__LOAD_RECEIVERS];
    double cpu_seconds; /* of all, when they have ended */

    struct mst_listener listeners[2]; /* in process: identities, gateways */
    struct mst_messaging *messaging;
};

/* Makes the shared memory and, unless embedded, the processes. Before any thread exists. */
int mst__load_receivers_start(struct mst__load_receivers *receivers, const struct mst__load_options *options,
                              const struct mst__load_schedule *schedule, const char *namespace_,
                              struct mst_error *error);
/* Waits until all processes have subscribed. MST_ENATS. */
int mst__load_receivers_wait(struct mst__load_receivers *receivers, struct mst_error *error);
/* Embedded: subscribes in this process. */
int mst__load_receivers_listen(struct mst__load_receivers *receivers, struct mst_messaging *messaging,
                               struct mst_error *error);
bool mst__load_receivers_any(const struct mst__load_receivers *receivers);
uint64_t mst__load_receivers_count(const struct mst__load_receivers *receivers); /* messages, per target */
uint64_t mst__load_receivers_foreign(const struct mst__load_receivers *receivers);
uint64_t mst__load_receivers_reconnects(const struct mst__load_receivers *receivers);
/* Ends and reaps the processes, frees. */
void mst__load_receivers_stop(struct mst__load_receivers *receivers);
void mst__load_receivers_deinit(struct mst__load_receivers *receivers);

/* Ends them without waiting, for a process that is about to end itself. */
void mst__load_receivers_kill(const struct mst__load_receivers *receivers);

/* ------------------------------------------------------------------------------------------------ delivery */

/* What the receipts say that one identity ought to have received. */
struct mst__load_expected {
    uint64_t sum;
    uint32_t count;     /* published, received or processed */
    uint32_t uncertain; /* sent, and then nothing was heard: it may have come or not */
};

struct mst__load_delivery {
    struct mst__load_expected *expected; /* of identity 1 .. at [0 ..] */
    uint64_t identities;
    uint64_t multicasts, targets, least, most; /* multicasts that were carried out; targets of one */
    uint64_t states[MST_RECEIPT_STATES];
    uint64_t published, no_receiver, failed, timeout;
    /* after the comparison */
    uint64_t received, duplicates, foreign, missing, mismatch;
    struct mst_hdr *last_arrival; /* from planned start to the last message of a multicast */
};

/* ------------------------------------------------------------------------------------------------ operations */

struct mst__load_failure {
    enum mst__load_kind kind;
    enum mst__load_class class_;
    uint64_t count;
    double first; /* seconds after the start */
    char text[200];
};

struct mst__load_numbers {
    uint64_t planned, ok, failed, failures[MST__LOAD_CLASSES];
    struct mst_hdr *latency, *service; /* of what succeeded */
    struct mst_hdr *window;            /* latency since the last progress line */
};

struct mst__load;

struct mst__load_operation {
    struct mst__load *load;
    struct mst__load_operation *next;
    uint64_t planned, started;
    uint32_t number; /* of the identity or the multicast */
    uint8_t kind;
    uint8_t class_; /* of a multicast's unreached targets; MST__LOAD_CLASSES: all were reached */
};

struct mst__load {
    struct mst__load_options options;
    struct mst__load_schedule schedule;
    struct mst__load_receivers receivers;
    struct mst__load_delivery delivery;
    struct mst__load_numbers numbers[MST__LOAD_KINDS];
    char run[12], namespace_[24];
    struct mst_host *host;
    uint64_t start; /* monotonic ns of operation 0 */
    uint64_t ended; /* of the last answer */

    uint64_t next;                   /* operation to be fired */
    uint32_t identities, multicasts; /* numbers given out */
    uint64_t *planned_of;            /* of each multicast */
    struct mst_timer fire_timer, progress_timer, status_timer, wait_timer;
    struct mst_buffer body, filter; /* filter: its member of a request's JSON */
    struct mst__load_operation *pool, *free;
    uint32_t in_flight, peak;
    uint64_t spread[MST__LOAD_BANDS];    /* latencies by band of mst__load_bands */
    uint64_t shed, late, latest;         /* latest: the most that one was late, ns */
    bool fired, drained, stopping, over; /* over: answers do not count any more */
    uv_signal_t signals[2];              /* SIGINT, SIGTERM */
    int signals_open;
    int signal; /* that ended the sending; 0: none */

    struct mst__load_failure failures[MST__LOAD_FAILURES];
    uint32_t failure_count;
    uint64_t failures_left_out;

    /* since the last progress line */
    uint64_t window_began, window_answers;
    uint32_t window_peak;
    bool terminal, line_open;

    uint64_t cpu_started, cpu;     /* ns; cpu: of this process during the run */
    uint64_t resident;             /* bytes, at most */
    double jitter_p99, jitter_max; /* seconds, of the host before the run */
    uint64_t unanswered;           /* operations that got no answer in time */
    int left_behind;               /* MST_E*: why the namespace could not be removed; 0: it was */
    int exit_code;
};

int mst__load_operations_init(struct mst__load *load, struct mst_error *error);
void mst__load_operations_deinit(struct mst__load *load);
int mst__load_preload(struct mst__load *load, struct mst_error *error);
void mst__load_fire(struct mst_timer *timer, void *owner);
/* Fails what has got no answer. */
void mst__load_abandon(struct mst__load *load);
/* Ends the sending: what was not fired is not planned any more. */
void mst__load_end_sending(struct mst__load *load);
void mst__load_call_failed(struct mst__load *load, enum mst__load_kind kind, enum mst__load_class class_,
                           const char *text, size_t length);
/* Notes the receipts of a multicast; as the coordinator's observer. */
void mst__load_observe(void *context, void *call, const struct mst_multicast *multicast);
/* The part of an error object that is worth showing: "ENAME message". */
void mst__load_error_text(int status, const char *json, size_t length, char *text, size_t size);

int mst__load_delivery_init(struct mst__load_delivery *delivery, uint64_t identities);
void mst__load_delivery_deinit(struct mst__load_delivery *delivery);
void mst__load_compare(struct mst__load *load);
uint64_t mst__load_expected_least(const struct mst__load *load); /* messages that must come */

/* ------------------------------------------------------------------------------------------------ output */

/* A latency in milliseconds: percentile 0 the least, 100 the most. */
double mst__load_ms(const struct mst_hdr *hdr, double percentile);
/* Sum over the kinds; NULL: no memory. To be destroyed. */
struct mst_hdr *mst__load_all(const struct mst__load *load, bool service);
uint64_t mst__load_sum(const struct mst__load *load, bool ok);
uint64_t mst__load_planned(const struct mst__load *load);
/* Seconds from the start to the last answer, or to the end of the plan if that is later. */
double mst__load_elapsed(const struct mst__load *load);

void mst__load_say(const struct mst__load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mst__load_progress_head(struct mst__load *load);
void mst__load_progress_table(struct mst__load *load);
void mst__load_progress_line(struct mst__load *load);
void mst__load_progress_status(struct mst__load *load);
void mst__load_progress_clear(struct mst__load *load);
/* 12,345: into one of the caller's buffers. */
const char *mst__load_grouped(uint64_t number, char text[32]);

/* Removes the run's namespace, whose host is closed, and says on standard error what could not be removed. */
void mst__load_clean_up(struct mst__load *load);
void mst__load_say_left_behind(const struct mst__load *load, const char *reason);

void mst__load_thresholds_judge(struct mst__load *load);
/* True where a threshold for the rate of all errors says how many are all right. */
bool mst__load_tolerates_errors(const struct mst__load *load);
uint32_t mst__load_thresholds_failed(const struct mst__load *load);
void mst__load_report_text(const struct mst__load *load, FILE *out);
void mst__load_report_json(const struct mst__load *load, struct mst_buffer *out);
