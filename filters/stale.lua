-- SPDX-License-Identifier: Apache-2.0
-- Sensors that are alive (their lease is renewed) but have nothing new to say: muster ls '@stale(1h)'. `read_at` is a
-- time: RFC 3339, or Unix seconds or milliseconds.
return {
  doc = "Last reading older than an age.",
  params = { { "age", type = "number", default = 600, doc = "seconds; 10m is a number, too" } },
  filter = [[ time(read_at) < now() - :age ]],
}
