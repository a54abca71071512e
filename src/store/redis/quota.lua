-- How many records a key has. KEYS[1]: how many of them end when. ARGV: how many more there are, or
-- fewer, and when those end. All times are in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '0' then
    redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[1])
end
local counts = redis.call('HGETALL', KEYS[1])
local records, first, last = 0, 0, 0
for i = 1, #counts, 2 do
    local moment = tonumber(counts[i])
    if moment <= now then
        redis.call('HDEL', KEYS[1], counts[i])
    else
        records = records + tonumber(counts[i + 1])
        first = first == 0 and moment or math.min(first, moment)
        last = math.max(last, moment)
    end
end
if last > 0 then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
end
return {math.max(records, 0), first}
