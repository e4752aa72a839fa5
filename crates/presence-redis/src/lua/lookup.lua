-- The marks of a bucket and entries of some of its users, as of one moment.
-- KEYS: the bucket, users. Answer: Redis' time, then one hash per key.
local answer = { redis.call('TIME') }
for i = 1, #KEYS do
  answer[i + 1] = redis.call('HGETALL', KEYS[i])
end
return answer
