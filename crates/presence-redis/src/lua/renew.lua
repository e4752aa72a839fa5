-- Renews the mark of a gateway in one bucket, if everything that it wrote there is there.
-- KEYS: the bucket. ARGV: gateway, epoch, seq, the latest time at which this may happen, keep in ms.
-- Answer: state (0: no mark, 1: renewed, 2: the mark does not go with this gateway's writes, 3: too late), Redis' time, epoch and
-- seq of the mark before.
local gateway, epoch, seq = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = redis.call('HGET', KEYS[1], gateway)
if not text then
  return { 0, now, 0, 0 }
end
local valid, touched, e, s = string.match(text, '^(%d):(%d+):(%d+):(%d+)$')
e, s = tonumber(e), tonumber(s)
if e ~= epoch or s ~= seq then
  if e < epoch or (e == epoch and s < seq) then
    -- Writes were lost: nobody may trust what is left.
    redis.call('HSET', KEYS[1], gateway, string.format('0:%s:%.0f:%.0f', touched, e, s))
  end
  return { 2, now, e, s }
end
if now > tonumber(ARGV[4]) then
  return { 3, now, e, s }
end
redis.call('HSET', KEYS[1], gateway, string.format('1:%.0f:%.0f:%.0f', now, epoch, seq))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return { 1, now, e, s }
