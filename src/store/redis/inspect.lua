#!lua flags=allow-oom
-- Whether a server can be relied on, and since when. KEYS[1]: its record of itself; KEYS[2] and on: its
-- canaries. ARGV: whether there is no history to lose, the allowed difference of clocks, the name that a
-- new record is given, the name of the record that is known, or nothing (under another name, it was made
-- by a process that did not know that one was lost), the latest moment that the process has seen on a
-- clock, for how long one canary lives longer than the one before, how long a process goes on without an
-- inspection, and how many commands it knows the server to have carried out, which fall when the counters
-- are reset. All times are in milliseconds. It writes a bounded number of short values, so it may run
-- without memory.
local memory, stats = redis.call('INFO', 'memory'), redis.call('INFO', 'stats')
local replication = redis.call('INFO', 'replication')
local policy = string.match(memory, 'maxmemory_policy:([%w-]+)')
local max_memory = tonumber(string.match(memory, 'maxmemory:(%d+)'))
local is_full = max_memory > 0 and tonumber(string.match(memory, 'used_memory:(%d+)')) > max_memory
local evicted = string.match(stats, 'evicted_keys:(%d+)')
local commands = tonumber(string.match(stats, 'total_commands_processed:(%d+)'))
local role = string.match(replication, 'role:(%w+)')
local id = string.match(replication, 'master_replid:(%x+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if role ~= 'master' then
    return {policy, role, now, 0, 0, id, '', 0, 0}
end
local known = redis.call('HMGET', KEYS[1], 'id', 'since', 'mark', 'name', 'policy', 'evicted', 'commands',
    'watched')
if policy ~= 'noeviction' then
    if known[1] then
        redis.call('HSET', KEYS[1], 'policy', policy)
    end
    return {policy, role, now, 0, 0, id, '', 0, 0}
end

local allowed, spacing, pause = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])
local known_since, known_mark = tonumber(known[2]) or 0, tonumber(known[3]) or 0
local since, mark = known_since, math.max(known_mark, tonumber(ARGV[5]), now)
local name, watched = known[4] or ARGV[3], tonumber(known[8]) or now

-- Records may have been lost until now.
local is_first = not known[1] and ARGV[1] == '1'
local is_same = known[1] == id and known[5] == policy and known[6] == evicted
    and math.max(tonumber(known[7]), tonumber(ARGV[8])) <= commands
if (not is_same and not is_first) or (ARGV[4] ~= '' and ARGV[4] ~= name) then
    since = math.max(since, mark + allowed)
end

-- A canary that ended before its time shows that the clock was ahead. When all have ended in time,
-- nobody has watched the clock since. No process had a record made without an inspection for long.
local is_watched = false
for n = 2, #KEYS do
    if watched + (n - 1) * spacing > now then
        is_watched = redis.call('EXISTS', KEYS[n]) == 1
        if not is_watched then
            break
        end
    end
end
if known[1] and not is_watched then
    since = math.max(since, math.min(watched + pause, now) + allowed)
end

-- Several processes inspect a server; one of them writes.
local is_due = math.abs(now - watched) >= 500 or mark - known_mark >= 500
if is_due or since ~= known_since or not is_same then
    redis.call('HSET', KEYS[1], 'id', id, 'since', string.format('%.0f', since),
        'mark', string.format('%.0f', mark), 'name', name, 'policy', policy, 'evicted', evicted,
        'commands', string.format('%.0f', commands), 'watched', string.format('%.0f', now))
    for n = 2, #KEYS do
        redis.call('SET', KEYS[n], '', 'PXAT', string.format('%.0f', now + (n - 1) * spacing))
    end
end
return {policy, role, now, since, mark, id, name, is_full and 1 or 0, commands}
