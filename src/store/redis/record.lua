-- A step on the record of one nonce. KEYS[1]: the record. ARGV: the step, the attempt, the call, the
-- deadline, the duration of a lease, whether a duplicate extends the record, for how much longer
-- than that a record stays. All times are in milliseconds. A record is `f` and the call that made it
-- final, or `l`, attempt, call and the end of the lease. At an open place, KEYS[2] has the places of
-- the message, each with the end of its record. ARGV ends with the place and with how many records the
-- message may have, if that is limited.
local step, attempt, call, deadline = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('GET', KEYS[1])
local is_final = record and string.sub(record, 1, 1) == 'f'
local is_lease = record and not is_final
local holder = is_lease and string.sub(record, 2, 17)
local lease_end = is_lease and tonumber(string.sub(record, 26))
local by = is_final and string.sub(record, 2, 9) or is_lease and string.sub(record, 18, 25)

local function count()
    if KEYS[2] then
        local moment = redis.call('PEXPIRETIME', KEYS[1])
        redis.call('ZADD', KEYS[2], moment, ARGV[8])
        moment = math.max(moment, redis.call('PEXPIRETIME', KEYS[2]))
        redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', moment))
    end
end

local function keep(value, moment)
    moment = math.max(moment + tonumber(ARGV[7]), redis.call('PEXPIRETIME', KEYS[1]))
    redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', moment))
    count()
end

local function lease()
    local moment = now + tonumber(ARGV[5])
    keep('l' .. attempt .. call .. string.format('%.0f', moment), math.max(moment, deadline))
end

local function final()
    keep('f' .. call, deadline)
end

if step == 'claim' or step == 'lease' then
    if deadline <= now then
        return {'past', now}
    end
    if by == call then
        return {'new', now}
    end
    if is_final or (is_lease and lease_end > now) then
        if ARGV[6] == '1' then
            local moment = string.format('%.0f', deadline + tonumber(ARGV[7]))
            redis.call('PEXPIREAT', KEYS[1], moment, 'GT')
            count()
        end
        return {is_final and 'final' or 'held', now, is_lease and lease_end - now or 0}
    end
    if ARGV[9] and not record then
        local places = 0
        if KEYS[2] then
            redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
            places = redis.call('ZCARD', KEYS[2])
        end
        if places >= tonumber(ARGV[9]) then
            return {'places', now}
        end
    end
    if step == 'claim' then final() else lease() end
    return {'new', now}
end

-- Whoever looks after the store asks of a record, or forgets it. A lease that has not ended stays.
if step == 'look' or step == 'forget' then
    if not record or (is_lease and lease_end <= now) then
        return {'lost', now, 0}
    end
    if is_lease then
        return {'held', now, lease_end - now}
    end
    local moment = redis.call('PEXPIRETIME', KEYS[1]) - tonumber(ARGV[7])
    if step == 'forget' then
        redis.call('DEL', KEYS[1])
        if KEYS[2] then
            redis.call('ZREM', KEYS[2], ARGV[8])
        end
    end
    return {'final', now, moment}
end

-- Who completed the record, and was not answered, asks again.
if step == 'complete' and is_final and by == call then
    return {'done', now}
end
if holder ~= attempt then
    return {'lost', now}
end
if step == 'renew' then
    lease()
elseif step == 'complete' then
    final()
else
    redis.call('DEL', KEYS[1])
    if KEYS[2] then
        redis.call('ZREM', KEYS[2], ARGV[8])
    end
end
return {'done', now}
