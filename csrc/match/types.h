// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The typed values of filters: versions, networks, patterns, places. All text is borrowed and may be hostile. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/json.h"

#define MST__PATTERN_MAX 1024u /* bytes of a like, glob or regular expression */

/* A version as Semantic Versioning 2.0 orders it, with any number of numeric components and a leading "v" allowed. */
struct mst__version {
    struct mst_span numbers; /* "1.10.0" */
    struct mst_span release; /* "rc.1"; empty: none. Build metadata is dropped */
};

bool mst__version_parse(struct mst__version *version, const char *text, size_t length);
int mst__version_compare(const struct mst__version *a, const struct mst__version *b);

/* An IPv4 or IPv6 network; an address without "/bits" is a network of one. */
struct mst__cidr {
    uint8_t address[16];
    unsigned bytes; /* 4 or 16 */
    unsigned bits;
};

bool mst__cidr_parse(struct mst__cidr *cidr, const char *text, size_t length);

/* False too for text that is no address, or one of the other kind. */
bool mst__cidr_holds(const struct mst__cidr *cidr, const char *text, size_t length);

/*
 * Patterns match the whole text; time is at most the product of the lengths, whatever the pattern. `like`: % any text,
 * _ one code point, \ takes the next byte literally. `glob`: * any text, ? one code point, [a-z] and [!a-z] one of a
 * set; a "[" without its "]" stands for itself.
 */
bool mst__like_match(struct mst_span pattern, struct mst_span text);
bool mst__glob_match(struct mst_span pattern, struct mst_span text);

/*
 * Metres on the great circle (haversine, radius 6,371,008.8 m) from a place to a packed {lat,lon}, {lat,lng},
 * {latitude,longitude} or GeoJSON Point; false if the value is none of these or lies off the globe.
 */
bool mst__distance(const uint8_t *value, double latitude, double longitude, double *metres);
