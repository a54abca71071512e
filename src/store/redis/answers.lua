-- A step on the record of one answer. KEYS[1]: the record. KEYS[2]: the records of its owner, by their
-- deadlines, on the same server of a cluster. ARGV: the step, the member of the record there, the attempt,
-- the call, the fingerprint, the retention, the lease, whether the claim may run again, how many records the
-- owner may have, for how much longer than its deadline a record stays, and the answer. All times are in
-- milliseconds.
local step, member, attempt, call = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'fingerprint', 'attempt', 'call', 'deadline', 'lease', 'answer')
local is_there = found[4] and tonumber(found[4]) > now
local answer = is_there and found[6]
local lease_end = is_there and tonumber(found[5])

local function as_time(moment)
    return string.format('%.0f', moment)
end

if step == 'claim' or step == 'find' then
    if is_there then
        if step == 'claim' and found[3] == call then
            return {'claimed'}
        end
        if found[1] ~= ARGV[5] then
            return {'other'}
        end
        if answer then
            return {'answered', answer}
        end
        if lease_end > now then
            return {'held', lease_end - now}
        end
        if ARGV[8] ~= '1' then
            return {'unknown'}
        end
    end
    if step == 'find' then
        return {'free'}
    end
    local live = not is_there and redis.call('ZCOUNT', KEYS[2], '(' .. as_time(now), '+inf')
    if live and live >= tonumber(ARGV[9]) then
        return {'over'}
    end
    local deadline = now + tonumber(ARGV[6])
    local kept = deadline + tonumber(ARGV[10])
    -- Before any other command that writes: once one was carried out, the server no longer refuses this one
    -- for want of memory.
    redis.call('HSET', KEYS[1], 'fingerprint', ARGV[5], 'attempt', attempt, 'call', call,
        'deadline', as_time(deadline), 'lease', as_time(now + tonumber(ARGV[7])))
    redis.call('HDEL', KEYS[1], 'answer')
    redis.call('PEXPIREAT', KEYS[1], as_time(kept))
    redis.call('ZADD', KEYS[2], as_time(deadline), member)
    redis.call('PEXPIREAT', KEYS[2], as_time(math.max(kept, redis.call('PEXPIRETIME', KEYS[2]))))
    local ended = redis.call('ZRANGE', KEYS[2], '-inf', as_time(now), 'BYSCORE', 'LIMIT', 0, 32)
    if #ended > 0 then
        redis.call('ZREM', KEYS[2], unpack(ended))
    end
    return {'claimed'}
end

local is_own = is_there and found[2] == attempt
if step == 'record' and is_own and answer == ARGV[11] and found[3] == call then
    return {'done'}
end
if not is_there or answer then
    return {'lost'}
end
if step == 'resolve' then
    if lease_end > now then
        return {'lost'}
    end
    redis.call('HSET', KEYS[1], 'answer', ARGV[11])
    return {'done'}
end
if not is_own then
    return {'lost'}
end
if step == 'renew' then
    redis.call('HSET', KEYS[1], 'lease', as_time(now + tonumber(ARGV[7])))
elseif step == 'record' then
    redis.call('HSET', KEYS[1], 'answer', ARGV[11], 'call', call)
else
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], member)
end
return {'done'}
