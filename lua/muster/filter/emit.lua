-- SPDX-License-Identifier: Apache-2.0
-- Lowered tree to the bytes of a program; the format is described in csrc/match/program.h.
local bit = require "bit"
local ffi = require "ffi"
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local value = require "muster.filter.value"

local M = {}

local MAX_BYTES, MAX_LEAVES, MAX_NODES = 65536, 1024, 4096
local MAX_CLAUSE_TEXT = 1024
local NONE = 0xffff

M.OPS = {}
for code, name in ipairs { "EQ", "LT", "LE", "GT", "GE", "BETWEEN", "IN", "STARTSWITH", "ENDSWITH", "CONTAINS",
    "CONTAINS_ANY", "CONTAINS_ALL", "LIKE", "GLOB", "MATCHES", "EXISTS", "TYPE", "TRUE", "CIDR", "ANY", "ALL" } do
  M.OPS[name] = code - 1
end
local FUNCTIONS = { lower = 1, upper = 2, len = 3, semver = 4, time = 5, distance = 6 }
local NODES = { leaf = 0, ["and"] = 1, ["or"] = 2, ["not"] = 3, ["true"] = 4, ["false"] = 5 }
local PATTERNS = { regex = 4, like = 5, glob = 6 }

local function too_big(what)
  errors.raise("limit", "filter is too big: " .. what)
end

-- Little-endian numbers -------------------------------------------------------------------------------------------

local u8 = string.char

local function u16(n)
  if n > NONE then too_big "more than 65,535 of a kind" end
  return string.char(bit.band(n, 255), bit.rshift(n, 8))
end

local function u32(n)
  return string.char(bit.band(n, 255), bit.band(bit.rshift(n, 8), 255), bit.band(bit.rshift(n, 16), 255),
    bit.rshift(n, 24))
end

local cell = ffi.new "union { int64_t i; double d; uint8_t b[8]; }"

local function cell_bytes()
  local bytes = ffi.string(cell.b, 8)
  return ffi.abi "le" and bytes or bytes:reverse()
end

local function i64(n)
  cell.i = n
  return cell_bytes()
end

local function f64(n)
  cell.d = n
  return cell_bytes()
end

