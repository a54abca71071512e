-- Whether a server can be relied on, and since when. KEYS[1]: what it has recorded of itself.
-- ARGV: whether there is no history to lose, the allowed difference of clocks.
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')
local replication = redis.call('INFO', 'replication')
local role = string.match(replication, 'role:(%w+)')
local id = string.match(replication, 'master_replid:(%x+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if policy ~= 'noeviction' or role ~= 'master' then
    return {policy, role, now, 0, 0}
end
local known = redis.call('HMGET', KEYS[1], 'id', 'since', 'mark')
local since, mark = tonumber(known[2]) or 0, math.max(tonumber(known[3]) or 0, now)
if known[1] ~= id and not (not known[1] and ARGV[1] == '1') then
    since = math.max(since, mark + tonumber(ARGV[2]))
end
redis.call('HSET', KEYS[1], 'id', id, 'since', string.format('%.0f', since),
    'mark', string.format('%.0f', mark))
return {policy, role, now, since, mark}
