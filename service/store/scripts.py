"""Lua scripts that run inside the store. Each script is atomic and takes one round trip.

Times are those of the store (``TIME``), so replicas need no common clock. Millisecond values have 13 digits, which Lua
numbers represent and print exactly. Every key written by a script gets its expiry in the same script.

The key called ledger detects data loss. It contains the run id of the store, the total number of nonces used, and the
time from which nonces are accepted again. With each call, a replica sends the highest number that it has seen. If the
number in the store is lower, nonces were lost: the store was restarted without its data, restored from an older copy,
or emptied. It then accepts no nonces for the lifetime of a nonce, so that a lost one cannot be used twice. After any
restart, nonces are refused for a short time (``settle``), in which all replicas compare their numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A script with its digest for EVALSHA."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_CLOCK = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_LEDGER = """
local function ledger(key, seen, settle, hold, ttl)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local l = redis.call('HMGET', key, 'run', 'count', 'opens', 'lost')
  local count, opens, lost = tonumber(l[2]) or 0, tonumber(l[3]) or 0, tonumber(l[4]) or 0
  local restarted, behind = l[1] ~= run, count < seen
  if opens <= now then lost = 0 end
  -- A clock that was put back must not close it for longer than a loss would.
  if opens > now + hold then opens = now + hold end
  if restarted then opens = math.max(opens, now + settle) end
  if behind then opens, lost, count = now + hold, 1, seen end
  if restarted or behind then
    redis.call('HSET', key, 'run', run, 'count', count, 'opens', opens, 'lost', lost)
    redis.call('PEXPIRE', key, ttl)
  end
  return count, math.max(0, opens - now), lost
end
"""

_ROOM = """
-- Slides over two windows: what the one before held counts by the part of it that is still within the period.
local function room(key, period, limit)
  local window = math.floor(now / period)
  local c = redis.call('HMGET', key, 'window', 'now', 'before')
  local at, used, before = tonumber(c[1]) or window, tonumber(c[2]) or 0, tonumber(c[3]) or 0
  if at == window - 1 then used, before = 0, used elseif at ~= window then used, before = 0, 0 end
  local passed = now % period
  if used + before * (1 - passed / period) >= limit then
    if used >= limit then return period - passed end
    return math.max(1, math.ceil((1 - (limit - used) / before) * period - passed))
  end
  redis.call('HSET', key, 'window', window, 'now', used + 1, 'before', before)
  redis.call('PEXPIRE', key, 2 * period)
  return 0
end
"""

# KEYS: ledger. ARGV: highest count seen, settle ms, hold ms, ledger's ttl ms.
# Returns count, ms until nonces are accepted, whether data was lost, eviction policy, memory limit.
BEAT = Script(
    _CLOCK
    + _LEDGER
    + """
-- A full store must refuse here, and lets a script go on that has written anything: so HSET stands before PEXPIRE.
redis.call('HSET', KEYS[1], 'beat', now)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local count, wait, lost = ledger(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4])
local memory = redis.call('INFO', 'memory')
local policy = string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
local limit = string.match(memory, 'maxmemory:(%d+)') or '0'
return {count, wait, lost, policy, limit}
"""
)

# KEYS: ledger, nonce, the caller's count. ARGV: as BEAT, then owner, lifetime ms, limit.
# Returns {outcome, count, ms}: 1 new, 0 used, 2 no room, 3 closed, 4 closed after a loss.
NONCE = Script(
    _CLOCK
    + _LEDGER
    + _ROOM
    + """
local count, wait, lost = ledger(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4])
if wait > 0 then return {3 + lost, count, wait} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, count, 0} end
local full = room(KEYS[3], tonumber(ARGV[6]), tonumber(ARGV[7]))
if full > 0 then return {2, count, full} end
if not redis.call('SET', KEYS[2], ARGV[5], 'NX', 'PX', ARGV[6]) then return {0, count, 0} end
return {1, redis.call('HINCRBY', KEYS[1], 'count', 1), 0}
"""
)

# KEYS: nonce, the caller's count. ARGV: owner.
RELEASE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if (tonumber(redis.call('HGET', KEYS[2], 'now')) or 0) > 0 then redis.call('HINCRBY', KEYS[2], 'now', -1) end
return 1
""")

# KEYS: answer, the caller's count. ARGV: claim, claim's lifetime ms, period ms, limit.
# Returns the kept answer, {0} if the key is now claimed, or {ms} if there is no room.
CLAIM = Script(
    _CLOCK
    + _ROOM
    + """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
local full = room(KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
if full == 0 then redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) end
return {full}
"""
)

# KEYS: answer. ARGV: claim, answer, lifetime ms.
KEEP = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")

# KEYS: answer. ARGV: claim.
DROP = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")

# KEYS: session, its key's count. ARGV: record, lifetime ms, limit. Returns 0, or the ms to wait.
BEGIN = Script(
    _CLOCK
    + _ROOM
    + """
local full = room(KEYS[2], tonumber(ARGV[2]), tonumber(ARGV[3]))
if full == 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return full
"""
)

FIND = Script("return redis.call('GET', KEYS[1])")

END = Script("return redis.call('DEL', KEYS[1])")

# KEYS: the address's count. ARGV: limit, window ms, 1 to count a failure. Returns 0, or the ms to wait.
FAILURE = Script("""
local count = tonumber(redis.call('GET', KEYS[1])) or 0
if count >= tonumber(ARGV[1]) then return math.max(1, redis.call('PTTL', KEYS[1])) end
if ARGV[3] == '1' then
  if redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
return 0
""")

# KEYS: the caller's bucket. ARGV: µs for one request, burst. Returns 0, or the µs to wait.
# The bucket is one number: the time at which it is full again. This equals a token bucket without periodic refills.
RATE = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1])) or now
full = math.min(math.max(full, now), now + each * burst)
local wait = full + each - now - each * burst
if wait > 0 then return math.ceil(wait) end
full = full + each
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return 0
""")
