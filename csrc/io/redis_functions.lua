#!lua name=muster_v1
-- SPDX-License-Identifier: Apache-2.0
--
-- The registry's functions in Redis. KEYS are always those of one namespace: h (bodies), t (states), s (feed),
-- m (epoch, replication id, revision), d (tombstones by age). A change of format or meaning needs a new library name.
--
-- A state in `t` is STATE: version (two numbers), deadline, lease, revision, registered, updated, flags, digest of the
-- body, digest of the owner. Times are Unix milliseconds; deadline 0 is a lease that never ends. Flag 1 is set for a
-- registration and clear for a tombstone (whose deadline is the time of removal); 2 and 4 keep what the writing
-- operation answered (created, metadata changed), so that a retry hears the same.
--
-- A feed entry has one field: `d`, the concatenated changes of one call, or `p` (a new epoch; its value is the last id
-- before it), or `x` (the namespace was emptied; its value is the revision). Ids are <epoch>-<n> without a gap.

local STATE = '>I4I4I6I5I7I6I6Bc8c8'
local PUT = '>BBI4I4I5I7c8c8' -- kind, flags, version, lease, if_revision, digest, owner
local LIVE, CREATED, CHANGED = 1, 2, 4
local RETRY, CREATE, REPLACE, CONDITION = 1, 2, 4, 8
local APPLIED, EXISTS, REVISION, OWNER, ABSENT, UNSURE = 0, 1, 2, 3, 4, 5
local TOMBSTONE_MS = 120000
local EPOCH_JUMP = 1048576
local NONE = '\0\0\0\0\0\0\0\0'
local EMPTY = NONE .. NONE .. NONE .. NONE .. '\0\0\0\0\0\0'

-- Redis 7.0 hides `struct` and `string` while a library loads, so no local can hold their functions.

local function has(flags, bit_)
  return flags % (bit_ * 2) >= bit_
end

local function whole(number)
  return string.format('%.0f', number)
end

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function last_id(stream)
  if redis.call('EXISTS', stream) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
  return '0-0'
end

-- attach(s, m; replication id, highest revision the caller has seen): epoch, last id, revision.
-- Opens an epoch where the server's history may differ from what others have seen. Revisions then jump, because numbers
-- that were lost with the history must not be given again.
local function attach(keys, args)
  local s, m = keys[1], keys[2]
  local have = redis.call('HMGET', m, 'replid', 'epoch', 'rev')
  local rev, seen, last = tonumber(have[3] or 0), tonumber(args[2]), last_id(s)
  if have[1] == args[1] and seen <= rev and last ~= '0-0' then return { have[2], last, whole(rev) } end
  if have[3] or seen > 0 then rev = math.max(rev, seen) + EPOCH_JUMP end
  local epoch = whole(math.max(clock(), tonumber(string.match(last, '^%d+')) + 1))
  redis.call('XADD', s, epoch .. '-0', 'p', last)
  redis.call('HSET', m, 'replid', args[1], 'epoch', epoch, 'rev', whole(rev), 'schema', '1')
  return { epoch, epoch .. '-0', whole(rev) }
end

-- look(s, m): as attach, but changes nothing; an empty epoch for a namespace that is not there.
local function look(keys)
  local have = redis.call('HMGET', keys[2], 'epoch', 'rev')
  return { have[1] or '', last_id(keys[1]), have[2] or '0' }
end

local function parse(w, blob)
  if not blob then return { live = false, vhi = 0, vlo = 0 } end
  local o = {}
  o.vhi, o.vlo, o.deadline, o.lease, o.rev, o.registered, o.updated, o.flags, o.digest, o.owner =
    struct.unpack(STATE, blob)
  o.live = has(o.flags, LIVE)
  o.alive = o.live and (o.deadline == 0 or o.deadline > w.now)
  return o
end

local function newer(vhi, vlo, o)
  return vhi > o.vhi or (vhi == o.vhi and vlo > o.vlo)
