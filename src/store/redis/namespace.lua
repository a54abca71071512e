-- For how long a namespace is remembered: as long as its first claim needed, or as it was extended to.
-- KEYS[1]: the namespace. ARGV: a retention, after what time all servers know of it, and 1 to extend.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'retention', 'raised')
local retention, raised = tonumber(known[1]), tonumber(known[2]) or 0
local asked = tonumber(ARGV[1])
if not retention or (ARGV[3] == '1' and asked > retention) then
    raised = retention and now + tonumber(ARGV[2]) or 0
    retention = asked
    redis.call('HSET', KEYS[1], 'retention', ARGV[1], 'raised', string.format('%.0f', raised))
end
return {retention, raised, now}
