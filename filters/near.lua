-- SPDX-License-Identifier: Apache-2.0
-- Around a place: muster ls '@near(52.52, 13.405, 5km)'. `location` is {"lat":..,"lon":..} or a GeoJSON Point.
return {
  doc = "Within a distance of a place.",
  params = {
    { "lat", type = "number", doc = "degrees north" },
    { "lon", type = "number", doc = "degrees east" },
    { "radius", type = "number", default = 1000, doc = "metres; 5km is a number, too" },
  },
  filter = [[ distance(location, :lat, :lon) <= :radius ]],
}
