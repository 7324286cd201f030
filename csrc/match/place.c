// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "match/types.h"
#include "model/value.h"

#define EARTH_RADIUS 6371008.8 /* mean radius of WGS 84, metres */
#define RADIANS 0.017453292519943295

static bool number(const uint8_t *value, double *out)
{
    if (!value || (mst_value_tag(value) != MST_INT && mst_value_tag(value) != MST_DOUBLE))
        return false;
    *out = mst_value_double(value);
    return true;
}

/* The first member that is there. */
static const uint8_t *first_of(const uint8_t *object, const char *const *names)
{
    const uint8_t *value = NULL;
    for (; *names && !value; names++)
        value = mst_value_get(object, *names, strlen(*names));
    return value;
}

/* The array of {"type":"Point","coordinates":[longitude, latitude, ...]}; NULL if it is no such thing. */
static const uint8_t *geojson_coordinates(const uint8_t *object)
{
    const uint8_t *type = mst_value_get(object, "type", 4), *coordinates = mst_value_get(object, "coordinates", 11);
    size_t length;
    if (!type || mst_value_tag(type) != MST_STRING || !coordinates || mst_value_tag(coordinates) != MST_ARRAY)
        return NULL;
    const char *name = mst_value_string(type, &length);
    return length == 5 && memcmp(name, "Point", 5) == 0 ? coordinates : NULL;
}

static bool find_place(const uint8_t *object, double *latitude, double *longitude)
{
    static const char *const latitudes[] = {"lat", "latitude", NULL};
    static const char *const longitudes[] = {"lon", "lng", "longitude", NULL};
    const uint8_t *point = geojson_coordinates(object);
    const uint8_t *first = point ? mst_value_at(point, 1) : first_of(object, latitudes);
    const uint8_t *second = point ? mst_value_at(point, 0) : first_of(object, longitudes);
    return number(first, latitude) && number(second, longitude) && fabs(*latitude) <= 90 && fabs(*longitude) <= 180;
}

bool mst__distance(const uint8_t *value, double latitude, double longitude, double *metres)
{
    double place[2];
    if (mst_value_tag(value) != MST_OBJECT || !find_place(value, &place[0], &place[1]))
        return false;
    double north = sin((place[0] - latitude) * RADIANS / 2), east = sin((place[1] - longitude) * RADIANS / 2);
    double half = north * north + cos(latitude * RADIANS) * cos(place[0] * RADIANS) * east * east;
    /* Rounding can leave [0, 1] by a hair, and the filter's own latitude may be anything. */
    *metres = 2 * EARTH_RADIUS * asin(sqrt(fmin(fmax(half, 0), 1)));
    return isfinite(*metres);
}
