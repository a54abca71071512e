-- Whether a server is as it was when it was inspected last: how many commands it has carried out, or
-- nothing. KEYS[1]: its record of itself. ARGV: the name of that record and since when it vouches, as this
-- process knows them, the latest moment that the process has seen on a clock, how long it goes on without
-- an inspection, and how many commands it knows the server to have carried out.
local known = redis.call('HMGET', KEYS[1], 'name', 'since', 'mark', 'evicted', 'commands', 'watched')
local stats = redis.call('INFO', 'stats')
local commands = tonumber(string.match(stats, 'total_commands_processed:(%d+)'))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return known[1] == ARGV[1] and known[2] == ARGV[2]
    and tonumber(known[3]) <= math.max(now, tonumber(ARGV[3]))
    and known[4] == string.match(stats, 'evicted_keys:(%d+)')
    and math.max(tonumber(known[5]), tonumber(ARGV[5])) <= commands
    and math.abs(now - tonumber(known[6])) <= tonumber(ARGV[4])
    and commands
