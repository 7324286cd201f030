-- SPDX-License-Identifier: Apache-2.0
-- What `muster help filter` prints: the filter language on one screen. filters/LANGUAGE.md is the whole of it.
return [==[
The filter language, on one screen. All of it: filters/LANGUAGE.md (installed: share/muster/filters).

Values    "text" 'text' r"as it is"   12 -3.5 1e3 0xff   5m 1h30m 250ms (seconds)   5km (metres)   true false null
          semver"1.10"   t"2025-10-09T12:00:00Z"   now() - 5m   cidr"10.1.0.0/16"   [1, "x"]   {"key":1}
Paths     site   battery.level   tags[0]   `odd name`.x   of an array: any element will do
Behind @  @id  @namespace  @registered_at  @updated_at  @expires_at  @ttl  @age
Given     :name and $1 are parameters (--param name=JSON); @low_battery(15) is a named filter (muster filters)
Joined    and or not (&& || !), parentheses;  -- comment  /* comment */

  a == 1   a != 1   a < 1   a <= 1   a > 1   a >= 1     a < b compares two fields
  a between 1 and 5                                     both ends belong to it
  a in [1, 2]   "x" in tags   ip in cidr"10.0.0.0/8"    a not in [1, 2]; so with all words here
  a startswith "x"   a endswith "x"   a contains "x"    contains: part of a string, or an element
  tags contains any ["x", "y"]   tags contains all ["x", "y"]
  a like "x%_"   a glob "x*[0-9]?"                      the whole string
  a matches r"^\d+$"   a =~ "x"   a !~ "x"              a regular expression, found anywhere
  a is null   a is missing   a is not null              null: null or missing
  online                                                a field that is true
  exists(a)   type(a) == "string"   len(a) > 2          string number integer bool null array object
  lower(a)   upper(a)   semver(a)   time(a)             as operands
  distance(place, 47.37, 8.54) < 5km                    place: {"lat":..,"lon":..}, GeoJSON Point
  any(sensors, kind == "probe" and v > 3)   all(loads, it < 10)

Where a field is missing or of another type a condition is false, and its `not` is true: env != "prod" also matches
without env; write exists(env) and env != "prod". The JSON form (--json-filter): {"battery":{"$lt":20},"site":"hq"}.
Try one:  echo '{"battery":12}' | muster match 'battery < 20'
]==]