local function text(s)
  if #s >= NONE then too_big "a text of more than 64 KiB" end
  return u16(#s) .. s
end

-- Packed values (csrc/model/value.h) ------------------------------------------------------------------------------

local pack

local function container(tag, parts, count)
  local body = table.concat(parts)
  return u8(tag) .. u32(#body) .. u32(count) .. body
end

function pack(v)
  local kind = value.kind(v)
  if kind == "null" then return u8(0) end
  if kind == "bool" then return u8(v and 2 or 1) end
  if kind == "number" then
    if value.is_integer(v) then return u8(3) .. i64(v) end
    return u8(4) .. f64(v)
  end
  if kind == "string" then return u8(5) .. u32(#v) .. v end
  local parts = {}
  if kind == "array" then
    for i = 1, #v do parts[i] = pack(v[i]) end
    return container(6, parts, #v)
  end
  for i, key in ipairs(value.sorted(v).keys) do parts[i] = u32(#key) .. key .. pack(v.values[key]) end
  return container(7, parts, #v.keys)
end
M.pack = pack

-- Pools -----------------------------------------------------------------------------------------------------------

-- A section: entries in order, equal ones once. Returns the index.
local function add(pool, bytes)
  local index = pool.index[bytes]
  if index == nil then
    index = #pool.list
    pool.list[index + 1], pool.index[bytes] = bytes, index
  end
  return index
end

local function pool()
  return { list = {}, index = {} }
end

local function add_path(out, path)
  if path.builtin then return add(out.paths, u8(1, ast.BUILTINS[path.builtin])) end
  local parts = { u8(0, #path.steps) }
  for i, step in ipairs(path.steps) do
    parts[i + 1] = type(step) == "number" and u8(1) .. u32(step) or u8(0) .. text(step)
  end
  return add(out.paths, table.concat(parts))
end

local function constant_bytes(operand)
  local kind = operand.kind
  if kind == "semver" then return u8(1) .. text(operand.text) end
  if kind == "time" then return u8(2) .. i64(operand.micros) end
  if kind == "cidr" then return u8(3) .. text(operand.text) end
  if kind == "pattern" then return u8(PATTERNS[operand.type]) .. text(operand.text) end
  if kind == "types" then return u8(7) .. u16(operand.mask) end
  local packed = pack(operand.value)
  return u8(0) .. u32(#packed) .. packed
end

local function number_constant(out, number)
  local packed = pack(number)
  return add(out.constants, u8(0) .. u32(#packed) .. packed)
end

local function terms_bytes(out, operand)
  local parts = {}
  if operand.offset then
    local minus = value.compare_numbers(operand.offset, 0) < 0
    local size = minus and value.negate(operand.offset) or operand.offset
    parts[1] = u8(minus and 1 or 0, 1) .. u16(number_constant(out, size))
  end
  for _, term in ipairs(operand.terms or {}) do
    parts[#parts + 1] = u8(term.minus and 1 or 0, 2) .. u16(add(out.parameters, text(term.name)))
  end
  return u8(#parts) .. table.concat(parts)
end

local function add_operand(out, operand)
  if not operand then return NONE end
  local kind, index = 1
  if operand.kind == "path" then
    kind, index = 0, add_path(out, operand)
  elseif operand.kind == "param" then
    kind, index = 2, add(out.parameters, text(operand.name))
  elseif operand.kind == "now" then
    kind, index = 3, 0
  else
    index = add(out.constants, constant_bytes(operand))
  end
  local bytes = u8(kind, FUNCTIONS[operand.fn] or 0) .. u16(index) .. terms_bytes(out, operand)
  if operand.fn == "distance" then bytes = bytes .. f64(operand.lat) .. f64(operand.lon) end
  return add(out.operands, bytes)
end

-- Leaves and nodes ------------------------------------------------------------------------------------------------

local function clause_text(s)
  if #s <= MAX_CLAUSE_TEXT then return text(s) end
  local cut = MAX_CLAUSE_TEXT - 3
  while bit.band(s:byte(cut + 1), 0xc0) == 0x80 do cut = cut - 1 end
  return text(s:sub(1, cut) .. "...")
end

local function add_leaf(out, node)
  local leaf = { code = M.OPS[node.code], left = add_operand(out, node.left), right = add_operand(out, node.right),
                 inner = node.inner, first = 0, stop = 0, text = clause_text(node.text) }
  out.leaves[#out.leaves + 1] = leaf
  if #out.leaves > MAX_LEAVES then too_big(("more than %d clauses"):format(MAX_LEAVES)) end
  return #out.leaves - 1
end

-- Writes the subtree in prefix order.
local function add_nodes(out, node)
  local entry = { kind = NODES[node.op], leaf = 0 }
  out.nodes[#out.nodes + 1] = entry
  if #out.nodes > MAX_NODES then too_big(("more than %d nodes"):format(MAX_NODES)) end
  if node.op == "leaf" then entry.leaf = add_leaf(out, node) end
  for _, child in ipairs(node) do add_nodes(out, child) end
  entry.stop = #out.nodes
end

-- The top-level tree, then the inner trees of any and all, in the order of their leaves.
local function add_trees(out, root)
  add_nodes(out, root)
  local done = 0
  while done < #out.leaves do
    done = done + 1
    local leaf = out.leaves[done]
    if leaf.inner then
      leaf.first = #out.nodes
      add_nodes(out, leaf.inner)
      leaf.stop = #out.nodes
    end
  end
end

-- The program of a lowered tree.
function M.emit(root)
  local out = { paths = pool(), constants = pool(), parameters = pool(), operands = pool(), leaves = {}, nodes = {} }
  add_trees(out, root)
  local parts = { "MSTP", u8(1, 0), u16(#out.paths.list), u16(#out.constants.list), u16(#out.parameters.list),
                  u16(#out.operands.list), u16(#out.leaves), u16(#out.nodes) }
  for _, section in ipairs { out.paths, out.constants, out.parameters, out.operands } do
    parts[#parts + 1] = table.concat(section.list)
  end
  for _, leaf in ipairs(out.leaves) do
    parts[#parts + 1] = u8(leaf.code, 0) .. u16(leaf.left) .. u16(leaf.right) .. u16(NONE) .. u16(leaf.first)
      .. u16(leaf.stop) .. leaf.text
  end
  for _, node in ipairs(out.nodes) do
    parts[#parts + 1] = u8(node.kind, 0) .. u16(node.leaf) .. u16(node.stop)
  end
  local program = table.concat(parts)
  if #program > MAX_BYTES then too_big(("%d bytes of program (limit %d)"):format(#program, MAX_BYTES)) end
  return program
end

return M