end

-- The first version after that of `o`: a first sending is never refused because its sender's clock is behind.
local function after(o)
  local vlo = o.vlo + 4096
  if vlo < 4294967296 then return o.vhi, vlo end
  return o.vhi + 1, vlo - 4294967296
end

-- A result is a status, flags and the front of a state; a change in the feed carries parts of it as well. So each state
-- is packed once and cut.
local function answer(w, status, flags, blob)
  w.out[#w.out + 1] = string.char(status, flags) .. string.sub(blob or EMPTY, 1, 38)
end

local function store(w, id, blob)
  w.state[id] = blob
  w.dirty[id] = true
end

local function next_revision(w)
  w.rev = w.rev + 1
  return w.rev
end

local function feed_put(w, id, blob, body)
  w.feed[#w.feed + 1] = 'P' .. string.char(#id) .. id .. string.sub(blob, 9, 38) .. struct.pack('>I4', #body) .. body
end

local function feed_touch(w, id, lease)
  w.feed[#w.feed + 1] = 'T' .. string.char(#id) .. id .. lease
end

local function feed_remove(w, id, rev)
  w.feed[#w.feed + 1] = struct.pack('>c1Bc0I7', 'R', #id, id, rev)
end

-- Gives a state another lease: deadline, length and revision, 18 bytes from the ninth on.
local function renew(w, id, blob, deadline, lease)
  local part = struct.pack('>I6I5I7', deadline, lease, next_revision(w))
  local renewed = string.sub(blob, 1, 8) .. part .. string.sub(blob, 27)
  store(w, id, renewed)
  feed_touch(w, id, part)
  return renewed
end

local function bury(w, id, vhi, vlo)
  store(w, id, struct.pack(STATE, vhi, vlo, w.now, 0, w.rev, 0, 0, 0, NONE, NONE))
  w.body[id] = false
  w.buried[#w.buried + 1] = struct.pack('>I6', w.now) .. id
end

-- A retry whose version is not newer than what is stored: it was applied, or has been overtaken.
local function answer_retry(w, flags, owner, vhi, vlo, o, blob)
  if o.live and o.vhi == vhi and o.vlo == vlo then return answer(w, APPLIED, o.flags, blob) end
  if has(flags, CREATE) or has(flags, CONDITION) or not o.alive then return answer(w, UNSURE, 0, blob) end
  if not has(flags, REPLACE) and o.owner ~= owner then return answer(w, OWNER, 0, blob) end
  return answer(w, APPLIED, 0, blob)
end

-- Why a registration is refused, or nil.
local function refusal(flags, if_rev, owner, o)
  if has(flags, CONDITION) and (o.alive and o.rev or 0) ~= if_rev then return REVISION end
  if not o.alive then return nil end
  if has(flags, CREATE) then return EXISTS end
  if not has(flags, REPLACE) and o.owner ~= owner then return OWNER end
  return nil
end

local function put(w, head, id, body)
  local _, flags, vhi, vlo, lease, if_rev, digest, owner = struct.unpack(PUT, head)
  local old = w.state[id]
  local o = parse(w, old)
  if old and not newer(vhi, vlo, o) then
    if has(flags, RETRY) then return answer_retry(w, flags, owner, vhi, vlo, o, old) end
    vhi, vlo = after(o)
  end
  local why = refusal(flags, if_rev, owner, o)
  if why then return answer(w, why, 0, o.alive and old) end
  local same = o.alive and o.digest == digest
  local renewal = same and o.owner == owner
  local kept = LIVE + (o.alive and 0 or CREATED) + (same and 0 or CHANGED)
  local blob = struct.pack(STATE, vhi, vlo, lease == 0 and 0 or w.now + lease, lease, next_revision(w),
    o.alive and o.registered or w.now, renewal and o.updated or w.now, kept, digest, owner)
  store(w, id, blob)
  if renewal then
    feed_touch(w, id, string.sub(blob, 9, 26))
  else
    w.body[id] = body
    feed_put(w, id, blob, body)
  end
  return answer(w, APPLIED, kept, blob)
end

local function touch(w, lease, keep, id)
  local blob = w.state[id]
  if not blob or not has(string.byte(blob, 39), LIVE) then return answer(w, ABSENT, 0) end
  local deadline, before = struct.unpack('>I6I5', blob, 9)
  if deadline ~= 0 and deadline <= w.now then return answer(w, ABSENT, 0) end
  if keep then lease = before end
  return answer(w, APPLIED, 0, renew(w, id, blob, lease == 0 and 0 or w.now + lease, lease))
end

local function del(w, flags, vhi, vlo, id)
  local old = w.state[id]
  local o = parse(w, old)
  if has(flags, RETRY) and old and not newer(vhi, vlo, o) then
    -- The tombstone of this very removal, or something registered after it.
    if o.live then return answer(w, UNSURE, 0, old) end
    return answer(w, (o.vhi == vhi and o.vlo == vlo) and APPLIED or ABSENT, 0, old)
  end
  if not o.alive then return answer(w, ABSENT, 0) end
  if not newer(vhi, vlo, o) then vhi, vlo = after(o) end
  local rev = next_revision(w)
  bury(w, id, vhi, vlo)
  feed_remove(w, id, rev)
  return answer(w, APPLIED, 0, w.state[id])
end

local function reap(w, id)
  local o = parse(w, w.state[id])
  if not o.live or o.alive then return end
  w.state[id], w.dirty[id], w.body[id] = false, true, false
  feed_remove(w, id, next_revision(w))
end

-- What an instance remembers as acknowledged, after the server came back with another history.
local function replay(w, kind, id, blob, body)
  local o, n = parse(w, w.state[id]), parse(w, blob)
  if kind == 'p' and n.alive and newer(n.vhi, n.vlo, o) then
    local fresh = string.sub(blob, 1, 19) .. struct.pack('>I7', next_revision(w)) .. string.sub(blob, 27)
    store(w, id, fresh)
    w.body[id] = body
    feed_put(w, id, fresh, body)
  elseif kind == 't' and n.alive and o.alive and o.deadline ~= 0 and (n.deadline == 0 or n.deadline > o.deadline) then
    renew(w, id, w.state[id], n.deadline, n.lease)
  elseif kind == 'd' and newer(n.vhi, n.vlo, o) then
    if o.live then feed_remove(w, id, next_revision(w)) end
    bury(w, id, n.vhi, n.vlo)
  end
end

-- Every operation is a head and, by its first byte, more arguments: P id body, T and E (reap) ids, D id, A (replay) id
-- state body. `visit` gets (kind, head, index of the first argument after it, index of the last).
local function walk(args, visit)
  local i = 3
  while i <= #args do
    local head = args[i]
    local kind, count = string.sub(head, 1, 1), 1
    if kind == 'P' then count = 2 elseif kind == 'A' then count = 3 end
    if kind == 'T' or kind == 'E' then count = struct.unpack('>I2', head, 2) end
    visit(kind, head, i + 1, i + count)
    i = i + count + 1
  end
end

local function load(t, args)
  local ids, state = {}, {}
  walk(args, function(kind, _, first, last)
    local to = (kind == 'T' or kind == 'E') and last or first
    for i = first, to do ids[#ids + 1] = args[i] end
  end)
  if #ids == 0 then return state end
  local blobs = redis.call('HMGET', t, unpack(ids))
  for i = 1, #ids do state[ids[i]] = blobs[i] end
  return state
end

local function run(w, args)
  walk(args, function(kind, head, first, last)
    if kind == 'P' then
      put(w, head, args[first], args[last])
    elseif kind == 'T' then
      local _, keep, lease = struct.unpack('>I2BI5', head, 2)
      for i = first, last do touch(w, lease, keep == 1, args[i]) end
    elseif kind == 'D' then
      local flags, vhi, vlo = struct.unpack('>BI4I4', head, 2)
      del(w, flags, vhi, vlo, args[first])
    elseif kind == 'E' then
      for i = first, last do reap(w, args[i]) end
    else
      replay(w, string.sub(head, 2, 2), args[first], args[first + 1], args[last])
    end
  end)
end

local function call_with(command, key, list)
  if #list > 0 then redis.call(command, key, unpack(list)) end
end

-- The feed entry comes first: it is the one write that can be refused, and nothing is rolled back.
local function commit(w, keys, args)
  local h, t, s, m, d = keys[1], keys[2], keys[3], keys[4], keys[5]
  if #w.feed > 0 then
    redis.call('XADD', s, 'MAXLEN', '~', args[2], args[1] .. '-*', 'd', table.concat(w.feed))
    redis.call('HSET', m, 'rev', whole(w.rev))
  end
  local states, bodies, stale, gone = {}, {}, {}, {}
  for id in pairs(w.dirty) do
    local state, body = w.state[id], w.body[id]
    if state then
      states[#states + 1] = id
      states[#states + 1] = state
    else
      stale[#stale + 1] = id
    end
    if body then
      bodies[#bodies + 1] = id
      bodies[#bodies + 1] = body
    elseif body == false then
      gone[#gone + 1] = id
    end
  end
  call_with('HSET', h, bodies)
  call_with('HSET', t, states)
  call_with('HDEL', h, gone)
  call_with('HDEL', t, stale)
  call_with('RPUSH', d, w.buried)
end

-- Forgets tombstones that no retry can need any more.
local function sweep(w, t, d)
  local old, count = redis.call('LRANGE', d, 0, 63), 0
  for i = 1, #old do
    local at, id = struct.unpack('>I6', old[i]), string.sub(old[i], 7)
    if at > w.now - TOMBSTONE_MS then break end
    count = i
    local o = parse(w, redis.call('HGET', t, id))
    if not o.live and o.deadline == at then redis.call('HDEL', t, id) end
  end
  if count > 0 then redis.call('LTRIM', d, count, -1) end
end

-- write(h, t, s, m, d; epoch, most feed entries, operations...): revision, results of P, T (one per id) and D, number of
-- tombstones.
local function write(keys, args)
  local fence = redis.call('HMGET', keys[4], 'epoch', 'rev')
  if fence[1] ~= args[1] then return redis.error_reply('EPOCH the namespace is at epoch ' .. (fence[1] or 'none')) end
  local w = {
    now = clock(), rev = tonumber(fence[2]), state = load(keys[2], args),
    dirty = {}, body = {}, feed = {}, out = {}, buried = {},
  }
  run(w, args)
  commit(w, keys, args)
  sweep(w, keys[2], keys[5])
  return { whole(w.rev), table.concat(w.out), redis.call('LLEN', keys[5]) }
end

-- drop(h, t, s, m, d): tells the followers and frees what is big; the memory is given back in the background.
local function drop(keys)
  local have = redis.call('HMGET', keys[4], 'epoch', 'rev')
  if not have[1] then return '0' end
  local rev = whole(tonumber(have[2]) + 1)
  redis.call('XADD', keys[3], have[1] .. '-*', 'x', rev)
  redis.call('HSET', keys[4], 'rev', rev)
  redis.call('UNLINK', keys[1], keys[2], keys[5])
  return rev
end

-- A registration needs memory and is refused without; what frees memory or keeps leases alive is not.
redis.register_function { function_name = 'muster_v1_attach', callback = attach, flags = { 'allow-oom' } }
redis.register_function { function_name = 'muster_v1_look', callback = look, flags = { 'no-writes' } }
redis.register_function { function_name = 'muster_v1_write', callback = write }
redis.register_function { function_name = 'muster_v1_ease', callback = write, flags = { 'allow-oom' } }
redis.register_function { function_name = 'muster_v1_drop', callback = drop, flags = { 'allow-oom' } }
