-- SPDX-License-Identifier: Apache-2.0
-- A reader of programs, written from csrc/match/program.h alone: checks every index, length and range, and returns the
-- tables it read.
local ffi = require "ffi"

local M = {}

local function reader(bytes)
  local r = { at = 1 }
  function r.take(n)
    assert(r.at + n - 1 <= #bytes, "program ends too early")
    r.at = r.at + n
    return bytes:sub(r.at - n, r.at - 1)
  end
  function r.number(n)
    local v, s = 0, r.take(n)
    for i = n, 1, -1 do v = v * 256 + s:byte(i) end
    return v
  end
  function r.u8() return r.number(1) end
  function r.u16() return r.number(2) end
  function r.u32() return r.number(4) end
  function r.text() return r.take(r.u16()) end
  function r.f64() return ffi.cast("const double *", ffi.cast("const char *", r.take(8)))[0] end
  function r.i64() return ffi.cast("const int64_t *", ffi.cast("const char *", r.take(8)))[0] end
  function r.done() return r.at == #bytes + 1 end
  return r
end

local read_packed

local function read_children(r, tag)
  local size, count = r.u32(), r.u32()
  local stop, last = r.at + size, nil
  local list = { tag = tag }
  for i = 1, count do
    if tag == 7 then
      local key = r.take(r.u32())
      assert(last == nil or last < key, "keys out of order")
      last = key
      list[i] = { key, read_packed(r) }
    else
      list[i] = read_packed(r)
    end
  end
  assert(r.at == stop, "wrong size of a container")
  return list
end

function read_packed(r)
  local tag = r.u8()
  if tag <= 2 then return { tag = tag } end
  if tag == 3 then return { tag = tag, r.i64() } end
  if tag == 4 then return { tag = tag, r.f64() } end
  if tag == 5 then return { tag = tag, r.take(r.u32()) } end
  assert(tag == 6 or tag == 7, "unknown tag")
  return read_children(r, tag)
end

local function read_path(r)
  local root = r.u8()
  if root == 1 then
    local which = r.u8()
    assert(which <= 6, "unknown built-in")
    return { builtin = which }
  end
  assert(root == 0, "unknown root")
  local path = {}
  local steps = r.u8()
  assert(steps <= 16, "too many steps")
  for i = 1, steps do
    local kind = r.u8()
    assert(kind <= 1, "unknown step")
    path[i] = kind == 1 and r.u32() or r.text()
  end
  return path
end

local function read_constant(r)
  local kind = r.u8()
  local constant = { type = kind }
  if kind == 0 then
    local stop = r.u32() + r.at
    constant.value = read_packed(r)
    assert(r.at == stop, "wrong length of a constant")
  elseif kind == 2 then constant.micros = r.i64()
  elseif kind == 7 then constant.mask = r.u16()
  else
    assert(kind <= 6, "unknown constant")
    constant.text = r.text()
  end
  return constant
end

local function read_operand(r, p)
  local pools = { [0] = #p.paths, [1] = #p.constants, [2] = #p.parameters }
  local operand = { kind = r.u8(), fn = r.u8(), index = r.u16(), terms = {} }
  assert(operand.kind <= 3 and operand.fn <= 6, "unknown operand")
  assert(operand.fn == 0 or operand.kind == 0, "function of no path")
  assert(operand.kind == 3 and operand.index == 0 or operand.index < (pools[operand.kind] or 0), "operand index")
  local terms = r.u8()
  assert(terms <= 4, "too many terms")
  for i = 1, terms do
    local term = { minus = r.u8(), kind = r.u8(), index = r.u16() }
    assert(term.minus <= 1 and (term.kind == 1 or term.kind == 2) and term.index < pools[term.kind], "bad term")
    operand.terms[i] = term
  end
  if operand.fn == 6 then operand.lat, operand.lon = r.f64(), r.f64() end
  return operand
end

-- What each operation has: left, right, inner range.
local RIGHTLESS = { [15] = true, [17] = true, [19] = true, [20] = true }
-- The constant type an operation wants on the right, where it is particular.
local RIGHT = { [12] = 5, [13] = 6, [14] = 4, [16] = 7, [18] = 3 }

local function read_leaf(r, p)
  local leaf = { op = r.u8() }
  assert(leaf.op <= 20 and r.u8() == 0, "unknown operation")
  leaf.left, leaf.right, leaf.third, leaf.first, leaf.stop = r.u16(), r.u16(), r.u16(), r.u16(), r.u16()
  leaf.text = r.text()
  assert(leaf.left < #p.operands, "left operand")
  assert(leaf.third == 0xffff, "third operand")
  if RIGHTLESS[leaf.op] then
    assert(leaf.right == 0xffff, "right operand of a unary leaf")
  else
    assert(leaf.right < #p.operands, "right operand")
    local right = p.operands[leaf.right + 1]
    if right.kind == 1 and RIGHT[leaf.op] then
      assert(p.constants[right.index + 1].type == RIGHT[leaf.op], "type of the right constant")
    end
  end
  return leaf
end

-- Walks one tree, returns its end. `seen` collects its leaves.
local function walk(p, at, depth, seen)
  local node = assert(p.nodes[at + 1], "node index")
  assert(depth <= 64, "nested too deeply")
  assert(node.kind <= 5 and node.stop > at and node.stop <= #p.nodes, "node range")
  local children, child = 0, at + 1
  while child < node.stop do
    child = walk(p, child, depth + 1, seen)
    children = children + 1
  end
  assert(child == node.stop, "child reaches beyond its parent")
  if node.kind == 0 then seen[#seen + 1] = node.leaf end
  assert(node.leaf < math.max(node.kind == 0 and #p.leaves or 1, 1), "leaf index")
  local wanted = (node.kind == 1 or node.kind == 2) and children >= 1 or node.kind == 3 and children == 1
    or children == 0 and (node.kind == 0 or node.kind >= 4)
  assert(wanted, "number of children")
  return node.stop
end

local function many(r, count, read, p)
  local list = {}
  for i = 1, count do list[i] = read(r, p) end
  return list
end

local function check_trees(p)
  local seen = {}
  local covered = walk(p, 0, 1, seen)
  p.top_leaves = #seen
  for i = 1, #p.leaves do
    local leaf = p.leaves[i]
    assert(seen[i] == i - 1, "leaves are not in the order of their trees")
    if leaf.op >= 19 then
      assert(leaf.first == covered and leaf.first < leaf.stop, "inner range")
      covered = walk(p, leaf.first, 1, seen)
      assert(covered == leaf.stop, "inner range ends elsewhere")
    else
      assert(leaf.first == 0 and leaf.stop == 0, "inner range of a plain leaf")
    end
  end
  assert(covered == #p.nodes, "nodes that belong to nothing")
end

function M.read(bytes)
  assert(#bytes <= 65536, "program too big")
  local r = reader(bytes)
  assert(r.take(4) == "MSTP" and r.u8() == 1 and r.u8() == 0, "header")
  local n = { r.u16(), r.u16(), r.u16(), r.u16(), r.u16(), r.u16() }
  local p = {}
  p.paths = many(r, n[1], read_path)
  p.constants = many(r, n[2], read_constant)
  p.parameters = many(r, n[3], r.text)
  p.operands = many(r, n[4], read_operand, p)
  p.leaves = many(r, n[5], read_leaf, p)
  p.nodes = many(r, n[6], function() return { kind = r.u8(), zero = r.u8(), leaf = r.u16(), stop = r.u16() } end)
  assert(r.done(), "bytes behind the program")
  check_trees(p)
  return p
end

return M
