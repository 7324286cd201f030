// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/clock.h"
#include "core/coordinator_internal.h"

static void finish_start(struct mst_coordinator *coordinator)
{
    if (coordinator->loading)
        return;
    coordinator->starting = false;
    coordinator->started = true;
    int status = coordinator->start_status;
    coordinator->ready(coordinator->ready_context, status, status ? &coordinator->start_error : NULL);
    mst__calls_wake(coordinator);
}

void mst__start_space_ready(struct mst__space *space)
{
    struct mst_coordinator *coordinator = space->coordinator;
    space->counted = false;
    if (space->stage == MST__SPACE_FAILED && coordinator->start_status == 0) {
        coordinator->start_status = space->error.code;
        coordinator->start_error = space->error;
    }
    coordinator->loading--;
    if (coordinator->starting && !coordinator->searching)
        finish_start(coordinator);
}

static void on_name(void *context, const char *namespace_)
{
    struct mst_coordinator *coordinator = context;
    struct mst_error error = {0};
    struct mst__space *space = coordinator->closing ? NULL : mst__space_make(coordinator, namespace_, &error);
    if (!space) {
        if (!coordinator->closing)
            mst_log_write(coordinator->log, MST_LOG_WARN, "coordinator", "a namespace of the registry is left out",
                          "reason", error.message, NULL);
        return;
    }
    if (space->stage != MST__SPACE_NEW)
        return;
    space->counted = coordinator->starting;
    coordinator->loading += space->counted;
    mst__space_load(space);
}

static void keep_error(struct mst_error *kept, int status, const struct mst_error *error)
{
    if (error)
        *kept = *error;
    else
        mst_error_set(kept, status, "%s", mst_error_text(status));
    kept->code = status;
}

static void on_names(void *context, int status, const struct mst_error *error)
{
    struct mst_coordinator *coordinator = context;
    coordinator->searching = false;
    if (status < 0) {
        coordinator->starting = false;
        keep_error(&coordinator->start_error, status, error);
        coordinator->ready(coordinator->ready_context, status, &coordinator->start_error);
        mst__calls_refuse(coordinator, &coordinator->start_error);
        return;
    }
    coordinator->searched_at = mst_clock_monotonic();
    finish_start(coordinator);
}

void mst_coordinator_start(struct mst_coordinator *coordinator,
                           void (*ready)(void *context, int status, const struct mst_error *error), void *context)
{
    coordinator->starting = coordinator->searching = true;
    coordinator->start_status = 0;
    coordinator->ready = ready;
    coordinator->ready_context = context;
    coordinator->registry->ops->namespaces(coordinator->registry, on_name, on_names, coordinator);
}

static void on_search(void *context, int status, const struct mst_error *error)
{
    struct mst_coordinator *coordinator = context;
    coordinator->searching = false;
    coordinator->searched_at = mst_clock_monotonic();
    coordinator->search_error.code = 0;
    if (status < 0)
        keep_error(&coordinator->search_error, status, error);
    mst__calls_wake(coordinator);
}

int mst__discover(struct mst_coordinator *coordinator, struct mst_error *error)
{
    if (coordinator->searching)
        return 1;
    if (mst_clock_monotonic() - coordinator->searched_at >= MST__RETRY_NS) {
        coordinator->searching = true;
        coordinator->registry->ops->namespaces(coordinator->registry, on_name, on_search, coordinator);
        return 1;
    }
    if (coordinator->search_error.code)
        *error = coordinator->search_error;
    return coordinator->search_error.code;
}
