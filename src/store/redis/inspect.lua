-- Whether a server can be relied on, and since when. KEYS[1]: what it has recorded of itself.
-- ARGV: whether there is no history to lose, the allowed difference of clocks, the name that a new
-- record is given, and the name of the record that is known, or nothing: under another name it was
-- made by a process that did not know that one was lost.
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')
local replication = redis.call('INFO', 'replication')
local role = string.match(replication, 'role:(%w+)')
local id = string.match(replication, 'master_replid:(%x+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if policy ~= 'noeviction' or role ~= 'master' then
    return {policy, role, now, 0, 0, id, ''}
end
local known = redis.call('HMGET', KEYS[1], 'id', 'since', 'mark', 'name')
local since, mark = tonumber(known[2]) or 0, math.max(tonumber(known[3]) or 0, now)
local name = known[4] or ARGV[3]
local is_first = not known[1] and ARGV[1] == '1'
if (known[1] ~= id and not is_first) or (ARGV[4] ~= '' and ARGV[4] ~= name) then
    since = math.max(since, mark + tonumber(ARGV[2]))
end
redis.call('HSET', KEYS[1], 'id', id, 'since', string.format('%.0f', since),
    'mark', string.format('%.0f', mark), 'name', name)
return {policy, role, now, since, mark, id, name}
