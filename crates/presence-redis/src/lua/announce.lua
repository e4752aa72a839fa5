-- Says something to all processes.
-- KEYS: a bucket, which names the node. ARGV: channel, words.
return redis.call('PUBLISH', ARGV[1], ARGV[2])
