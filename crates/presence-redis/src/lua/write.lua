-- Writes entries of one gateway in one bucket, announces what changes, and removes entries of gateways without a mark.
-- KEYS: the bucket, users. ARGV: gateway, epoch, seq, step (begin, next or sweep), lifetime and keep in ms, channel, then per
-- user: platforms as a number, id.
-- Answer: state (0: no mark, 1: written, 2: the mark does not go with this write), Redis' time, epoch and seq of the mark before,
-- and then the numbers of the users whose entry was missing.
local gateway, epoch, seq = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local step, lifetime, keep, channel = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function parse(text)
  local valid, touched, e, s = string.match(text or '', '^(%d):(%d+):(%d+):(%d+)$')
  return valid and { valid = tonumber(valid), touched = tonumber(touched), epoch = tonumber(e), seq = tonumber(s) }
end
local function put(mark)
  local text = string.format('%.0f:%.0f:%.0f:%.0f', mark.valid, mark.touched, mark.epoch, mark.seq)
  redis.call('HSET', KEYS[1], gateway, text)
end

local own = parse(redis.call('HGET', KEYS[1], gateway))
local answer = { 1, now, own and own.epoch or 0, own and own.seq or 0 }
if step == 'begin' then
  if own and own.epoch >= epoch then
    answer[1] = 2
    return answer
  end
  own = { valid = 0, touched = now }
elseif not own then
  answer[1] = 0
  return answer
elseif own.epoch ~= epoch or (own.seq ~= seq - 1 and own.seq ~= seq) then
  if own.epoch < epoch or (own.epoch == epoch and own.seq < seq) then
    -- Writes were lost: nobody may trust what is left.
    own.valid = 0
    put(own)
  end
  answer[1] = 2
  return answer
end
own.epoch, own.seq = epoch, seq
put(own)

local marks = {}
local function mark(of)
  if marks[of] == nil then
    marks[of] = parse(redis.call('HGET', KEYS[1], of)) or false
  end
  return marks[of]
end

for i = 2, #KEYS do
  local platforms, id = tonumber(ARGV[4 + 2 * i]), ARGV[5 + 2 * i]
  local others, before, found = 0, 0, false
  local fields = redis.call('HGETALL', KEYS[i])
  for f = 1, #fields, 2 do
    local p, e = string.match(fields[f + 1], '^(%d+):(%d+)$')
    local m = mark(fields[f])
    if fields[f] == gateway then
      found, before = true, tonumber(p)
    elseif not m then
      redis.call('HDEL', KEYS[i], fields[f])
    elseif m.valid == 1 and m.epoch == tonumber(e) and now >= m.touched and now - m.touched < lifetime then
      others = bit.bor(others, tonumber(p))
    end
  end
  if platforms == 0 then
    redis.call('HDEL', KEYS[i], gateway)
  else
    redis.call('HSET', KEYS[i], gateway, string.format('%.0f:%.0f', platforms, epoch))
    redis.call('PEXPIRE', KEYS[i], keep)
    if not found then
      answer[#answer + 1] = i - 2
    end
  end
  local after = bit.bor(others, platforms)
  if bit.bor(others, before) ~= after then
    redis.call('PUBLISH', channel, string.format('%.0f:%s', after, id))
  end
end

if step == 'sweep' then
  local all = redis.call('HGETALL', KEYS[1])
  for f = 1, #all, 2 do
    local m = parse(all[f + 1])
    if not m or (all[f] ~= gateway and now - m.touched > 12 * lifetime) then
      redis.call('HDEL', KEYS[1], all[f])
    end
  end
end
return answer
