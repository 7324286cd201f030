-- SPDX-License-Identifier: Apache-2.0
-- Random documents and filters of the JSON form that mean the same to MongoDB (here: mingo). Where the two differ, and
-- how the generator keeps away from it:
--
--   arrays directly in arrays    MongoDB looks into them once more: none in documents
--   null through an array        MongoDB asks each element, we ask whether there is any value: null, $exists and $type
--                                only on fields that never lie behind an array
--   $type                        MongoDB looks at the elements of an array, too: only on fields that hold none
--   $size                        is $len here, which counts characters and keys as well: only on arrays
--   $elemMatch on scalars        mingo wants objects there: only arrays of objects
--   a missing field in $expr     is less than anything in MongoDB; types have an order, too: only on two fields that
--                                are always numbers
--   $all                         true here where the list is empty, and mingo wants an array: filled, only on arrays
--   {"f":"*"}, "f.eq"            RFC-017's spellings: only operator objects and plain scalars other than "*"
--   ranges of bool, null, array  compile errors here: only numbers and strings
--   objects                      MongoDB minds the order of keys: at most one key in those that are compared
--   numeric segments             keys as well as places there: never in objects that lie in arrays
--   numbers beyond 2^53          JavaScript has none
--   strings                      JavaScript orders UTF-16: no characters beyond U+FFFF
--   regular expressions          RE2 and JavaScript: only what both have, and case only of ASCII letters
local M = {}

local random = math.random

local function pick(list) return list[random(#list)] end

local STRINGS = { '"x"', '"y"', '"xyz"', '""', '"Zü"', '"zü"', '"10"', '"a b"', '"X"', '"x\\ny"' }
local NUMBERS = { "0", "1", "-1", "2", "1.5", "10", "-0.5", "1e3", "9007199254740991", "0.1", "1.0" }

local function number() return random(4) == 1 and tostring(random(-5, 40)) or pick(NUMBERS) end
local function text() return pick(STRINGS) end

local function scalar()
  local n = random(10)
  if n <= 4 then return text() end
  if n <= 8 then return number() end
  return pick { "true", "false", "null" }
end

local function not_null()
  local n = random(9)
  return n <= 4 and text() or n <= 8 and number() or pick { "true", "false" }
end

local function object() return ('{"k":%s}'):format(not_null()) end

local function many(make, low, high)
  local items = {}
  for i = 1, random(low, high) do items[i] = make() end
  return "[" .. table.concat(items, ",") .. "]"
end

local function member()
  local parts = {}
  for _, key in ipairs { "k", "v" } do
    if random(4) > 1 then parts[#parts + 1] = ('"%s":%s'):format(key, not_null()) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Fields by what they can hold: s, t scalars; n, m always numbers; o an object of scalars; a scalars or an array of
-- them; l an array or nothing; d an array of objects.
function M.document()
  local parts = { '"n":' .. number(), '"m":' .. number() }
  local function maybe(key, make)
    if random(4) > 1 then parts[#parts + 1] = ('"%s":%s'):format(key, make()) end
  end
  maybe("s", scalar)
  maybe("t", scalar)
  maybe("o", function() return random(5) == 1 and scalar() or ('{"p":%s,"q":%s}'):format(scalar(), number()) end)
  maybe("a", function()
    local n = random(5)
    return n <= 2 and scalar() or n == 3 and object() or many(scalar, 0, 4)
  end)
  maybe("l", function() return many(random(5) == 1 and object or scalar, 0, 4) end)
  maybe("d", function() return many(member, 0, 3) end)
  return "{" .. table.concat(parts, ",") .. "}"
end

local ANY = { "s", "t", "n", "o.p", "o.q", "a", "l", "l.0", "a.1", "d.k", "d.v", "d.0.k", "none", "o.none" }
local PLAIN = { "s", "t", "n", "o.p", "o.q", "none", "o.none" } -- never an array, nor behind one

local function field(fields, test) return ('{"%s":%s}'):format(pick(fields), test) end

local function range() return ('"%s":%s'):format(pick { "$lt", "$lte", "$gt", "$gte" }, random(3) == 1 and text() or
  number()) end

local REGEXES = { "^x", "y$", "[a-z]+", "x.z", "^$", "z?ü", "(x|1)0?", "^[^x]", "\\\\d+", "a\\\\sb" }

local function regex()
  local options = random(3) == 1
  if options then return ('"$regex":"%s","$options":"i"'):format(pick { "^x", "Y$", "X.Z", "[A-Z]", "z" }) end
  return ('"$regex":"%s"'):format(pick(REGEXES))
end

-- Tests of a value, as the inside of an operator object.
local function test()
  local n = random(6)
  if n == 1 then return ('"%s":%s'):format(pick { "$eq", "$ne" }, not_null()) end
  if n == 2 then return ('"%s":%s'):format(pick { "$in", "$nin" }, many(not_null, 0, 4)) end
  if n == 3 then return range() .. "," .. range():gsub("%$l", "$g", 1) end
  if n == 4 then return regex() end
  if n == 5 then return ('"$not":{%s}'):format(test()) end
  return range()
end

-- Two ranges may have become one key twice.
local function operators()
  local text_, seen = test(), {}
  for key in text_:gmatch '"(%$%a+)":' do
    if seen[key] then return "{" .. range() .. "}" end
    seen[key] = true
  end
  return "{" .. text_ .. "}"
end

local LEAVES = {
  function() return field(ANY, operators()) end,
  function() return field(ANY, operators()) end,
  function() return field(ANY, not_null()) end,
  function() return field(PLAIN, pick { "null", '{"$eq":null}', '{"$ne":null}', '{"$in":[null,1]}' }) end,
  function() return field(PLAIN, ('{"$exists":%s}'):format(pick { "true", "false" })) end,
  function() return field(PLAIN, ('{"$type":"%s"}'):format(pick { "string", "number", "bool", "null", "object" })) end,
  function() return field({ "a", "l", "s" }, ('{"$exists":%s}'):format(pick { "true", "false" })) end,
  function() return field({ "l", "none" }, ('{"$all":%s}'):format(many(not_null, 1, 2))) end,
  function() return field({ "l", "d", "none" }, ('{"$size":%d}'):format(random(0, 4))) end,
  function() return ('{"d":{"$elemMatch":{"k":%s,"v":%s}}}'):format(operators(), operators()) end,
  function() return ('{"d":{"$elemMatch":{"%s":%s}}}'):format(pick { "k", "v" }, operators()) end,
  function() return field({ "a", "l" }, ('{"$eq":%s}'):format(many(not_null, 0, 2))) end,
  function() return field({ "a", "l" }, ('{"%s":%s}'):format(pick { "$eq", "$ne" }, object())) end,
  function() return ('{"$expr":{"%s":["$n","$m"]}}'):format(pick { "$lt", "$lte", "$gt", "$gte", "$eq", "$ne" }) end,
}

local function expression(depth)
  if depth == 0 then return pick(LEAVES)() end
  local n = random(6)
  local function inner() return expression(depth - 1) end
  if n <= 2 then return ('{"$and":%s}'):format(many(inner, 1, 3)) end
  if n <= 4 then return ('{"$or":%s}'):format(many(inner, 1, 3)) end
  if n == 5 then return ('{"$nor":%s}'):format(many(inner, 1, 3)) end
  return inner()
end

-- A filter as JSON text.
function M.filter()
  return expression(random(0, 3))
end

return M
